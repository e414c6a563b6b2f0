"""The command line as a person runs it: files of every kind, standard input as it comes, errors in one line."""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import wave
from contextlib import closing
from pathlib import Path

import pytest

import tts_trio
from tests.helpers import API_KEY, TEXTS, VOICE_ID
from tests.helpers.commands import ENVIRONMENT, HERE, RunHere, run, see, serving
from tests.helpers.pages import blocks
from tests.helpers.sound import decode, rms, sample_rate_of
from tts_trio.static_text import sqlite_cache as sqlite

_NOBODY = {"ELEVENLABS_API_KEY": API_KEY, "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("name", "output_format"),
    [("a.mp3", "mp3_44100_128"), ("a.ogg", "opus_48000_64"), ("a.ulaw", "ulaw_8000"), ("a.pcm", "pcm_24000")],
)
def test_a_file_is_what_its_ending_says(tmp_path: Path, run_here: RunHere, name: str, output_format: str) -> None:
    done = run_here("say", TEXTS["ru"], "-o", name, "--language", "ru")
    assert done.code == 0, done.err
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
        env=ENVIRONMENT,
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
    (["say"], {}, 2, "TEXT: it is missing; give a text"),
    (["say", "Hi", "--llm"], {}, 2, "--llm: it reads the text from standard input"),
    (["say", "Hi", "-o", "a.flac"], {}, 2, ".wav"),
    (["say", "Hi", "-o", "a.mp3", "--format", "pcm_16000"], {}, 2, "mp3_44100_128"),
    (["say", "Hi", "--format", "wav"], {}, 2, "pcm_16000"),
    (["say", "Hi", "--voice", "../x"], {}, 2, "voice_id"),
    (["say", "…"], {}, 2, "text"),
    (["say", "Hi", "-o", "missing/a.wav"], {}, 1, "'missing/a.wav'"),
    (["say", "Hi", "-o", "/"], {}, 2, "such as /speech.wav"),
    (["say", "Hi", "--frob"], {}, 2, "--frob; see tts-trio --help"),
    (["frob"], {}, 2, "'frob'"),
    (["serve", "--port", "0", "--log", "missing/a"], {}, 1, "error: No such file or directory: 'missing/a'"),
    (["serve", "--port", "0", "--host", "192.0.2.1"], {}, 1, "error: Cannot assign requested address"),
    (["serve", "--port", "99999"], {}, 2, "--port: 99999 is not allowed; it must be from 0 to 65535"),
    (["say", "Hi"], {"ELEVENLABS_BASE_URL": "http://127.0.0.1:9"}, 2, "ELEVENLABS_API_KEY is not set"),
    (["say", "Hi"], {"ELEVENLABS_LANGUAGE_CODE": "russian"}, 2, "language_code"),
    (["say", "Hi", "--cache", ""], {}, 2, "--cache: it is missing; give a file"),
    (["say", "Hi"], {"ELEVENLABS_API_KEY": API_KEY}, 2, "voice_id: it is missing"),
    (
        ["say", "Hi"],
        {"ELEVENLABS_API_KEY": API_KEY, "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": "http://127.0.0.1:9"},
        1,
        "refused",
    ),
]


@pytest.mark.parametrize(("arguments", "environment", "code", "says"), ERRORS)
def test_errors_are_one_clear_line(
    tmp_path: Path, run_here: RunHere, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    done = run_here(*arguments, **environment)
    said = done.err
    assert done.code == code
    assert said.splitlines()[-1].startswith("tts-trio: error: ")
    assert says in said.splitlines()[-1]
    assert "Traceback" not in said
    assert API_KEY not in said
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_say_on_standard_input_is_an_error(tmp_path: Path) -> None:
    for text in ("", " …\n"):
        done = run("say", "--llm", cwd=tmp_path, input=text.encode())
        assert done.returncode == 2
        said = done.stderr.decode().splitlines()[-1]
        assert said == "tts-trio: error: standard input: it has nothing to speak; it must have a letter or a digit"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Hello from trio", ["no ELEVENLABS_API_KEY", "server", "connect", "first audio", "audio"]),
        ("Добрый день", ["no ELEVENLABS_API_KEY", "server", "connect", "first audio", "audio"]),
        (
            "Как справи, їжаче?",  # neither Russian nor English: the language has to be given
            [
                "no ELEVENLABS_API_KEY",
                "tts-trio: warning: language_code is None",
                "server",
                "connect",
                "first audio",
                "audio",
            ],
        ),
    ],
)
def test_what_a_terminal_shows_of_say(tmp_path: Path, text: str, lines: list[str]) -> None:
    seen = see("say", text, cwd=tmp_path)
    assert (seen.code, seen.cursor) == (0, True)
    assert "connecting" in seen.sent
    assert "speaking: " in seen.sent
    whole = [line for line in seen.lines if line.startswith(tuple(lines))]  # the others go on with the one above
    assert [line.startswith(expected) for line, expected in zip(whole, lines, strict=True)] == [True] * len(lines)
    assert not [line for line in seen.lines if "connecting" in line or "speaking: " in line]


