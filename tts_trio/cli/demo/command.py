"""Runs the demo: chooses the service, shows the call, and writes the two files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import trio
from rich.console import Console

from tts_trio._nurseries import single_error
from tts_trio.cli import console
from tts_trio.cli.common import UsageError, configured, given_in, import_local_server, voice_needed
from tts_trio.cli.demo import page, report, screen
from tts_trio.cli.demo.call import Call, CallerVoice
from tts_trio.cli.demo.line import Line
from tts_trio.cli.demo.link import Link
from tts_trio.cli.demo.scene import SCENES, Turn, characters
from tts_trio.cli.demo.score import Score
from tts_trio.config.config import TTSConfig
from tts_trio.transport.streams import open_stream

Dial: TypeAlias = Callable[[TTSConfig], Awaitable[trio.abc.Stream]]

_SAMPLE_RATE = 16000
_CALLER_PITCH = 1.25  # times that of the built-in voice, so that one can tell the two sides apart
_MUTE_SECONDS = 0.065  # of silence for each character of the caller, where the local server is not installed
_LOOK = 0.05  # seconds between two checks for a turn that has ended


async def run(options: argparse.Namespace) -> None:
    """Play the call.

    Raises:
        UsageError: The options do not go together, or the folder cannot be written to.
        TTSError: The agent could not speak.
        OSError: The files could not be written.
    """
    folder = _folder(options.output)
    has_key = bool(os.environ.get("ELEVENLABS_API_KEY"))
    if options.fast and has_key:
        raise UsageError("--fast: it needs the built-in voice; unset ELEVENLABS_API_KEY, or leave --fast out")
    shown = console.err if options.json else console.out
    scene = SCENES[options.language]
    service = "ElevenLabs" if has_key else "the built-in voice"
    shown.print(f"a call: the agent speaks through {service}")
    if has_key:
        shown.print(f"it costs {characters(scene)} characters, and those that are sent again after the cut connection")
    async with _service(options) as (config, dial):
        score = Score(options.language, service)
        call = Call(config, Link(dial), Line(_SAMPLE_RATE), _caller_voice(options.language), score)
        live = is_live(shown) and not (options.fast or options.json)
        try:
            await (_play_live if live else _play_plain)(call, scene, shown)
        finally:
            call.end()
    if options.json:
        print(json.dumps(score.to_json(), ensure_ascii=False))
    shown.print(report.table(score, shown.width))
    _leave(call, folder)
    shown.print(f"written: {folder / 'call.wav'}, {folder / 'call.html'}", soft_wrap=True)


def is_live(shown: Console) -> bool:
    """Whether the output is a terminal that can be redrawn, and standard input one that gives keys."""
    return shown.is_interactive and sys.stdin is not None and sys.stdin.isatty()


def _folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise UsageError(f"--output: {name!r} must be a folder that exists")
    if not os.access(folder, os.W_OK):  # checked before the call, which takes 45 s and may cost credits
        raise UsageError(f"--output: {name!r} must be a folder that this user may write to")
    return folder


def _leave(call: Call, folder: Path) -> None:
    (folder / "call.wav").write_bytes(call.line.wav())
    (folder / "call.html").write_text(page.draw(call.score, call.line), encoding="utf-8")


@asynccontextmanager
async def _service(options: argparse.Namespace) -> AsyncGenerator[tuple[TTSConfig, Dial]]:
    """Give the configuration with which the agent speaks, and the function that opens its connections."""
    given: dict[str, Any] = {
        **given_in(options, "voice_id", "model_id"),
        "language_code": options.language,
        "output_format": f"pcm_{_SAMPLE_RATE}",
    }
    if not options.fast:
        async with configured(given) as config:
            yield config, open_stream
        return
    # The server runs in memory, so that the call waits for its own timers only, and MockClock skips these.
    local_server = import_local_server()

    with voice_needed():
        voice = local_server.EspeakVoice()
    voice.blocking = False  # MockClock does not skip the time of a worker thread
    server = local_server.LocalServer(voice=voice)
    with single_error:
        async with trio.open_nursery() as nursery:

            async def dial(_config: TTSConfig) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                return server.connect(nursery)

            known: dict[str, Any] = {"api_key": "local", "voice_id": "espeak", "base_url": server.base_url}
            yield TTSConfig(**known | given), dial
            nursery.cancel_scope.cancel(reason="the call is over")


def _caller_voice(language: str) -> CallerVoice:
    """Return the built-in voice at a higher pitch; one of silence where it is not installed."""
    try:
        from tts_trio.local_server.encoding import Encoder
        from tts_trio.local_server.espeak import EspeakVoice

        voice = EspeakVoice()
    except ImportError:
        return lambda text: bytes(2 * round(_SAMPLE_RATE * _MUTE_SECONDS * len(text)))

    @lru_cache
    def speak(text: str) -> bytes:
        # It speaks slower by the factor by which its samples are played faster: the speed stays, the pitch rises.
        speech = voice.speak(text, language_code=language, speed=1 / _CALLER_PITCH, sample_rate=_SAMPLE_RATE)
        encoder = Encoder(f"pcm_{_SAMPLE_RATE}")
        return encoder.encode(speech.samples, round(speech.sample_rate * _CALLER_PITCH)) + encoder.flush()

    return speak


async def _play_plain(call: Call, scene: Sequence[Turn], shown: Console) -> None:
    """Play the call, and print each turn when it has ended."""

    async def tell() -> None:
        told = 0
        while True:
            while told < len(call.score.turns) and call.score.turns[told].end is not None:
                report.tell(shown, call.score.turns[told])
                told += 1
            await trio.sleep(_LOOK)

    with single_error:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await call.run(scene)
            nursery.cancel_scope.cancel(reason="the call is over")


async def _play_live(call: Call, scene: Sequence[Turn], shown: Console) -> None:
    """Play the call, and show it while it goes on. Space interrupts the agent, and q ends the call."""
    with single_error:
        async with screen.keys() as pressed, trio.open_nursery() as nursery:

            async def obey() -> None:
                async for key in pressed:
                    if key == " ":
                        call.interrupt()
                    elif key == "q":
                        nursery.cancel_scope.cancel(reason="q was pressed")

            nursery.start_soon(obey)
            nursery.start_soon(screen.show, call, shown)
            await call.run(scene)
            nursery.cancel_scope.cancel(reason="the call is over")
