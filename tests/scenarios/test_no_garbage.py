"""Nothing of an utterance, or of its socket, waits for the garbage collector.

What cannot be reached any more but through itself stays until a full collection, which goes through all objects of the
process. With hundreds of calls in it that takes 0.1 s, in which none of them hears anything.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import TEXTS, listen, make_config, memory_service, speaking, tokens
from tts_trio import (
    AudioFormat,
    ConcurrencyLimiter,
    Filler,
    TTSManager,
)
from tts_trio.local_server import Behavior, Fault

Speak = Callable[[TTSManager, str], Awaitable[None]]


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """Give the types of those objects of the library that only a collector would take, once the block is left."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        types = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        found.update(name for name in types if name.startswith("tts_trio.") and "local_server" not in name)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def whole(tts: TTSManager, text: str) -> None:
    async with tts.speak(tokens(text)) as audio:
        assert await listen(audio)


async def in_two_tasks(tts: TTSManager, text: str) -> None:
    async with tts.start_llm_stream() as (channel, audio), trio.open_nursery() as nursery:
        nursery.start_soon(listen, audio)
        async with channel:
            async for token in tokens(text):
                await channel.send(token)


async def paced(tts: TTSManager, text: str) -> None:
    async with tts.speak(tokens(text)) as audio, trio.open_nursery() as nursery:
        words = nursery.start_soon(_all, audio.heard())
        assert words is None
        frames = audio.paced()
        assert [frame async for frame in frames]
        assert audio.spoken(frames.played_ms)


async def _all(words: AsyncIterator[Any]) -> None:
    assert [word async for word in words]


async def interrupted(tts: TTSManager, text: str) -> None:
    async with tts.speak(tokens(text)) as audio:
        assert await audio.receive()


async def cancelled(tts: TTSManager, text: str) -> None:
    with trio.move_on_after(0.5) as scope:
        async with tts.speak(tokens(text, 1.0)) as audio:
            await listen(audio)
    assert scope.cancelled_caught


async def filled(tts: TTSManager, text: str) -> None:
    async def silent() -> AsyncGenerator[str, None]:
        await trio.sleep(2.0)
        yield text

    async with tts.speak(silent(), filler=Filler("Одну секунду…", after=0.8)) as audio:
        assert await listen(audio)


async def static(tts: TTSManager, text: str) -> None:
    async with tts.stream_static_text(text) as audio:
        assert await listen(audio)


async def elsewhere(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    await trio.lowlevel.checkpoint()
    yield b"\1\2" * 1000 * len(text)


LOST = Fault("reset", "audio", frame=1, count=1)

CASES: dict[str, tuple[Speak, dict[str, Any], tuple[Fault, ...]]] = {
    "whole": (whole, {}, ()),
    "in two tasks": (in_two_tasks, {}, ()),
    "paced, with the words that are heard": (paced, {}, ()),
    "interrupted": (interrupted, {}, ()),
    "cancelled": (cancelled, {}, ()),
    "filler": (filled, {}, ()),
    "static text": (static, {}, ()),
    "limiter": (whole, {"limiter": ConcurrencyLimiter}, ()),
    "hedged": (whole, {"hedge": 0.01}, ()),
    "openings": (whole, {"opening_cache": "memory"}, ()),
    "lost": (whole, {}, (LOST,)),
    "lost, fallback": (whole, {"fallback": elsewhere, "max_replays": 0}, (LOST,)),
    "lost, fallback over HTTP": (whole, {"fallback": "http", "max_replays": 0}, (LOST,)),
    "no answer": (whole, {}, (Fault("status", "answer", 500, count=1),)),
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("case", CASES)
async def test_an_utterance_leaves_nothing_to_the_collector(
    autojump_clock: MockClock, case: str, endpoint: str, language: str
) -> None:
    speak, changes, faults = CASES[case]
    limiter = {"limiter": ConcurrencyLimiter(2)} if "limiter" in changes else {}
    config = make_config(endpoint, **changes | limiter)
    async with memory_service(Behavior(faults=faults)) as service, speaking(config, service.open_stream) as tts:
        with garbage() as found:
            for _ in range(2):
                await speak(tts, TEXTS[language])
            await trio.sleep(1)
    assert found == {}


@pytest.mark.parametrize("language", TEXTS)
async def test_a_conversation_leaves_nothing_to_the_collector(
    autojump_clock: MockClock, endpoint: str, language: str
) -> None:
    async with memory_service() as service:
        with garbage() as found:
            async with speaking(make_config(endpoint), service.open_stream) as tts:
                await whole(tts, TEXTS[language])
                await static(tts, TEXTS[language])
            del tts
            await trio.sleep(1)
    assert found == {}