def test_an_error_on_a_terminal_stands_alone_and_without_colors_where_none_are_wanted(tmp_path: Path) -> None:
    for environment, colors in (({}, True), ({"NO_COLOR": "1"}, False)):
        seen = see("say", "Да.", cwd=tmp_path, **_NOBODY, **environment)
        assert (seen.code, seen.cursor) == (1, True)
        assert seen.lines[0].startswith("tts-trio: error: ")
        assert ("\x1b[1;31m" in seen.sent) == colors


def test_a_redis_that_is_not_there(tmp_path: Path) -> None:
    done = run("cache", "stats", "--cache", "redis://127.0.0.1:9/0", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("tts-trio: error: ")
    assert "127.0.0.1:9" in line


def test_the_environment_counts_without_a_key_too(tmp_path: Path, run_here: RunHere) -> None:
    """The voice is local, and language and model are those that were set."""
    assert run_here("say", "Hi", ELEVENLABS_MODEL_ID="eleven_nothing").code == 2
    assert run_here("say", "Guten Tag", ELEVENLABS_LANGUAGE_CODE="de").code == 0
    german = (tmp_path / "speech.wav").read_bytes()
    run_here("say", "Guten Tag", "--language", "en")
    assert (tmp_path / "speech.wav").read_bytes() != german


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_half_file(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tts_trio", "say", "--llm"]
    handler = signal.signal(number, signal.SIG_DFL)  # under `nohup` SIGHUP is ignored, and a process hands that down
    try:
        started = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=HERE)
    finally:
        signal.signal(number, handler)
    with started as process:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert b"Traceback" not in said


def test_a_player_that_has_stopped_does_not_keep_a_command_from_ending() -> None:
    command = [sys.executable, "-m", "tts_trio", "say", TEXTS["en"], "-o", "-", "--format", "pcm_44100"]
    ours, theirs = os.pipe()
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=HERE) as process:
        with os.fdopen(ours, "rb", buffering=0) as sound, os.fdopen(theirs, "wb") as pipe:
            assert sound.read(100)
            while select.select([], [pipe], [], 0)[1]:  # until the pipe is full: the command waits to write the rest
                assert process.poll() is None
                time.sleep(0.005)
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM


def test_who_has_heard_enough_is_told_nothing(tmp_path: Path) -> None:
    """`| head -c 100` ends the command as it ends any other: by SIGPIPE, without a word."""
    command = [sys.executable, "-m", "tts_trio", "say", TEXTS["en"], "-o", "-", "--format", "pcm_44100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=HERE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        said = process.stderr.read().decode().splitlines()
    assert said == ["no ELEVENLABS_API_KEY: speaking with the local voice (eSpeak NG)"]
    assert process.returncode == 128 + 13


def test_sound_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    seen = see("say", "Hi", "-o", "-", cwd=tmp_path)
    assert seen.code == 2
    assert "pipe it into a player" in seen.lines[0]


def test_without_rich_a_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['rich'] = None; from tts_trio.cli import main; sys.exit(main(['say', 'Hi']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "tts-trio: error: the commands need rich; install it with: pip install 'tts_trio[cli]'"
    ]


@pytest.mark.parametrize(
    ("command", "closed", "says"),
    [
        ("say --llm", "<&-", "standard input is closed; open it, or give a file"),
        ("say Hi -o -", ">&-", "standard output is closed; open it, or give a file"),
        ("prefetch - --cache kept", "<&-", "standard input is closed; open it, or give a file"),
    ],
)
def test_a_stream_that_is_closed_is_not_mistaken_for_a_socket(
    tmp_path: Path, command: str, closed: str, says: str
) -> None:
    """Its number is the next socket's: what was sent there, or read from there, would be our own connection's."""
    line = f"{sys.executable} -m tts_trio {command} {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=HERE | _NOBODY, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == f"tts-trio: error: {says}\n"


def test_a_port_that_is_taken(run_here: RunHere) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_here("serve", "--port", str(port))
    assert done.code == 1
    assert done.err == (
        f"tts-trio: error: --port: {port} is in use by another program; give another port, or 0 for a free one\n"
    )


def test_the_pages_commands_against_a_server(tmp_path: Path) -> None:
    """As they stand, but for the port, which may be taken here."""
    (block,) = [block for _, block in blocks("sh") if block.startswith("tts-trio serve --port 8765\n")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve, say = block.replace("8765", str(port)).splitlines()
    here = HERE | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(["sh", "-c", f"exec {serve}"], stdout=subprocess.PIPE, env=here) as server:
        assert server.stdout is not None
        assert f":{port} ".encode() in server.stdout.readline()
        done = subprocess.run(["sh", "-c", say], cwd=tmp_path, env=here, capture_output=True, check=False)
        server.terminate()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "speech.wav").exists()


def test_letters_that_a_pipe_cannot_carry_are_replaced(tmp_path: Path, service: dict[str, str]) -> None:
    for encoding in ("ascii", "cp1251", "utf-8"):
        done = run("probe", "--rounds", "1", cwd=tmp_path, PYTHONIOENCODING=encoding, **service)
        assert done.returncode == 0, done.stderr
        assert ("█" if encoding == "utf-8" else "###") in done.stdout.decode(encoding)


def test_the_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, f"tts-trio {tts_trio.__version__}\n")


def test_a_failure_leaves_an_older_file_as_it_was(tmp_path: Path, run_here: RunHere) -> None:
    old = tmp_path / "speech.wav"
    old.write_bytes(b"an older one")
    assert run_here("say", "…").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["speech.wav"]
    assert old.read_bytes() == b"an older one"


def test_serve_and_say_against_it(run_here: RunHere) -> None:
    with serving() as environment:
        done = run_here("say", TEXTS["en"], "-o", "a.wav", **environment)
        assert done.code == 0, done.err
        assert environment["ELEVENLABS_BASE_URL"] in done.err


def test_llm_against_a_server(tmp_path: Path, service: dict[str, str]) -> None:
    done = run("say", "--llm", "-o", "a.wav", cwd=tmp_path, input=TEXTS["en"].encode(), **service)
    assert done.returncode == 0, done.stderr
    assert service["ELEVENLABS_BASE_URL"] in done.stderr.decode()


def test_what_a_test_starts_can_be_interrupted() -> None:
    program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"True\n"


def test_the_tests_run_in_the_background_of_a_script() -> None:
    """There SIGINT is ignored, which processes inherit: what waited for its effect never ended."""
    this = f"{__file__}::{test_what_a_test_starts_can_be_interrupted.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", this]
    done = subprocess.run(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_prefetch_and_cache(tmp_path: Path, run_here: RunHere, service: dict[str, str]) -> None:
    (tmp_path / "texts.txt").write_text("Добрый день!\n\nGoodbye!\nДобрый день!\n", encoding="utf-8")
    where = ("--cache", "kept.sqlite3")
    done = run_here("prefetch", "texts.txt", *where, **service)
    assert done.code == 0, done.err
    assert "2 static texts are in <SqliteCache kept.sqlite3>, of 2 and " in done.err
    assert "audio_cache=SqliteCache('kept.sqlite3')" in done.err
    assert "\r" not in done.err  # no bar where there is no terminal
    stats = run_here("cache", "stats", TTS_TRIO_CACHE="kept.sqlite3")
    assert stats.code == 0
    assert "2 static texts" in stats.out
    assert "0 static texts, 0 bytes" in run_here("cache", "clear", *where).out
    assert "0 static texts, 0 bytes" in run_here("cache", "stats", *where).out


def test_say_takes_what_was_prefetched(tmp_path: Path, run_here: RunHere) -> None:
    """What is in the cache is said where the service does not answer any more, and nothing else is."""
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS.values()), encoding="utf-8")
    with serving() as environment:
        environment |= {"TTS_TRIO_CACHE": "kept"}
        done = run_here("prefetch", "texts.txt", "--format", "pcm_24000", **environment)
        assert done.code == 0, done.err
        assert "no answer within" not in done.err
    for text in TEXTS.values():
        done = run_here("say", text, **environment)
        assert done.code == 0, done.err
        assert (tmp_path / "speech.wav").stat().st_size > 48000
    assert run_here("say", "Something else.", **environment).code == 1


