"""The command line as a person runs it: files of every kind, standard input as it comes, errors in one line."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
import wave
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

import tts_trio
from tests.helpers import API_KEY, TEXTS, VOICE_ID
from tests.sound import decode, rms, sample_rate_of
from tts_trio.cache import sqlite

_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ELEVENLABS_")}


def run(*arguments: str, cwd: Path, input: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
    return subprocess.run(
        [sys.executable, "-m", "tts_trio", *arguments],
        cwd=cwd,
        input=input,
        capture_output=True,
        env=_ENVIRONMENT | {"PYTHONPATH": str(Path.cwd())} | environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "output_format"),
    [("a.mp3", "mp3_44100_128"), ("a.ogg", "opus_48000_64"), ("a.ulaw", "ulaw_8000"), ("a.pcm", "pcm_24000")],
)
def test_a_file_is_what_its_ending_says(tmp_path: Path, name: str, output_format: str) -> None:
    done = run("say", TEXTS["ru"], "-o", name, "--language", "ru", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    samples = decode(output_format, (tmp_path / name).read_bytes())
    assert 10 <= len(TEXTS["ru"]) / (len(samples) / sample_rate_of(output_format)) <= 20
    assert rms(samples) > 500


def test_a_wav_file_and_what_is_told(tmp_path: Path) -> None:
    done = run("say", "Hello from trio", cwd=tmp_path)
    assert done.returncode == 0
    with wave.open(str(tmp_path / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert 0.7 < file.getnframes() / 24000 < 2
    said = done.stderr.decode()
    for word in ("local voice", "server", "connect", "first audio", "audio"):
        assert word in said
    assert "\r" not in said  # no progress line where there is no terminal


def test_llm_speaks_standard_input_as_it_comes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tts_trio", "say", "--llm", "-o", "-", "--format", "pcm_16000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("Здравствуйте, спасибо за звонок! Сейчас".encode())
        process.stdin.flush()
        first = process.stdout.read(3200)  # comes although the text goes on
        assert len(first) == 3200
        process.stdin.write(" я посмотрю ваш заказ.".encode())
        process.stdin.close()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert 3 < len(first + rest) / 32000 < 6


ERRORS: list[tuple[list[str], dict[str, str], int, str]] = [
    (["say"], {}, 2, "give a text"),
    (["say", "Hi", "--llm"], {}, 2, "--llm reads standard input"),
    (["say", "Hi", "-o", "a.flac"], {}, 2, ".wav"),
    (["say", "Hi", "-o", "a.mp3", "--format", "pcm_16000"], {}, 2, "mp3_44100_128"),
    (["say", "Hi", "--format", "wav"], {}, 2, "pcm_16000"),
    (["say", "Hi", "--voice", "../x"], {}, 2, "voice_id"),
    (["say", "…"], {}, 2, "text"),
    (["say", "Hi", "-o", "missing/a.wav"], {}, 1, "'missing/a.wav'"),
    (["say", "Hi"], {"ELEVENLABS_API_KEY": API_KEY}, 2, "voice_id: missing"),
    (
        ["say", "Hi"],
        {"ELEVENLABS_API_KEY": API_KEY, "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"},
        1,
        "refused",
    ),
]


@pytest.mark.parametrize(("arguments", "environment", "code", "says"), ERRORS)
def test_errors_are_one_clear_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    done = run(*arguments, cwd=tmp_path, **environment)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == code
    assert lines[-1].startswith("tts-trio: error: ")
    assert says in lines[-1]
    assert "Traceback" not in done.stderr.decode()
    assert API_KEY not in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_the_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, f"tts-trio {tts_trio.__version__}\n")


def test_a_failure_leaves_an_older_file_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "speech.wav"
    old.write_bytes(b"an older one")
    done = run("say", "…", cwd=tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["speech.wav"]
    assert old.read_bytes() == b"an older one"


def test_serve_and_say_against_it(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tts_trio", "serve", "--port", "0"], stdout=subprocess.PIPE, env=_ENVIRONMENT
    )
    with server:
        assert server.stdout is not None
        said = server.stdout.readline().decode()
        base_url = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
        environment = {"ELEVENLABS_API_KEY": "any", "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": base_url}
        for way in ([TEXTS["en"]], ["--llm"]):
            done = run("say", *way, "-o", "a.wav", cwd=tmp_path, input=TEXTS["en"].encode(), **environment)
            assert done.returncode == 0, done.stderr
            assert base_url in done.stderr.decode()
        began = time.monotonic()
        server.send_signal(2)
        assert server.wait(5) == 130
        assert time.monotonic() - began < 5


def test_what_a_test_starts_can_be_interrupted() -> None:
    program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"True\n"


def test_the_tests_run_in_the_background_of_a_script() -> None:
    """There SIGINT is ignored, which processes inherit: what waited for its effect never ended."""
    this = f"{__file__}::{test_what_a_test_starts_can_be_interrupted.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", this]
    done = subprocess.run(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def service() -> Generator[dict[str, str]]:
    """The environment of those who speak with `tts-trio serve`."""
    command = [sys.executable, "-m", "tts_trio", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_ENVIRONMENT) as server:
        assert server.stdout is not None
        said = server.stdout.readline().decode()
        base_url = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
        yield {"ELEVENLABS_API_KEY": "any", "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": base_url}
        server.terminate()


def test_prefetch_and_cache(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "phrases.txt").write_text("Добрый день!\n\nGoodbye!\nДобрый день!\n", encoding="utf-8")
    where = ("--cache", "kept.sqlite3")
    done = run("prefetch", "phrases.txt", *where, cwd=tmp_path, **service)
    assert done.returncode == 0, done.stderr
    said = done.stderr.decode()
    assert "2 phrases are in <SqliteCache kept.sqlite3>, of 2 and " in said
    assert "\r" not in said  # no bar where there is no terminal
    stats = run("cache", "stats", cwd=tmp_path, TTS_TRIO_CACHE="kept.sqlite3")
    assert stats.returncode == 0
    assert "2 phrases" in stats.stdout.decode()
    assert b"0 phrases, 0 bytes" in run("cache", "clear", *where, cwd=tmp_path).stdout
    assert b"0 phrases, 0 bytes" in run("cache", "stats", *where, cwd=tmp_path).stdout


def test_prefetch_reads_standard_input_into_this_users_file(tmp_path: Path, service: dict[str, str]) -> None:
    here = service | {"XDG_CACHE_HOME": str(tmp_path), "TTS_TRIO_CACHE": ""}
    done = run("prefetch", "-", cwd=tmp_path, input="Да.\n".encode(), **here)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tts_trio" / "phrases.sqlite3").stat().st_size > 10_000


def test_prefetch_shows_a_bar_on_a_terminal(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "phrases.txt").write_text("Да.\nНет.\n", encoding="utf-8")
    terminal, side = os.openpty()
    command = [sys.executable, "-m", "tts_trio", "prefetch", "phrases.txt", "--cache", "kept"]
    environment = _ENVIRONMENT | {"PYTHONPATH": str(Path.cwd())} | service
    with subprocess.Popen(command, cwd=tmp_path, stderr=side, env=environment) as process:
        assert process.wait(60) == 0
    os.close(side)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "░ 1/2" in shown
    assert "█ 2/2\r\n2 phrases" in shown


def test_prefetch_names_the_lines_that_were_not_kept(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "phrases.txt").write_text(f"Да.\n{TEXTS['ru']}\n\n{TEXTS['en']}\n", encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "small")) as connection:  # a disk that has room for small phrases only
        connection.executescript(
            f"{sqlite._SCHEMA} CREATE TRIGGER small BEFORE INSERT ON phrases WHEN NEW.bytes > 50000 "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END;"
        )
    done = run("prefetch", "phrases.txt", "--cache", "small", cwd=tmp_path, **service)
    assert done.returncode == 1
    line = done.stderr.decode().splitlines()[-1]
    assert line == "tts-trio: error: phrases.txt, line 2, line 4: not kept by <SqliteCache small>"
    assert b" 1 phrases" in run("cache", "stats", "--cache", "small", cwd=tmp_path).stdout


_NOBODY = {"ELEVENLABS_API_KEY": API_KEY, "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"}
_A_REDIS = "redis://host:port/database"


@pytest.mark.parametrize(
    ("arguments", "environment", "text", "code", "says"),
    [
        (["prefetch", "missing.txt"], _NOBODY, "", 1, "missing.txt"),
        (["prefetch", "-"], _NOBODY, "", 2, "no phrase"),
        (["prefetch", "-"], {}, "Да.", 2, "ELEVENLABS_API_KEY"),
        (["prefetch", "-"], _NOBODY, "Да.\n\n…\n", 2, "-, line 3: text: nothing in it can be spoken"),
        (["prefetch", "-"], _NOBODY, "Да.\n" + "да " * 400, 2, "-, line 2: a phrase of more than 1000 characters"),
        (["prefetch", "-", "--format", "wav"], _NOBODY, "Hello", 2, "pcm_16000"),
        (["cache", "stats", "--cache", "redis://127.0.0.1:9/0"], {}, "", 1, "127.0.0.1:9"),
        (["cache", "stats", "--cache", "redis://localhost:abc/0"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "redis:/x"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "valkey://127.0.0.1:9/0"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", ""], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "file"], {}, "", 1, "file"),
    ],
)
def test_errors_of_the_cache_are_one_clear_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], text: str, code: int, says: str
) -> None:
    (tmp_path / "file").write_bytes(b"this is no database" * 100)
    done = run(*arguments, cwd=tmp_path, input=text.encode(), **environment)
    assert done.returncode == code
    lines = done.stderr.decode().splitlines()
    assert lines[-1].startswith("tts-trio: error: ")
    assert says in lines[-1]
    assert "Traceback" not in done.stderr.decode()
