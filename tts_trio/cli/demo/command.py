"""Runs the demo: with whom it speaks, where it is shown, and what it leaves behind."""

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
_CALLER_PITCH = 1.25  # of the built-in voice: the two sides are to be told apart
_MUTE_SECONDS = 0.065  # a character of a caller who has no voice, since the local server is not installed
_LOOK = 0.05  # seconds between two looks for a turn that is over


async def run(options: argparse.Namespace) -> None:
    """Play the call.

    Raises:
        UsageError: It cannot be played in this way.
        TTSError: The agent cannot speak.
        OSError: The files cannot be written.
    """
    folder = _folder(options.output)
    has_key = bool(os.environ.get("ELEVENLABS_API_KEY"))
    if options.fast and has_key:
        raise UsageError("--fast: the service takes its time; unset ELEVENLABS_API_KEY for the built-in voice")
    shown = console.err if options.json else console.out
    scene = SCENES[options.language]
    service = "ElevenLabs" if has_key else "the built-in voice"
    shown.print(f"a call: the agent speaks through {service}")
    if has_key:
        shown.print(f"it costs {characters(scene)} characters, and those that the cut connection repeats")
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
    """Whether there is a screen that can be drawn anew, and keys: a standard input that is closed has none."""
    return shown.is_interactive and sys.stdin is not None and sys.stdin.isatty()


def _folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise UsageError(f"--output: {name!r} must be a folder that exists")
    if not os.access(folder, os.W_OK):  # before the call, which takes its time and may cost something
        raise UsageError(f"--output: {name!r} must be a folder that may be written")
    return folder


def _leave(call: Call, folder: Path) -> None:
    (folder / "call.wav").write_bytes(call.line.wav())
    (folder / "call.html").write_text(page.draw(call.score, call.line), encoding="utf-8")


@asynccontextmanager
async def _service(options: argparse.Namespace) -> AsyncGenerator[tuple[TTSConfig, Dial]]:
    """With which configuration the agent speaks, and how its connections are opened."""
    given: dict[str, Any] = {
        **given_in(options, "voice_id", "model_id"),
        "language_code": options.language,
        "output_format": f"pcm_{_SAMPLE_RATE}",
    }
    if not options.fast:
        async with configured(given) as config:
            yield config, open_stream
        return
    # In memory, so that nothing but the call's own timers makes it wait, and these are MockClock's.
    local_server = import_local_server()

    with voice_needed():
        voice = local_server.EspeakVoice()
    voice.blocking = False  # a worker thread would be real time
    server = local_server.LocalServer(voice=voice)
    with single_error():
        async with trio.open_nursery() as nursery:

            async def dial(_config: TTSConfig) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                return server.connect(nursery)

            known: dict[str, Any] = {"api_key": "local", "voice_id": "espeak", "base_url": server.base_url}
            yield TTSConfig(**known | given), dial
            nursery.cancel_scope.cancel(reason="the call is over")


def _caller_voice(language: str) -> CallerVoice:
    """The built-in voice, higher than it is; silence where it is not installed."""
    try:
        from tts_trio.local_server.encoding import Encoder
        from tts_trio.local_server.espeak import EspeakVoice

        voice = EspeakVoice()
    except ImportError:
        return lambda text: bytes(2 * round(_SAMPLE_RATE * _MUTE_SECONDS * len(text)))

    @lru_cache
    def speak(text: str) -> bytes:
        # Slower, and played faster by as much: it is as quick as before, and higher.
        speech = voice.speak(text, language_code=language, speed=1 / _CALLER_PITCH, sample_rate=_SAMPLE_RATE)
        encoder = Encoder(f"pcm_{_SAMPLE_RATE}")
        return encoder.encode(speech.samples, round(speech.sample_rate * _CALLER_PITCH)) + encoder.flush()

    return speak


async def _play_plain(call: Call, scene: Sequence[Turn], shown: Console) -> None:
    """Play the call, and print each turn when it is over."""

    async def tell() -> None:
        told = 0
        while True:
            while told < len(call.score.turns) and call.score.turns[told].end is not None:
                report.tell(shown, call.score.turns[told])
                told += 1
            await trio.sleep(_LOOK)

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await call.run(scene)
            nursery.cancel_scope.cancel(reason="the call is over")


async def _play_live(call: Call, scene: Sequence[Turn], shown: Console) -> None:
    """Play the call, and show it while it goes on; keys take part in it."""
    with single_error():
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
