"""Phrases from a cache, and one request for many, on MockClock: whatever happens, each phrase is heard whole."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import RUSSIAN, TEXTS, Service, heard, listen, make_config, memory_service, speaking
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConcurrencyLimiter,
    ConfigurationError,
    EmptyAudioError,
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
from tts_trio.local_server import Behavior, Fault, Requested
from tts_trio.transport.streams import OpenStream

SLOW = Behavior(speed=1.0)  # audio comes as it is heard, so that there is time for something to happen
CALLERS = 20


def posts(service: Service) -> int:
    return sum(isinstance(r, Requested) and r.method == "POST" for r in service.server.records)


async def hear(tts: TTSManager, text: str) -> str:
    async with tts.stream_static_text(text) as audio:
        return heard(await listen(audio), tts.config)


async def stored(cache: MemoryCache) -> int:
    return (await cache.statistics()).entries


@asynccontextmanager
async def conversations(number: int, config: TTSConfig, service: Service) -> AsyncGenerator[list[TTSManager]]:
    """Some conversations of one process."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(speaking(config, service.open_stream)) for _ in range(number)]


async def no_network(_config: TTSConfig) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("output_format", ["pcm_16000", "mp3_44100_128"])
async def test_a_hit_is_the_same_phrase_and_needs_no_network(
    autojump_clock: MockClock, language: str, output_format: str
) -> None:
    config = make_config(audio_cache=MemoryCache(), static_timestamps=True, output_format=output_format)
    text = TEXTS[language]
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(text) as first:
            sound = await listen(first)
        assert first.usage.characters == len(text)
        assert first.usage.credits
    connections = WebSocketConnectionManager(config, open_stream=no_network)
    async with connections, TTSManager(config, connections) as tts:
        began = trio.current_time()
        async with tts.stream_static_text(text) as again:
            chunks = [chunk async for chunk in again]
        assert trio.current_time() == began
    assert b"".join(chunks) == sound
    assert len(chunks) > 3
    assert again.words == first.words
    assert again.usage.characters == again.usage.credits == 0
    assert again.outcome is not None
    assert (again.outcome.end, again.outcome.spoken_text) == ("finished", text)


