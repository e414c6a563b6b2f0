"""One request for all who ask for a phrase at once, on MockClock: they share its answer, and not its troubles."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import (
    Service,
    hear_static_text,
    heard,
    listen,
    make_config,
    memory_service,
    no_network,
    posts,
    speaking,
)
from tests.helpers.raw_server import answering
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConcurrencyLimiter,
    MemoryCache,
    PolicyError,
    ServiceTimeoutError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault
from tts_trio.transport.streams import OpenStream

SLOW = Behavior(speed=1.0)  # audio comes as it is heard, so that there is time for something to happen
CALLERS = 20
TEXT = "Здравствуйте, спасибо за звонок! Ваш заказ уже в пути."


async def stored(cache: MemoryCache) -> int:
    return (await cache.statistics()).entries


@asynccontextmanager
async def conversations(number: int, config: TTSConfig, service: Service) -> AsyncGenerator[list[TTSManager]]:
    """Some conversations of one process."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(speaking(config, service.open_stream)) for _ in range(number)]


async def test_twenty_callers_one_request(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    heard_by: list[str] = []
    began: list[float] = []
    characters: list[int] = []

    async def call(tts: TTSManager, after: float) -> None:
        await trio.sleep(after)
        start = trio.current_time()
        async with tts.stream_static_text(TEXT) as audio:
            sound = await audio.receive()
            began.append(trio.current_time() - start)
            heard_by.append(heard(sound + await listen(audio), config))
        characters.append(audio.usage.characters)

    async with memory_service(SLOW) as service, conversations(CALLERS, config, service) as managers:
        async with trio.open_nursery() as nursery:
            for number, tts in enumerate(managers):
                nursery.start_soon(call, tts, number * 0.1)
        assert len(posts(service.server)) == 1
    assert heard_by == [TEXT] * CALLERS
    assert sorted(characters) == [0] * (CALLERS - 1) + [len(TEXT)]
    assert max(began) < 0.2  # the others hear at once what has come so far
    assert max(began[1:]) < 0.08


@pytest.mark.parametrize("chunks", [0, 1, 5])
async def test_when_the_first_is_interrupted_the_others_hear_on(autojump_clock: MockClock, chunks: int) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    async with memory_service(SLOW) as service, conversations(2, config, service) as [one, other]:
        heard_by: list[str] = []

        async def follow() -> None:
            heard_by.append(await hear_static_text(other, TEXT))

        async with trio.open_nursery() as nursery:
            async with one.stream_static_text(TEXT) as audio:
                nursery.start_soon(follow)
                await wait_all_tasks_blocked()
                for _ in range(chunks):
                    await audio.receive()
        assert heard_by == [TEXT]
        assert len(posts(service.server)) == 1
        assert await stored(cache) == 1


@pytest.mark.parametrize("chunks", [0, 1, 5])
async def test_when_the_firsts_conversation_is_over_the_others_hear_on(autojump_clock: MockClock, chunks: int) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    async with memory_service(SLOW) as service, speaking(config, service.open_stream) as other:
        heard_by: list[str] = []

        async def follow() -> None:
            heard_by.append(await hear_static_text(other, TEXT))

        async with trio.open_nursery() as nursery:
            async with speaking(config, service.open_stream) as one:
                async with one.stream_static_text(TEXT) as audio:
                    nursery.start_soon(follow)
                    await wait_all_tasks_blocked()
                    for _ in range(chunks):
                        await audio.receive()
                before = trio.current_time()
            assert trio.current_time() - before < 0.3
        assert heard_by == [TEXT]
        assert len(posts(service.server)) == (
            2 if chunks == 0 else 1
        )  # without an answer there was nothing to go on with
        assert await stored(cache) == 1


async def test_when_the_firsts_conversation_ends_before_it_has_asked(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @attrs.define(eq=False)
    class Thoughtful(MemoryCache):
        """A cache that takes a moment."""

        async def get(self, key: str) -> bytes | None:
            await trio.sleep(0.01)
            return await super().get(key)

        def __attrs_pre_init__(self) -> None:
            super().__init__()

    config = make_config(audio_cache=Thoughtful())
    async with memory_service() as service, speaking(config, service.open_stream) as other:
        async with trio.open_nursery() as nursery:
            async with speaking(config, service.open_stream) as one:
                async with one.stream_static_text(TEXT):
                    nursery.start_soon(hear_static_text, other, TEXT)
                    await wait_all_tasks_blocked()
        assert len(posts(service.server)) == 1
    assert "failed" not in caplog.text


# --- whoever joins a request shares its answer, and not its troubles


async def test_while_the_service_is_ill_each_asks_for_himself_and_one_at_a_time(autojump_clock: MockClock) -> None:
    """Each fails by his own requests, and no storm of them comes of it."""
    config = make_config(audio_cache=MemoryCache())
    failing = Behavior(faults=(Fault("status", "answer", 500, path="/stream"),))
    async with memory_service(failing) as service, conversations(5, config, service) as managers:
        failed: list[TTSConnectionError] = []

        async def call(tts: TTSManager) -> None:
            with pytest.raises(TTSConnectionError) as caught:
                await hear_static_text(tts, TEXT)
            failed.append(caught.value)

        async with trio.open_nursery() as nursery:
            for tts in managers:
                nursery.start_soon(call, tts)
        assert len(failed) == len(set(map(id, failed))) == 5
        assert all(error.unspoken_text == TEXT for error in failed)
        assert len(posts(service.server)) == 5 * (1 + config.max_replays)


@asynccontextmanager
async def joined(
    service: Service, first: TTSConfig, *others: TTSConfig, open_stream: OpenStream | None = None
) -> AsyncGenerator[tuple[list[str], list[TTSError]]]:
    """Conversations that ask for one phrase, the others a moment after the first; what they heard, and its failure."""
    said: list[str] = []
    failed: list[TTSError] = []

    async def call(tts: TTSManager) -> None:
        said.append(await hear_static_text(tts, TEXT))

    async with AsyncExitStack() as stack:
        managers = [await stack.enter_async_context(speaking(config, service.open_stream)) for config in others]
        connections = WebSocketConnectionManager(first, open_stream=open_stream or service.open_stream)
        await stack.enter_async_context(connections)
        one = await stack.enter_async_context(TTSManager(first, connections))
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                try:
                    await call(one)
                except TTSError as error:
                    failed.append(error)

            nursery.start_soon(fail)
            await wait_all_tasks_blocked()
            for tts in managers:
                nursery.start_soon(call, tts)
            yield said, failed


DELAY = Fault("delay", "answer", 0.1, path="/stream")


def shared(**changes: Any) -> TTSConfig:
    return make_config(audio_cache=MemoryCache(), max_replays=0, **changes)


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_a_wrong_key_is_the_trouble_of_who_has_it(autojump_clock: MockClock, language: str) -> None:
    good = shared(language_code=language)
    bad = good.evolve(api_key="sk_of_somebody_else")
    async with memory_service(Behavior(api_keys=(good.api_key,), faults=(DELAY,))) as service:
        async with joined(service, bad, good, good, good) as (said, failed):
            pass
        assert said == [TEXT] * 3
        assert [type(error) for error in failed] == [AuthenticationError]
        assert len(posts(service.server)) == 2


async def test_an_exhausted_quota_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    config = shared()
    quota = Behavior(faults=(DELAY, Fault("status", "answer", 402, path="/stream", count=1)))
    async with memory_service(quota) as service:
        async with joined(service, config, config, config) as (said, failed):
            pass
        assert said == [TEXT] * 2
        assert len(failed) == 1
        assert len(posts(service.server)) == 2


async def test_a_full_limiter_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    full = ConcurrencyLimiter(1, timeout=1)
    first = shared(limiter=full)
    for limiter in (None, ConcurrencyLimiter(1)):
        other = first.evolve(limiter=limiter)
        async with memory_service() as service, full.slot():
            async with joined(service, first, other) as (said, failed):
                began = trio.current_time()
                while not said:  # noqa: ASYNC110 - a conversation tells nobody
                    await trio.sleep(0.01)
                assert trio.current_time() - began < 0.8
            assert said == [TEXT]
            assert [type(error) for error in failed] == [ConcurrencyError]
        assert other.audio_cache is not None
        await other.audio_cache.clear()  # type: ignore[attr-defined]


async def test_a_proxy_that_is_down_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    good = shared()
    through = good.evolve(proxy="http://127.0.0.1:1", timeouts=Timeouts(connect=30.0))
    async with memory_service() as service:
        async with joined(service, through, good, open_stream=no_network) as (said, failed):
            began = trio.current_time()
            while not said:  # noqa: ASYNC110 - a conversation tells nobody
                await trio.sleep(0.01)
            assert trio.current_time() - began < 0.8
        assert said == [TEXT]
        assert len(failed) == 1


async def test_short_timeouts_are_the_trouble_of_who_has_them(autojump_clock: MockClock) -> None:
    patient = shared(timeouts=Timeouts(first_audio=5.0))
    hasty = patient.evolve(timeouts=Timeouts(first_audio=5.0, reply=0.5))
    async with memory_service(Behavior(model_latency=1.0)) as service:
        async with joined(service, hasty, patient) as (said, failed):
            pass
        assert said == [TEXT]
        assert len(failed) == 1


async def test_a_connection_that_was_cut_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    config = shared()
    cut = Behavior(faults=(DELAY, Fault("reset", "answer", path="/stream", count=2)))
    async with memory_service(cut) as service:
        async with joined(service, config, config, config) as (said, failed):
            pass
        assert said == [TEXT] * 2
        assert len(failed) == 1
        assert (
            len(posts(service.server)) == 3
        )  # the first was asked over an idle connection, so it was sent over another, too


async def test_what_is_wrong_with_the_text_is_told_to_all(autojump_clock: MockClock) -> None:
    """Whoever asked again would be told the same, and be charged for the try."""
    config = shared()
    body = {"detail": {"type": "invalid_request", "code": "content_against_policy", "message": "not this"}}

    async def refuse(stream: trio.abc.Stream) -> None:
        await trio.sleep(0.1)
        text = json.dumps(body)
        head = f"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {len(text)}"
        await stream.send_all(f"{head}\r\n\r\n{text}".encode())

    refused: list[PolicyError] = []

    async def call(tts: TTSManager) -> None:
        with pytest.raises(PolicyError) as caught:
            await hear_static_text(tts, TEXT)
        refused.append(caught.value)

    async with answering(config, refuse) as (tts, asked), trio.open_nursery() as callers:
        for _ in range(3):
            callers.start_soon(call, tts)
    assert len(refused) == 3
    assert len(asked) == 1


async def test_who_asks_after_others_troubles_still_ends_in_his_own_time(autojump_clock: MockClock) -> None:
    """His wait is his first audio's, for the others, and once more for himself."""
    config = shared(timeouts=Timeouts(first_audio=1.0))
    hanging = Behavior(faults=(Fault("freeze", "answer", path="/stream"),))
    async with memory_service(hanging) as service:
        with pytest.raises(ExceptionGroup) as caught:
            async with joined(service, config.evolve(timeouts=Timeouts(reply=0.8)), config, config):
                began = trio.current_time()
        assert caught.group_contains(ServiceTimeoutError)
        assert trio.current_time() - began < 2.0


async def test_who_comes_late_does_not_wait_for_a_request_that_hangs(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache(), max_replays=0)
    hanging = Behavior(faults=(Fault("freeze", "answer", path="/stream", count=1),))
    async with memory_service(hanging) as service, conversations(3, config, service) as [one, two, late]:
        async with trio.open_nursery() as nursery:

            async def call(tts: TTSManager, after: float) -> None:
                await trio.sleep(after)
                with pytest.raises(TTSConnectionError):
                    await hear_static_text(tts, TEXT)

            nursery.start_soon(call, one, 0)
            nursery.start_soon(call, two, 1.9)
            await trio.sleep(2.5)
            assert await hear_static_text(late, TEXT) == TEXT
            assert trio.current_time() < 4
        assert len(posts(service.server)) == 2


async def test_who_comes_late_does_not_wait_for_an_answer_that_stalled(autojump_clock: MockClock) -> None:
    """He would hear the beginning, and then nothing, and could not ask again."""
    config = make_config(audio_cache=MemoryCache(), max_replays=0)
    stalled = Behavior(faults=(Fault("freeze", "audio", frame=3, path="/stream", count=1),))
    async with (
        memory_service(stalled) as service,
        speaking(config.evolve(timeouts=Timeouts(stall=30.0)), service.open_stream) as one,
        speaking(config, service.open_stream) as late,
    ):
        async with trio.open_nursery() as nursery:
            async with one.stream_static_text(TEXT) as audio:
                nursery.start_soon(listen, audio)
                await trio.sleep(config.timeouts.stall + 0.5)
                assert await hear_static_text(late, TEXT) == TEXT
                nursery.cancel_scope.cancel()
        assert len(posts(service.server)) == 2
