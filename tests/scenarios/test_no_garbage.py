"""Nothing of an utterance, or of its socket, waits for the garbage collector.

What cannot be reached any more but through itself stays until a full collection, which goes through all objects of the
process. With hundreds of calls in it that takes 0.1 s, in which none of them hears anything. An exception that goes
through an `async with` block, a cancellation too, holds itself by its frames from Python 3.12 on, with all in them.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import TEXTS, listen, make_config, memory_service, speaking, tokens
from tts_trio import (
    AudioChannel,
    AudioFormat,
    ConcurrencyLimiter,
    Filler,
    TTSManager,
)
from tts_trio.local_server import Behavior, Fault

Speak = Callable[[TTSManager, str], Awaitable[AudioChannel]]


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


async def whole(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.speak(tokens(text)) as audio:
        assert await listen(audio)
    return audio


async def in_two_tasks(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.start_llm_stream() as (channel, audio), trio.open_nursery() as nursery:
        nursery.start_soon(listen, audio)
        async with channel:
            async for token in tokens(text):
                await channel.send(token)
    return audio


async def paced(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.speak(tokens(text)) as audio, trio.open_nursery() as nursery:
        nursery.start_soon(_all, audio.heard())
        frames = audio.paced()
        assert [frame async for frame in frames]
        assert audio.spoken(frames.played_ms)
    return audio


async def _all(words: AsyncIterator[Any]) -> None:
    assert [word async for word in words]


async def interrupted(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.speak(tokens(text)) as audio:
        assert await audio.receive()
    return audio


async def cancelled(tts: TTSManager, text: str) -> AudioChannel:
    with trio.move_on_after(0.5) as scope:
        async with tts.speak(tokens(text, 1.0)) as audio:
            await listen(audio)
    assert scope.cancelled_caught
    return audio


async def filled(tts: TTSManager, text: str) -> AudioChannel:
    async def silent() -> AsyncGenerator[str, None]:
        await trio.sleep(2.0)
        yield text

    async with tts.speak(silent(), filler=Filler("Одну секунду…", after=0.8)) as audio:
        assert await listen(audio)
    return audio


async def left_at_once(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.start_llm_stream() as (channel, audio):
        channel.send_nowait(text)
    return audio


async def static(tts: TTSManager, text: str) -> AudioChannel:
    async with tts.stream_static_text(text) as audio:
        assert await listen(audio)
    return audio


async def elsewhere(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    await trio.lowlevel.checkpoint()
    yield b"\1\2" * 1000 * len(text)


def finished(audio: AudioChannel) -> bool:
    """Whether the service spoke it, to its end and at once."""
    return audio.outcome is not None and audio.outcome.end == "finished" and not audio.usage.replays


def left(audio: AudioChannel) -> bool:
    """Whether it was interrupted."""
    return audio.outcome is not None and audio.outcome.end == "interrupted"


def replayed(audio: AudioChannel) -> bool:
    """Whether a part of it was sent again."""
    return audio.usage.replays == 1


def rescued(audio: AudioChannel) -> bool:
    """Whether the fallback spoke a part of it."""
    return audio.outcome is not None and audio.outcome.end == "finished"


def hedged(audio: AudioChannel) -> bool:
    """Whether it went over two connections."""
    return audio.usage.hedged_characters > 0


LOST = Fault("reset", "audio", frame=1, count=1)

CASES: dict[str, tuple[Speak, dict[str, Any], tuple[Fault, ...], Callable[[AudioChannel], bool]]] = {
    "whole": (whole, {}, (), finished),
    "in two tasks": (in_two_tasks, {}, (), finished),
    "paced, with the words that are heard": (paced, {}, (), finished),
    "interrupted": (interrupted, {}, (), left),
    "filler": (filled, {}, (), finished),
    "left at once": (left_at_once, {}, (), left),
    "left at once, with a hedge": (left_at_once, {"hedge": 0.01}, (), left),
    "static text": (static, {}, (), finished),
    "hedged": (whole, {"hedge": 0.01}, (), hedged),
    "openings": (whole, {"opening_cache": "memory"}, (), finished),
    "lost": (whole, {}, (LOST,), replayed),
    "lost, fallback": (whole, {"fallback": elsewhere, "max_replays": 0}, (LOST,), rescued),
    "lost, fallback over HTTP": (whole, {"fallback": "http", "max_replays": 0}, (LOST,), rescued),
}
if sys.version_info < (3, 12):
    CASES["cancelled"] = (cancelled, {}, (), left)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("case", CASES)
async def test_an_utterance_leaves_nothing_to_the_collector(
    autojump_clock: MockClock, case: str, endpoint: str, language: str
) -> None:
    speak, changes, faults, became = CASES[case]
    config = make_config(endpoint, **changes)
    async with memory_service(Behavior(faults=faults)) as service, speaking(config, service.open_stream) as tts:
        with garbage() as found:
            assert became(await speak(tts, TEXTS[language]))
            await trio.sleep(1)
    assert found == {}


@pytest.mark.parametrize("language", TEXTS)
async def test_a_slot_of_a_limiter_leaves_nothing_to_the_collector(
    autojump_clock: MockClock, endpoint: str, language: str
) -> None:
    limiter = ConcurrencyLimiter(2)
    config = make_config(endpoint, limiter=limiter)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with garbage() as found:
            assert finished(await whole(tts, TEXTS[language]))
            await trio.sleep(1)
    assert found == {}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("faults", [(), (LOST,)], ids=["whole", "lost"])
async def test_a_conversation_leaves_nothing_to_the_collector(
    autojump_clock: MockClock, endpoint: str, language: str, faults: tuple[Fault, ...]
) -> None:
    """Nor does one whose sockets were lost: at an outage there are hundreds of them."""
    async with memory_service(Behavior(faults=faults)) as service:
        with garbage() as found:
            async with speaking(make_config(endpoint), service.open_stream) as tts:
                for _ in range(2):
                    await whole(tts, TEXTS[language])
                await static(tts, TEXTS[language])
                assert tts.connections.statistics().losses == (LOST in faults)
            del tts
            await trio.sleep(1)
    assert found == {}