async def test_a_hit_can_be_interrupted(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        await hear(tts, RUSSIAN)
        async with tts.stream_static_text(RUSSIAN) as audio:
            await audio.receive()
            assert audio.statistics().current_buffer_used <= 1  # the first piece does not wait for the last
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert 0 < audio.outcome.delivered_ms < 1000
        assert await hear(tts, RUSSIAN) == RUSSIAN
        assert posts(service) == 1


async def test_the_default_is_one_cache_for_all_conversations(autojump_clock: MockClock) -> None:
    async with memory_service() as service:
        for _ in range(2):
            async with speaking(make_config(), service.open_stream) as tts:
                assert await hear(tts, RUSSIAN) == RUSSIAN
        assert posts(service) == 1
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            assert await hear(tts, RUSSIAN) == RUSSIAN
        assert posts(service) == 2


@pytest.mark.parametrize(
    ("text", "changes"), [("Да. " * 300, {}), ("Да.", {"request_stitching": True})], ids=["long", "stitched"]
)
async def test_what_is_not_kept(autojump_clock: MockClock, text: str, changes: dict[str, bool]) -> None:
    cache = MemoryCache()
    async with memory_service() as service:
        async with speaking(make_config(audio_cache=cache, **changes), service.open_stream) as tts:
            await hear(tts, text)
            await hear(tts, text)
        assert posts(service) == 2
    assert await stored(cache) == 0


async def test_a_cache_is_a_cache() -> None:
    with pytest.raises(ConfigurationError, match="audio_cache"):
        make_config(audio_cache={})


# --- one request for many


async def test_twenty_callers_one_request(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    heard_by: list[str] = []
    began: list[float] = []
    characters: list[int] = []

    async def call(tts: TTSManager, after: float) -> None:
        await trio.sleep(after)
        start = trio.current_time()
        async with tts.stream_static_text(RUSSIAN) as audio:
            sound = await audio.receive()
            began.append(trio.current_time() - start)
            heard_by.append(heard(sound + await listen(audio), config))
        characters.append(audio.usage.characters)

    async with memory_service(SLOW) as service, conversations(CALLERS, config, service) as managers:
        async with trio.open_nursery() as nursery:
            for number, tts in enumerate(managers):
                nursery.start_soon(call, tts, number * 0.1)
        assert posts(service) == 1
    assert heard_by == [RUSSIAN] * CALLERS
    assert sorted(characters) == [0] * (CALLERS - 1) + [len(RUSSIAN)]
    assert max(began) < 0.2  # the others hear at once what has come so far
    assert max(began[1:]) < 0.08


@pytest.mark.parametrize("chunks", [0, 1, 5])
async def test_when_the_first_is_interrupted_the_others_hear_on(autojump_clock: MockClock, chunks: int) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    async with memory_service(SLOW) as service, conversations(2, config, service) as [one, other]:
        heard_by: list[str] = []

        async def follow() -> None:
            heard_by.append(await hear(other, RUSSIAN))

        async with trio.open_nursery() as nursery:
            async with one.stream_static_text(RUSSIAN) as audio:
                nursery.start_soon(follow)
                await wait_all_tasks_blocked()
                for _ in range(chunks):
                    await audio.receive()
        assert heard_by == [RUSSIAN]
        assert posts(service) == 1
        assert await stored(cache) == 1


@pytest.mark.parametrize("chunks", [0, 1, 5])
async def test_when_the_firsts_conversation_is_over_the_others_hear_on(autojump_clock: MockClock, chunks: int) -> None:
    cache = MemoryCache()
    config = make_config(audio_cache=cache)
    async with memory_service(SLOW) as service, speaking(config, service.open_stream) as other:
        heard_by: list[str] = []

        async def follow() -> None:
            heard_by.append(await hear(other, RUSSIAN))

        async with trio.open_nursery() as nursery:
            async with speaking(config, service.open_stream) as one:
                async with one.stream_static_text(RUSSIAN) as audio:
                    nursery.start_soon(follow)
                    await wait_all_tasks_blocked()
                    for _ in range(chunks):
                        await audio.receive()
                before = trio.current_time()
            assert trio.current_time() - before < 0.3
        assert heard_by == [RUSSIAN]
        assert posts(service) == (2 if chunks == 0 else 1)  # without an answer there was nothing to go on with
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
                async with one.stream_static_text(RUSSIAN):
                    nursery.start_soon(hear, other, RUSSIAN)
                    await wait_all_tasks_blocked()
        assert posts(service) == 1
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
                await hear(tts, RUSSIAN)
            failed.append(caught.value)

        async with trio.open_nursery() as nursery:
            for tts in managers:
                nursery.start_soon(call, tts)
        assert len(failed) == len(set(map(id, failed))) == 5
        assert all(error.unspoken_text == RUSSIAN for error in failed)
        assert posts(service) == 5 * (1 + config.max_replays)


@asynccontextmanager
async def joined(
    service: Service, first: TTSConfig, *others: TTSConfig, open_stream: OpenStream | None = None
) -> AsyncGenerator[tuple[list[str], list[TTSError]]]:
    """Conversations that ask for one phrase, the others a moment after the first; what they heard, and its failure."""
    said: list[str] = []
    failed: list[TTSError] = []

    async def call(tts: TTSManager) -> None:
        said.append(await hear(tts, RUSSIAN))

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
        assert said == [RUSSIAN] * 3
        assert [type(error) for error in failed] == [AuthenticationError]
        assert posts(service) == 2


async def test_an_exhausted_quota_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    config = shared()
    quota = Behavior(faults=(DELAY, Fault("status", "answer", 402, path="/stream", count=1)))
    async with memory_service(quota) as service:
        async with joined(service, config, config, config) as (said, failed):
            pass
        assert said == [RUSSIAN] * 2
        assert len(failed) == 1
        assert posts(service) == 2


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
            assert said == [RUSSIAN]
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
        assert said == [RUSSIAN]
        assert len(failed) == 1


async def test_short_timeouts_are_the_trouble_of_who_has_them(autojump_clock: MockClock) -> None:
    patient = shared(timeouts=Timeouts(first_audio=5.0))
    hasty = patient.evolve(timeouts=Timeouts(first_audio=5.0, reply=0.5))
    async with memory_service(Behavior(model_latency=1.0)) as service:
        async with joined(service, hasty, patient) as (said, failed):
            pass
        assert said == [RUSSIAN]
        assert len(failed) == 1


async def test_a_connection_that_was_cut_is_the_trouble_of_who_has_it(autojump_clock: MockClock) -> None:
    config = shared()
    cut = Behavior(faults=(DELAY, Fault("reset", "answer", path="/stream", count=2)))
    async with memory_service(cut) as service:
        async with joined(service, config, config, config) as (said, failed):
            pass
        assert said == [RUSSIAN] * 2
        assert len(failed) == 1
        assert posts(service) == 3  # the first was asked over an idle connection, so it was sent over another, too


async def test_what_is_wrong_with_the_text_is_told_to_all(autojump_clock: MockClock) -> None:
    """Whoever asked again would be told the same, and be charged for the try."""
    config = shared()
    body = {"detail": {"type": "invalid_request", "code": "content_against_policy", "message": "not this"}}

    async def refuse(stream: trio.abc.Stream) -> None:
        async with stream:
            while data := await stream.receive_some():
                if data.startswith(b"POST"):
                    asked.append(data)
                    await trio.sleep(0.1)
                    text = json.dumps(body)
                    head = f"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {len(text)}"
                    await stream.send_all(f"{head}\r\n\r\n{text}".encode())

    asked: list[bytes] = []
    refused: list[PolicyError] = []
    async with trio.open_nursery() as nursery:

        async def open_stream(_config: TTSConfig) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(refuse, theirs)
            return ours

        connections = WebSocketConnectionManager(config, open_stream=open_stream)
        async with connections, TTSManager(config, connections) as tts, trio.open_nursery() as callers:

            async def call() -> None:
                with pytest.raises(PolicyError) as caught:
                    await hear(tts, RUSSIAN)
                refused.append(caught.value)

            for _ in range(3):
                callers.start_soon(call)
        nursery.cancel_scope.cancel()
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
                    await hear(tts, RUSSIAN)

            nursery.start_soon(call, one, 0)
            nursery.start_soon(call, two, 1.9)
            await trio.sleep(2.5)
            assert await hear(late, RUSSIAN) == RUSSIAN
            assert trio.current_time() < 4
        assert posts(service) == 2


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
            async with one.stream_static_text(RUSSIAN) as audio:
                nursery.start_soon(listen, audio)
                await trio.sleep(config.timeouts.stall + 0.5)
                assert await hear(late, RUSSIAN) == RUSSIAN
                nursery.cancel_scope.cancel()
        assert posts(service) == 2


# --- only what is whole is stored


async def chunks_of(text: str) -> int:
    async with memory_service() as service, speaking(make_config(audio_cache=None), service.open_stream) as tts:
        async with tts.stream_static_text(text) as audio:
            return len([chunk async for chunk in audio])


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("fault", ["reset", "eof", "freeze"])
async def test_a_phrase_that_was_cut_is_never_stored(autojump_clock: MockClock, fault: str, timed: bool) -> None:
    number = await chunks_of("Здравствуйте! Чем могу помочь?")
    assert number > 5
    path = "/with-timestamps" if timed else "/stream"
    cuts = [Fault(fault, "audio", frame=frame, path=path) for frame in range(number)]
    for cut in [*cuts, Fault(fault, "final", path=path)]:
        cache = MemoryCache()
        config = make_config(audio_cache=cache, static_timestamps=timed)
        async with memory_service(Behavior(faults=(cut,))) as service, speaking(config, service.open_stream) as tts:
            try:
                await hear(tts, "Здравствуйте! Чем могу помочь?")
            except TTSConnectionError:
                assert await stored(cache) == 0, cut
            else:
                assert timed or cut.at == "final", cut


@pytest.mark.parametrize("way", ["leave", "cancel", "hang up"])
async def test_a_phrase_that_was_left_is_never_stored(autojump_clock: MockClock, way: str) -> None:
    text = "Здравствуйте! Чем могу помочь?"
    number = await chunks_of(text)
    for chunks in range(number):
        cache = MemoryCache()
        config = make_config(audio_cache=cache)
        async with memory_service(SLOW) as service:
            with trio.CancelScope() as conversation:
                async with speaking(config, service.open_stream) as tts:
                    with trio.CancelScope() as scope:
                        async with tts.stream_static_text(text) as audio:
                            for _ in range(chunks):
                                await audio.receive()
                            if way == "cancel":
                                scope.cancel()
                            if way == "hang up":
                                conversation.cancel()
                            await trio.lowlevel.checkpoint()
            await trio.sleep(10)
            assert await stored(cache) == 0, chunks
            async with speaking(config, service.open_stream) as tts:
                assert await hear(tts, text) == text
            assert await stored(cache) == 1
            assert posts(service) == (2 if chunks else 1)  # who left at once had not asked yet


async def test_an_answer_without_audio_is_not_stored(autojump_clock: MockClock) -> None:
    cache = MemoryCache()
    silent = Behavior(faults=(Fault("skip", "audio", frame=None, path="/stream"),))
    config = make_config(audio_cache=cache)
    async with memory_service(silent) as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(EmptyAudioError):
            await hear(tts, RUSSIAN)
    assert await stored(cache) == 0


# --- a cache that is ill


@attrs.define(eq=False)
class Ill:
    """A cache that does what it is told to, and nothing good."""

    way: str
    asked: int = 0

    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        return await self._suffer(key)

    async def put(self, key: str, value: bytes) -> None:
        self.asked += 1
        await self._suffer(key)

    async def _suffer(self, key: str) -> bytes | None:
        match self.way:
            case "down":
                raise OSError("connection refused")
            case "wrong":
                raise ZeroDivisionError
            case "corrupt":
                return b"tts_trio phrase 1\n" + bytes(100)
            case "no bytes":
                return 7  # type: ignore[return-value]
            case _:
                await trio.sleep(1000)
                return None


@pytest.mark.parametrize("way", ["down", "wrong", "corrupt", "no bytes", "hung"])
async def test_an_ill_cache_costs_no_phrase_and_20_ms_at_most(
    autojump_clock: MockClock, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Ill(way)
    async with memory_service() as service:
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            began = trio.current_time()
            assert await hear(tts, RUSSIAN) == RUSSIAN
            usual = trio.current_time() - began
        async with speaking(make_config(audio_cache=cache), service.open_stream) as tts:
            for _ in range(3):
                began = trio.current_time()
                assert await hear(tts, RUSSIAN) == RUSSIAN
                assert trio.current_time() - began <= usual + 0.0201
                await trio.sleep(5)
    assert cache.asked == 6
    assert 1 <= caplog.text.count("WARNING  tts_trio.static_text") <= 3


async def test_a_full_cache_costs_no_phrase(autojump_clock: MockClock) -> None:
    cache = MemoryCache(max_bytes=1000)
    async with memory_service() as service, speaking(make_config(audio_cache=cache), service.open_stream) as tts:
        assert await hear(tts, RUSSIAN) == RUSSIAN
        assert await hear(tts, RUSSIAN) == RUSSIAN
        assert posts(service) == 2
    assert await stored(cache) == 0
