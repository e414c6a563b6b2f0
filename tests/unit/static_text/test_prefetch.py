"""The cache filled ahead, on MockClock: politely, and only with what is whole."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import ENGLISH, RUSSIAN, Service, heard, listen, make_config, memory_service, posts, speaking
from tests.helpers.raw_server import answering
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    MemoryCache,
    ServiceTimeoutError,
    TTSError,
)
from tts_trio.local_server import Answered, Behavior

PHRASES = ["Добрый день!", "Good day!", "Одну секунду.", "One second.", "До свидания!", "Goodbye!"]


def most_at_once(service: Service, lasting: float) -> int:
    times = sorted(post.time for post in posts(service.server))
    return max(sum(begun <= time < begun + lasting for begun in times) for time in times)


async def test_what_was_prefetched_is_said_without_the_service(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    said: list[str] = []
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch([*PHRASES, *PHRASES], on_cached=said.append)
        assert sorted(said) == sorted(PHRASES)
        assert len(posts(service.server)) == len(PHRASES)
        for phrase in PHRASES:
            began = trio.current_time()
            async with tts.stream_static_text(phrase) as audio:
                assert heard(await listen(audio), config) == phrase
            assert trio.current_time() == began
        await tts.prefetch(PHRASES)
        assert len(posts(service.server)) == len(PHRASES)


@pytest.mark.parametrize(("plan", "most"), [(1, 1), (3, 1), (4, 2), (10, 5)])
async def test_half_of_what_the_plan_allows(autojump_clock: MockClock, plan: int, most: int) -> None:
    config = make_config(audio_cache=MemoryCache())
    slow = Behavior(concurrency=plan, model_latency=1.0, speed=1000)
    async with memory_service(slow) as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch([f"Раз {number}." for number in range(20)])
        assert len(posts(service.server)) == 20
        assert most_at_once(service, 0.99) == most


async def test_replies_come_before_prefetch(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    real_time = Behavior(speed=1.0)
    async with memory_service(real_time) as service, speaking(config, service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            async with tts.speak([RUSSIAN]) as audio:
                await audio.receive()
                nursery.start_soon(tts.prefetch, PHRASES)
                await trio.sleep(2)
                assert posts(service.server) == []
                await listen(audio)
                ended = trio.current_time()
                await trio.sleep(5)  # it is all here, and is still played
                assert posts(service.server)[0].time <= ended + 0.1
        assert len(posts(service.server)) == len(PHRASES)


async def test_others_may_use_up_the_plan_for_a_while(autojump_clock: MockClock) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        service.server.behavior = Behavior(concurrency=1, speed=4.0)  # 3 s; the tries go on for 3.75 s or more
        async with speaking(make_config(audio_cache=None), service.open_stream) as other:
            async with trio.open_nursery() as nursery, other.stream_static_text(ENGLISH) as audio:
                await audio.receive()
                nursery.start_soon(tts.prefetch, PHRASES[:2])
                await listen(audio)
        refused = [r for r in service.server.records if isinstance(r, Answered) and r.status == 429]
        assert len(refused) > 2
        assert (await cache.statistics()).entries == 2


async def test_what_cannot_be_had_is_told_bare(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        service.server.behavior = Behavior(api_keys=("other",))
        with pytest.raises(AuthenticationError):
            await tts.prefetch(PHRASES)
        service.server.behavior = Behavior(concurrency=1, speed=0.5)
        async with speaking(config, service.open_stream) as other, other.stream_static_text(ENGLISH) as audio:
            await audio.receive()
            with pytest.raises(ConcurrencyError):
                await tts.prefetch(PHRASES)


@attrs.frozen(eq=False)
class Ill:
    """A cache that is down."""

    async def get(self, key: str) -> bytes | None:
        raise OSError("down")

    async def put(self, key: str, value: bytes) -> None:
        raise OSError("down")


async def test_only_what_was_kept_is_told(autojump_clock: MockClock) -> None:
    async with memory_service() as service:
        for cache, kept in ((Ill(), []), (MemoryCache(20_000), ["Да."])):
            told: list[str] = []
            async with speaking(make_config(audio_cache=cache), service.open_stream) as tts:
                await tts.prefetch(["Да.", RUSSIAN, ENGLISH], on_cached=told.append)
            assert told == kept


async def test_what_the_callers_function_raises_comes_out_bare(autojump_clock: MockClock) -> None:
    def refuse(phrase: str) -> None:
        raise KeyError(phrase)

    async with memory_service() as service:
        async with speaking(make_config(audio_cache=MemoryCache()), service.open_stream) as tts:
            with pytest.raises(KeyError, match="Да"):
                await tts.prefetch(["Да."], on_cached=refuse)


@pytest.mark.parametrize(
    ("changes", "texts", "field"),
    [
        ({"audio_cache": None}, ["Да."], "audio_cache"),
        ({"request_stitching": True}, ["Да."], "request_stitching"),
        ({}, ["Да.", "Да. " * 300], "texts"),
        ({}, ["Да.", "…"], "text"),
    ],
)
async def test_what_cannot_be_kept_is_refused_before_anything_is_asked(
    autojump_clock: MockClock, changes: dict[str, object], texts: list[str], field: str
) -> None:
    async with memory_service() as service, speaking(make_config(**changes), service.open_stream) as tts:
        with pytest.raises(ConfigurationError, match=f"^{field}: ") as caught:
            await tts.prefetch(texts)
        assert caught.value.field == field
        assert posts(service.server) == []


async def test_a_prefetch_that_is_cancelled_leaves_what_is_whole(autojump_clock: MockClock) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    one_at_a_time = Behavior(concurrency=1, speed=1.0)
    async with memory_service(one_at_a_time) as service, speaking(config, service.open_stream) as tts:
        with trio.move_on_after(2.5):
            await tts.prefetch(PHRASES)
        stored = (await cache.statistics()).entries
        assert 0 < stored < len(PHRASES)
        for phrase in PHRASES:
            async with tts.stream_static_text(phrase) as audio:
                assert heard(await listen(audio), config) == phrase


@attrs.define(eq=False)
class FullInTheBackground:
    """A limiter that has a slot for those who are waited for, and for nobody else."""

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        if background:
            await trio.sleep_forever()
        yield

    def learn(self, size: int) -> None:
        assert size > 0


async def test_who_is_waited_for_does_not_wait_for_a_prefetch_of_the_same_phrase(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache(), limiter=FullInTheBackground())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tts.prefetch, ["Да."])
            await wait_all_tasks_blocked()
            with trio.fail_after(1):
                async with tts.stream_static_text("Да.") as audio:
                    assert heard(await listen(audio), config) == "Да."
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("retry_after", "waits"), [("86400", 0), ("inf", 0), ("nan", 0), ("-1", 0), ("3", 3)])
async def test_a_retry_after_is_obeyed_as_far_as_the_callers_patience_goes(
    autojump_clock: MockClock, retry_after: str, waits: float
) -> None:
    """Beyond `timeouts.reply` it is the caller who is told, typed, and not the process that sleeps for a day."""
    config = make_config(audio_cache=MemoryCache(), max_replays=0)
    busy = json.dumps({"detail": {"code": "rate_limit_exceeded", "message": "later"}})
    head = f"HTTP/1.1 429 Busy\r\nretry-after: {retry_after}\r\ncontent-type: application/json\r\n"

    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.send_all(f"{head}content-length: {len(busy)}\r\n\r\n{busy}".encode())

    async with answering(config, refuse) as (tts, asked):
        with trio.fail_after(60), pytest.raises(ConcurrencyError) as caught:
            await tts.prefetch(PHRASES)
        with trio.fail_after(60), pytest.raises(ConcurrencyError):
            async with tts.stream_static_text("Да.") as audio:
                await audio.receive()
    assert caught.value.status == 429
    if waits:
        assert asked[1] - asked[0] >= waits
    elif retry_after in ("86400", "inf"):
        assert len(asked) == 2


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (401, 1)])
async def test_only_what_can_help_is_asked_again(autojump_clock: MockClock, status: int, requests: int) -> None:
    """P26: at most `max_replays` times after a fault of the service, with a wait; never with a wrong key."""
    config = make_config(audio_cache=MemoryCache(), max_replays=2)
    head = f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode()
    async with answering(config, lambda stream: stream.send_all(head)) as (tts, asked):
        with pytest.raises(TTSError) as caught:
            await tts.prefetch([RUSSIAN])
    assert caught.value.status == status
    assert len(asked) == requests
    assert all(later - earlier >= 0.25 for earlier, later in pairwise(asked))


@pytest.mark.parametrize("text", ["Да.", "Yes."])
async def test_a_service_that_sends_drop_by_drop_is_given_up(autojump_clock: MockClock, text: str) -> None:
    """P1: a byte every second is no stall, and no speech either."""
    config = make_config(audio_cache=MemoryCache(), max_replays=0)

    async def drip(stream: trio.abc.Stream) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n"
        while True:
            await stream.send_all(head + b"1\r\n\x07\r\n")
            head = b""
            await trio.sleep(1)

    async with answering(config, drip) as (tts, _):
        with trio.fail_after(60), pytest.raises(ServiceTimeoutError, match="not complete after 2"):
            await tts.prefetch([text])


async def test_one_text_is_no_list_of_texts(autojump_clock: MockClock) -> None:
    """A `str` is an iterable of its letters: each would be charged for."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for text in ("Hello", "Да"):
            with pytest.raises(TypeError, match=r"texts must .*\[text\]"):
                await tts.prefetch(text)
        assert posts(service.server) == []


@pytest.mark.parametrize(
    "changes", [{"pronunciation_dictionary_locators": "abc"}, {"chunk_length_schedule": "120", "auto_mode": False}]
)
def test_one_text_is_no_list_of_other_things(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_config(**changes)
    assert caught.value.field in changes


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_speak_takes_one_text_as_one_token(autojump_clock: MockClock, text: str) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(text) as audio:
            assert heard(await listen(audio), tts.config) == text
        async with tts.speak([text]) as audio:
            await listen(audio)
        texts = [[sent for _, sent in service.texts(socket)] for socket in (0, 1)]
        assert texts[0] == texts[1]
