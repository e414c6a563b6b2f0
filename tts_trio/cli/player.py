"""Plays audio on this machine as it comes: by `sounddevice`, or by a program that reads it on its standard input."""

from __future__ import annotations

import importlib
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import IO, Any, TypeAlias

import trio

from tts_trio.cli.common import UsageError

Write: TypeAlias = Callable[[bytes], Awaitable[object]]
"""A function that takes a piece of audio: 16-bit PCM, mono. It waits while the player has enough."""

# The programs, best first. `afplay` of macOS is not among them, as it plays files only.
_PROGRAMS = {
    "ffplay": "-nodisp -autoexit -loglevel error -fflags nobuffer -probesize 32 -f wav -i -",
    "aplay": "-q -",
}
_SOUND_DEVICE = "sounddevice"
_PIECE = 0.05  # seconds of audio that are given to sounddevice at once: for so long it cannot be interrupted
_ENDLESS = 0xFFFFFFFF  # the size in the header of a WAV file that is not written yet


def find_player() -> str:
    """Return the name of what plays audio on this machine.

    Raises:
        UsageError: There is nothing; the message says what to install.
    """
    try:
        importlib.import_module(_SOUND_DEVICE)
    except (ImportError, OSError):  # the latter without the library PortAudio
        name = next(filter(shutil.which, _PROGRAMS), None)
    else:
        return _SOUND_DEVICE
    if name is None:
        raise UsageError(
            "--play: nothing here plays audio; install ffplay (of FFmpeg), aplay (of alsa-utils), or: pip install "
            "sounddevice"
        )
    return name


@asynccontextmanager
async def playing(player: str, sample_rate: int) -> AsyncGenerator[Write]:
    """Open a player, and wait at the end of the block until it has played all; a cancellation stops it at once.

    Args:
        player: What `find_player` returned.
        sample_rate: The samples a second.

    Yields:
        The function that plays a piece of audio.

    Raises:
        OSError: The player cannot play, or ended before the audio did.
    """
    play = _by_sounddevice(sample_rate) if player == _SOUND_DEVICE else _by_program(player, sample_rate)
    async with play as write:
        yield write


@asynccontextmanager
async def _by_program(name: str, sample_rate: int) -> AsyncGenerator[Write]:
    with tempfile.TemporaryFile() as said:
        process = await trio.lowlevel.open_process(
            [name, *_PROGRAMS[name].split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for us, and we end it
        )
        assert process.stdin is not None
        stdin = process.stdin

        async def write(audio: bytes) -> None:
            with suppress(trio.BrokenResourceError):
                await stdin.send_all(audio)
                return
            raise _failure(name, await process.wait(), said)

        try:
            await write(_header(sample_rate))
            yield write
            await stdin.aclose()
            if code := await process.wait():
                raise _failure(name, code, said)
        finally:
            process.kill()  # nothing, where it has ended
            with trio.CancelScope(shield=True):
                await process.wait()
                await stdin.aclose()


def _failure(name: str, code: int, said: IO[bytes]) -> OSError:
    """Return the error of a program that failed, or that ended before the audio did."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    why = "; ".join(lines[-2:]) or f"it ended with the exit code {code}"
    return OSError(f"{name} did not play all: {why}")


def _header(sample_rate: int) -> bytes:
    """Return the header of a WAV file of 16-bit PCM, mono, whose length is not known yet."""
    form = struct.pack("<HHLLHH", 1, 1, sample_rate, sample_rate * 2, 2, 16)
    return struct.pack("<4sL4s4sL16s4sL", b"RIFF", _ENDLESS, b"WAVE", b"fmt ", len(form), form, b"data", _ENDLESS)


@asynccontextmanager
async def _by_sounddevice(sample_rate: int) -> AsyncGenerator[Write]:
    sounddevice: Any = importlib.import_module(_SOUND_DEVICE)
    try:
        stream = sounddevice.RawOutputStream(samplerate=sample_rate, channels=1, dtype="int16")
        with stream:
            piece = 2 * round(_PIECE * sample_rate)

            async def write(audio: bytes) -> None:
                for start in range(0, len(audio), piece):
                    await trio.to_thread.run_sync(stream.write, audio[start : start + piece])

            try:
                yield write
                await trio.to_thread.run_sync(stream.stop)  # when all was played
            finally:
                stream.abort()
    except sounddevice.PortAudioError as error:
        raise OSError(f"sounddevice cannot play: {error}") from None