def test_the_pages_commands_for_a_cache(tmp_path: Path) -> None:
    """As they stand; once the texts are there the service is not needed."""
    (block,) = [block for _, block in blocks("sh") if block.startswith("tts-trio prefetch ")]
    prefetch, *others = block.splitlines()
    (tmp_path / "texts.txt").write_text("Добрый день!\nДо свидания!\n", encoding="utf-8")
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with serving() as environment:
        here = HERE | environment | path
        subprocess.run(["sh", "-c", prefetch], cwd=tmp_path, env=here, check=True)
    for command in others:
        subprocess.run(["sh", "-c", command], cwd=tmp_path, env=here, check=True)
    assert (tmp_path / "bye.ulaw").stat().st_size > 4000


def test_prefetch_shows_a_bar_on_a_terminal(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "texts.txt").write_text("Да.\nНет.\n", encoding="utf-8")
    seen = see("prefetch", "texts.txt", "--cache", "kept", "--language", "ru", cwd=tmp_path, **service)
    assert (seen.code, seen.cursor) == (0, True)
    assert "prefetching" in seen.sent
    assert "1/2" in seen.sent
    assert seen.lines[0].startswith("2 static texts are in <SqliteCache kept>")  # the bar is gone


def test_prefetch_names_the_lines_that_were_not_kept(
    tmp_path: Path, run_here: RunHere, service: dict[str, str]
) -> None:
    (tmp_path / "texts.txt").write_text(f"Да.\n{TEXTS['ru']}\n\n{TEXTS['en']}\n", encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "small")) as connection:  # a disk that has room for small phrases only
        connection.executescript(
            f"{sqlite._SCHEMA} CREATE TRIGGER small BEFORE INSERT ON phrases WHEN NEW.bytes > 50000 "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END;"
        )
    done = run_here("prefetch", "texts.txt", "--cache", "small", **service)
    assert done.code == 1
    line = done.err.splitlines()[-1]
    assert line == "tts-trio: error: texts.txt, line 2, line 4: <SqliteCache small> did not store the audio"
    assert " 1 static texts" in run_here("cache", "stats", "--cache", "small").out


_A_REDIS = "redis://host:port/database"


@pytest.mark.parametrize(
    ("arguments", "environment", "text", "code", "says"),
    [
        (["prefetch", "missing.txt"], _NOBODY, "", 1, "missing.txt"),
        (
            ["prefetch", "t"],
            _NOBODY,
            "Да.",
            2,
            "--cache: it is missing; give a file or redis://host:port/database, or set TTS_TRIO_CACHE",
        ),
        (["cache", "stats"], {}, "", 2, "--cache: it is missing; give a file"),
        (["cache", "stats", "--cache", "phrases.dv"], {}, "", 2, "the file 'phrases.dv' does not exist"),
        (["cache", "clear", "--cache", "."], {}, "", 2, "'.'"),
        (["prefetch", "t"], _NOBODY, "", 2, "no text"),
        (["prefetch", "t"], {}, "Да.", 2, "ELEVENLABS_API_KEY"),
        (["prefetch", "t", "--cache", "x"], _NOBODY, "Да.\n\n…\n", 2, "t, line 3: text: nothing in it can be spoken"),
        (
            ["prefetch", "t", "--cache", "x"],
            _NOBODY,
            "Да.\n" + "да " * 400,
            2,
            "t, line 2: a text may have at most 1000",
        ),
        (["prefetch", "t", "--cache", "x", "--format", "wav"], _NOBODY, "Hello", 2, "pcm_16000"),
        (["cache", "stats", "--cache", "redis://localhost:abc/0"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "redis:/x"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "valkey://127.0.0.1:9/0"], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", ""], {}, "", 2, _A_REDIS),
        (["cache", "stats", "--cache", "file"], {}, "", 1, "file"),
    ],
)
def test_errors_of_the_cache_are_one_clear_line(
    tmp_path: Path,
    run_here: RunHere,
    arguments: list[str],
    environment: dict[str, str],
    text: str,
    code: int,
    says: str,
) -> None:
    (tmp_path / "file").write_bytes(b"this is no database" * 100)
    (tmp_path / "t").write_text(text, encoding="utf-8")
    done = run_here(*arguments, **environment)
    said = done.err
    assert done.code == code
    assert said.splitlines()[-1].startswith("tts-trio: error: ")
    assert says in said.splitlines()[-1]
    assert "Traceback" not in said
