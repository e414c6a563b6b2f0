"""`tts-trio say --play`: the player gets audio as it comes, its failure is told, and nothing is left behind.

The players are stand-ins, programs on PATH and a module: no test needs a sound card.
"""

from __future__ import annotations

import io
import os
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, VOICE_ID, heard, make_config
from tts_trio.cli import main
from tts_trio.cli.common import UsageError
from tts_trio.cli.player import find_player, playing
from tts_trio.local_server import Behavior
from tts_trio.testing import server_in_a_thread

_HEADER = 44  # bytes of a WAV file


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a program of this name, the only one on PATH; there is no `sounddevice`."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def make(name: str, script: str) -> str:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return name

    return make


@pytest.mark.parametrize("name", ["ffplay", "aplay"])
def test_a_text_is_played(
    only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What the player gets is a WAV file without an end, and all of the text."""
    only(name, "exec /bin/cat > played.wav")
    language = {"ffplay": "ru", "aplay": "en"}[name]
    with server_in_a_thread(Behavior(model_latency=0, speed=1000)) as server:
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        monkeypatch.setenv("ELEVENLABS_API_KEY", "any")
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        assert main(["say", "--play", TEXTS[language], "--language", language]) == 0
    assert capsys.readouterr().err.rstrip().endswith(f"to {name}")
    sound = (tmp_path / "played.wav").read_bytes()
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
    assert heard(sound[_HEADER:], make_config(output_format="pcm_24000")) == TEXTS[language]
    assert not (tmp_path / "speech.wav").exists()


async def test_the_player_gets_audio_as_it_comes_and_is_waited_for(only: Any, tmp_path: Path) -> None:
    only("aplay", "/bin/cat > played.wav; /bin/sleep 0.05; echo > ended")
    played = tmp_path / "played.wav"
    with trio.fail_after(10):
        async with playing("aplay", 16000) as write:
            for pieces in (1, 2):
                await write(bytes(320))
                while not played.exists() or played.stat().st_size < _HEADER + 320 * pieces:  # noqa: ASYNC110 - a file
                    await trio.sleep(0.001)
            assert not (tmp_path / "ended").exists()
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no sound card >&2; exit 3", "aplay did not play all: no sound card"),
        ("exit 3", "aplay did not play all: it ended with the exit code 3"),
        ("/usr/bin/head -c 1000 > /dev/null", "aplay did not play all: it ended with the exit code 0"),
        ("/bin/cat > /dev/null; echo underrun >&2; exit 1", "aplay did not play all: underrun"),
    ],
)
async def test_a_player_that_fails_is_named(only: Any, script: str, says: str) -> None:
    only("aplay", script)
    with pytest.raises(OSError, match=f"^{says}$"), trio.fail_after(10):
        async with playing("aplay", 16000) as write:
            for _ in range(20):  # more than the pipe takes, but for the one who reads all
                await write(bytes(10_000))


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_cancellation_stops_the_player_at_once(only: Any, tmp_path: Path, size: int) -> None:
    """Whether it is playing, or does not take the audio. A signal that ends politely is not waited for."""
    only("aplay", "trap '' TERM; echo $$ > new; /bin/mv new pid; exec /bin/sleep 60")
    pid = tmp_path / "pid"
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with playing("aplay", 16000) as write, trio.open_nursery() as nursery:
            nursery.start_soon(write, bytes(size))
            while not pid.exists():  # noqa: ASYNC110 - a file
                await trio.sleep(0.001)
            scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_without_a_player_it_says_what_to_install(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", "--play", "Hi"]) == 2
    assert "install ffplay (of FFmpeg), aplay (of alsa-utils), or: pip install sounddevice" in capsys.readouterr().err


def test_ffplay_comes_first_and_takes_pcm(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    only("aplay", "")
    assert find_player() == "aplay"
    only("ffplay", "")
    assert find_player() == "ffplay"
    assert main(["say", "--play", "Hi", "--format", "mp3_44100_128"]) == 2
    assert "must be one of pcm_8000, pcm_16000" in capsys.readouterr().err


class PortAudioError(Exception):
    pass


class RawOutputStream:
    """As of `sounddevice`."""

    last: RawOutputStream

    def __init__(self, samplerate: int, channels: int, dtype: str) -> None:
        if samplerate == 8000:
            raise PortAudioError("Error querying device -1")
        assert (channels, dtype) == (1, "int16")
        self.done: list[Any] = []
        RawOutputStream.last = self

    def __enter__(self) -> None:
        self.done.append("start")

    def __exit__(self, *_: object) -> None:
        self.done.append("close")

    def write(self, audio: bytes) -> None:
        self.done.append(len(audio))

    def stop(self) -> None:
        self.done.append("stop")

    def abort(self) -> None:
        self.done.append("abort")


async def test_sounddevice_plays_in_pieces_that_can_be_interrupted(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("ffplay", "")
    module = SimpleNamespace(RawOutputStream=RawOutputStream, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert find_player() == "sounddevice"
    async with playing("sounddevice", 16000) as write:
        await write(bytes(2000))
    assert RawOutputStream.last.done == ["start", 1600, 400, "stop", "abort", "close"]
    with trio.CancelScope() as scope:
        async with playing("sounddevice", 16000) as write:
            await write(bytes(100))
            scope.cancel()
            await write(bytes(10_000))
    assert RawOutputStream.last.done == ["start", 100, "abort", "close"]
    with pytest.raises(OSError, match="sounddevice cannot play: Error querying device -1"):
        async with playing("sounddevice", 8000):
            pass


def test_a_module_without_its_library_is_none(monkeypatch: pytest.MonkeyPatch, only: Any) -> None:
    """`import sounddevice` raises an OSError where there is no PortAudio."""

    def import_module(name: str) -> None:
        raise OSError(f"PortAudio library not found ({name})")

    monkeypatch.setattr("importlib.import_module", import_module)
    with pytest.raises(UsageError, match="pip install sounddevice"):
        find_player()
