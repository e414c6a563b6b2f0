"""Processes that share a cache, on MockClock: two caches of one store are two of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import (
    RUSSIAN,
    TEXTS,
    Service,
    hear_static_text,
    listen,
    make_config,
    memory_service,
    posts,
    speaking,
)
from tts_trio import SharedAudioCache, TTSConnectionError, TTSManager
from tts_trio.config.validators import is_instance
from tts_trio.local_server import Behavior, Fault

SLOW = Behavior(speed=1.0)


@attrs.define(eq=False)
class Store:
    """What the processes share."""

    phrases: dict[str, bytes] = attrs.field(factory=dict)
    claims: dict[str, tuple[object, float]] = attrs.field(factory=dict)
    renewing: bool = True


@attrs.define(eq=False)
class Shared:
    """One process's end of it, a millisecond away."""

    store: Store

    async def get(self, key: str) -> bytes | None:
        await trio.sleep(0.001)
        return self.store.phrases.get(key)

    async def put(self, key: str, value: bytes) -> None:
        await trio.sleep(0.001)
        self.store.phrases[key] = value

    async def claim(self, key: str, seconds: float) -> bool:
        await trio.sleep(0.001)
        owner, until = self.store.claims.get(key, (self, 0.0))
        if owner is not self and trio.current_time() < until:
            return False
        if owner is self and key in self.store.claims and not self.store.renewing:
            return True  # as one whose process stands still
        self.store.claims[key] = self, trio.current_time() + seconds
        return True

    async def release(self, key: str) -> None:
        await trio.sleep(0.001)
        if self.store.claims[key][0] is self:
            del self.store.claims[key]


@asynccontextmanager
async def process(service: Service, store: Store) -> AsyncGenerator[TTSManager]:
    async with speaking(make_config(audio_cache=Shared(store)), service.open_stream) as tts:
        yield tts


def test_it_is_such_a_cache() -> None:
    shared: SharedAudioCache = Shared(Store())
    assert is_instance(shared, SharedAudioCache)


@pytest.mark.parametrize("language", TEXTS)
async def test_two_processes_make_one_request(autojump_clock: MockClock, language: str) -> None:
    store = Store()
    said: list[str] = []

    async def say(tts: TTSManager) -> None:
        said.append(await hear_static_text(tts, TEXTS[language]))

    async with memory_service() as service, process(service, store) as one, process(service, store) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, one)
            nursery.start_soon(say, other)
        assert said == [TEXTS[language]] * 2
        assert len(posts(service.server)) == 1
    assert len(store.phrases) == 1
    assert store.claims == {}


async def test_when_the_one_that_claimed_it_gives_up_the_other_asks(autojump_clock: MockClock) -> None:
    store = Store()
    async with memory_service(SLOW) as service, process(service, store) as one, process(service, store) as other:
        async with trio.open_nursery() as nursery:
            async with one.stream_static_text(RUSSIAN) as audio:
                await audio.receive()
                nursery.start_soon(hear_static_text, other, RUSSIAN)
                await trio.sleep(0.5)
                assert len(posts(service.server)) == 1
            with trio.fail_after(0.1):
                while len(posts(service.server)) == 1:  # noqa: ASYNC110 - a service tells nobody
                    await trio.sleep(0.01)
        await trio.sleep(0.1)
    assert len(store.phrases) == 1
    assert store.claims == {}


async def test_a_claim_that_is_stuck_is_waited_for_a_second(autojump_clock: MockClock) -> None:
    """Somebody is on the line; a prefetch, for which nobody is, waits as long as the service would be waited for."""
    store = Store()
    async with memory_service() as service, process(service, store) as one:
        async with one.stream_static_text("Да.") as audio:
            await listen(audio)
        await trio.sleep(0.1)
        [key] = store.phrases
        store.claims[key] = object(), 1000.0
        del store.phrases[key]
        began = trio.current_time()
        assert await hear_static_text(one, "Да.") == "Да."
        assert 1 < trio.current_time() - began < 1.3
        assert len(posts(service.server)) == 2
        await trio.sleep(0.1)
        del store.phrases[key]
        began = trio.current_time()
        await one.prefetch(["Да."])
        assert 2 < trio.current_time() - began < 2.3


async def test_the_claim_of_a_process_that_died_is_free_soon(autojump_clock: MockClock) -> None:
    """The one that lives claims it anew three times in 300 ms; the other had its last 300 ms."""
    store = Store()
    async with memory_service(Behavior(model_latency=1.0)) as service, process(service, store) as other:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def die() -> None:
                async with process(service, store) as one, one.stream_static_text(RUSSIAN):
                    await trio.sleep(0.8)
                    [[_, until]] = store.claims.values()  # it was claimed for longer
                    assert 0 < until - trio.current_time() <= 0.3
                    store.renewing = False
                    await trio.sleep_forever()

            await trio.sleep(0.9)
            began = trio.current_time()
            async with other.stream_static_text(RUSSIAN):
                await trio.sleep(0.4)
                assert len(posts(service.server)) == 2
            assert trio.current_time() - began < 0.5
            nursery.cancel_scope.cancel()


async def test_what_failed_is_not_claimed_any_more(autojump_clock: MockClock) -> None:
    store = Store()
    failing = Behavior(faults=(Fault("status", "answer", 500, path="/stream"),))
    async with memory_service(failing) as service, process(service, store) as one:
        with pytest.raises(TTSConnectionError):
            await hear_static_text(one, RUSSIAN)
        await trio.sleep(0.1)
    assert store.claims == {}
    assert store.phrases == {}


async def test_what_was_stored_in_the_moment_of_the_claim_is_not_asked_for(autojump_clock: MockClock) -> None:
    store = Store()

    class Late(Shared):
        async def claim(self, key: str, seconds: float) -> bool:
            store.phrases |= stored
            return await super().claim(key, seconds)

    async with memory_service() as service, process(service, store) as one:
        assert await hear_static_text(one, RUSSIAN) == RUSSIAN
        await trio.sleep(0.1)
        stored = dict(store.phrases)
        store.phrases.clear()
        async with speaking(make_config(audio_cache=Late(store)), service.open_stream) as late:
            assert await hear_static_text(late, RUSSIAN) == RUSSIAN
        assert len(posts(service.server)) == 1
