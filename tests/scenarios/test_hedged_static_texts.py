"""The first audio of a static text is late, so that the request is sent a second time: the first audio wins."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import ENGLISH, RUSSIAN, TEXTS, Service, heard, listen, make_config, memory_service, posts, speaking
from tts_trio import (
    AudioChannel,
    ConcurrencyError,
    ConcurrencyLimiter,
    MemoryCache,
    TTSConfig,
    TTSConnectionError,
    TTSManager,
)
from tts_trio.limits.hedging import FirstAudioTimes, HedgeBudget, Hedging
from tts_trio.local_server import Behavior, Ended, Fault
from tts_trio.static_text.hedged_request import HedgedRequest
from tts_trio.static_text.source import Hedged, OnEvent, RequestSent, SourceEvent
from tts_trio.wire.events import AudioReceived

HEDGE = 0.2  # seconds
LATENCY = 0.08
PATH = "/stream"

every_language = pytest.mark.parametrize("language", TEXTS)


def slow(seconds: float, **changes: Any) -> Fault:
    """Have the answer to the first request come so much later than usual; or to another one."""
    return Fault("delay", "answer", seconds, **{"path": PATH, "count": 1} | changes)


def service_with(*faults: Fault, **changes: Any) -> Any:
    return memory_service(Behavior(model_latency=LATENCY, faults=faults, **changes))


async def say(tts: TTSManager, text: str) -> tuple[AudioChannel, float]:
    """Speak a text; check that it was heard, and nothing else; return how long the first audio took."""
    await wait_all_tasks_blocked()
    began = trio.current_time()
    async with tts.stream_static_text(text) as audio:
        assert heard(await listen(audio), tts.config) == text
        assert audio.spoken(math.inf) == text
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    assert audio.timeline.first_delivered is not None
    return audio, round(audio.timeline.first_delivered - began, 3)


def hedges(audio: AudioChannel) -> str:
    return audio._utterance.hedge


def config_for(**changes: Any) -> TTSConfig:
    return make_config(**{"hedge": HEDGE, "audio_cache": None} | changes)


def connections_of(service: Service) -> list[int]:
    return [request.connection for request in posts(service.server)]


def ended(service: Service, connection: int) -> bool:
    return any(isinstance(record, Ended) and record.connection == connection for record in service.server.records)


@every_language
@pytest.mark.parametrize(("at", "cached"), [("answer", False), ("audio", True)])
async def test_the_second_answer_is_heard_if_its_audio_comes_first(
    autojump_clock: MockClock, cached: bool, at: Any, language: str
) -> None:
    """P40: before the head of the first one has come, or behind it; whose connection is closed, as it was not read."""
    path = "/with-timestamps" if language == "ru" else "/stream"
    async with service_with(Fault("delay", at, 1.5, frame=0, path=path, count=1)) as service:
        config = config_for(audio_cache=MemoryCache() if cached else None, static_timestamps=language == "ru")
        async with speaking(config, service.open_stream) as tts:
            audio, seconds = await say(tts, TEXTS[language])
            assert (hedges(audio), seconds) == ("won", HEDGE + LATENCY)
            length = len(TEXTS[language])
            assert (audio.usage.characters, audio.usage.hedged_characters) == (2 * length, length)
            assert audio.usage.credits is not None
            assert audio.usage.replays == 0
            straggler, winner = connections_of(service)
            await trio.sleep(2)
            assert ended(service, straggler)
            assert not ended(service, winner)
            audio, _ = await say(tts, "Да, next.")
            assert hedges(audio) == "none"


@pytest.mark.parametrize(("late_by", "language"), [(0.13, "en"), (0.19, "ru"), (HEDGE, "en")])
async def test_the_first_answer_is_heard_if_its_audio_comes_first_all_the_same(
    autojump_clock: MockClock, late_by: float, language: str
) -> None:
    """Also in the same turn of the loop: one of the two is heard."""
    async with service_with(slow(late_by)) as service:
        async with speaking(config_for(), service.open_stream) as tts:
            audio, seconds = await say(tts, TEXTS[language])
            assert seconds == round(LATENCY + late_by, 3)
            assert late_by == HEDGE or hedges(audio) == "lost"
            assert len(posts(service.server)) == 2
            await trio.sleep(2)
            assert tts._http is not None
            assert repr(tts._http) == "<HttpConnections, 2 idle, 0 in use>"


async def test_an_answer_in_time_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    async with service_with(slow(HEDGE - LATENCY)) as service:
        async with speaking(config_for(), service.open_stream) as tts:
            assert (await say(tts, RUSSIAN))[1] == HEDGE
            assert len(posts(service.server)) == 1


@pytest.mark.parametrize(("action", "after"), [("reset", 0.0), ("reset", 0.5), ("status", 0.19), ("status", 0.5)])
@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
async def test_where_one_fails_the_other_goes_on(
    autojump_clock: MockClock, which: int, action: str, after: float
) -> None:
    """Lost or refused, at any moment before its audio; and it counts as no replay while there were two."""
    faults = (
        slow(0.4, skip=1 - which),
        slow(after, skip=which),
        Fault(action, "answer", skip=which, count=1, path=PATH),
    )
    async with service_with(*faults) as service:
        async with speaking(config_for(), service.open_stream) as tts:
            audio, _ = await say(tts, RUSSIAN if which else ENGLISH)
            if which or after > HEDGE:  # else the request is sent again, which may be slow, too
                assert audio.usage.replays == 0
                assert hedges(audio) != "none"
                if action == "status":  # one that was lost without an answer is sent again over a new connection
                    assert (hedges(audio), len(posts(service.server))) == ("lost" if which else "won", 2)
            await say(tts, "Да, next.")


async def test_where_both_fail_the_request_is_sent_again(autojump_clock: MockClock) -> None:
    faults = (slow(0.5, count=2), Fault("status", "answer", 500, count=2, path=PATH))
    async with service_with(*faults) as service:
        async with speaking(config_for(), service.open_stream) as tts:
            audio, _ = await say(tts, RUSSIAN)
            assert (hedges(audio), audio.usage.replays, len(posts(service.server))) == ("lost", 1, 3)
            assert audio.usage.characters == 3 * len(RUSSIAN)


async def test_after_the_first_audio_there_is_no_second_request_and_no_retry(autojump_clock: MockClock) -> None:
    """P31: the winner breaks off, after the other one was closed."""
    faults = (slow(1.5), Fault("eof", "audio", frame=1, path=PATH, count=1))
    async with service_with(*faults) as service:
        async with speaking(config_for(), service.open_stream) as tts:
            with pytest.raises(TTSConnectionError):
                await say(tts, ENGLISH)
            assert len(posts(service.server)) == 2


@pytest.mark.parametrize("spares", [0, 1])
async def test_there_is_no_second_request_without_a_connection_that_is_free(
    autojump_clock: MockClock, spares: int
) -> None:
    async with service_with(slow(1.0)) as service:
        async with speaking(config_for(spares=spares), service.open_stream) as tts:
            assert hedges((await say(tts, ENGLISH))[0]) == ("won" if spares else "none")
            assert len(posts(service.server)) == 1 + spares


@pytest.mark.parametrize("size", [1, 2])
async def test_there_is_no_second_request_without_a_slot_that_is_free(autojump_clock: MockClock, size: int) -> None:
    """The second slot is given back when one answer has come first."""
    limiter = ConcurrencyLimiter(size)
    async with service_with(slow(1.0), concurrency=size) as service:
        async with speaking(config_for(limiter=limiter, max_lead=1.0), service.open_stream) as tts:
            await wait_all_tasks_blocked()
            async with tts.stream_static_text(ENGLISH) as audio:
                await audio.receive()
                await wait_all_tasks_blocked()
                assert limiter.held == 1
                assert hedges(audio) == ("won" if size == 2 else "none")
            await wait_all_tasks_blocked()
            assert limiter.held == 0


async def test_a_refusal_of_the_second_request_tells_what_the_plan_allows(autojump_clock: MockClock) -> None:
    """The first one goes on, and the limiter knows the plan from now on."""
    limiter = ConcurrencyLimiter()
    hedging = Hedging(FirstAudioTimes(), HedgeBudget(), HEDGE, 2.0)
    service: Any = SimpleNamespace(limiter=limiter, hedging=hedging, http=SimpleNamespace(idle=1))
    events: list[SourceEvent] = []
    sent = 0

    async def take(event: SourceEvent) -> None:
        events.append(event)

    async def send(take: OnEvent, _slot: object) -> None:
        nonlocal sent
        sent += 1
        await take(RequestSent())
        if sent == 2:
            raise ConcurrencyError("Too many: you have exceeded the maximum of 3 concurrent requests")
        await trio.sleep(1)
        await take(AudioReceived(b"sound"))

    await HedgedRequest(send, take, None, service, 20).run()
    assert events == [RequestSent(), Hedged(20), AudioReceived(b"sound")]
    assert limiter.size == 3


@pytest.mark.parametrize("winner", [1, 2])
async def test_a_loser_that_fails_behind_the_end_of_the_answer_is_not_heard_of(
    autojump_clock: MockClock, winner: int
) -> None:
    """Its error was under way before its cancellation, and comes when the answer is complete."""
    hedging = Hedging(FirstAudioTimes(), HedgeBudget(), HEDGE, 2.0)
    service: Any = SimpleNamespace(limiter=None, hedging=hedging, http=SimpleNamespace(idle=1))
    events: list[SourceEvent] = []
    reset = trio.Event()
    sent = 0

    async def take(event: SourceEvent) -> None:
        events.append(event)

    async def send(take: OnEvent, _slot: object) -> None:
        nonlocal sent
        sent += 1
        number = sent
        await take(RequestSent())
        if number != winner:
            await reset.wait()
            raise TTSConnectionError("the connection was reset")
        await trio.sleep(1)
        reset.set()
        await take(AudioReceived(b"sound"))

    await HedgedRequest(send, take, None, service, 20).run()
    assert events[-1] == AudioReceived(b"sound")


async def test_a_prefetch_is_not_hedged(autojump_clock: MockClock) -> None:
    async with service_with(slow(1.0)) as service:
        async with speaking(config_for(audio_cache=MemoryCache()), service.open_stream) as tts:
            await tts.prefetch([RUSSIAN])
            assert len(posts(service.server)) == 1


async def test_two_that_wait_for_the_same_text_are_charged_once(autojump_clock: MockClock) -> None:
    """Both hear the second answer, and the one that asked pays for two."""
    config = config_for(audio_cache=MemoryCache())
    async with service_with(slow(1.0)) as service:
        async with speaking(config, service.open_stream) as one, speaking(config, service.open_stream) as other:
            await wait_all_tasks_blocked()
            async with one.stream_static_text(ENGLISH) as first, other.stream_static_text(ENGLISH) as second:
                assert heard(await listen(first), config) == heard(await listen(second), config) == ENGLISH
            characters = [first.usage.characters, second.usage.characters]
            assert sorted(characters) == [0, 2 * len(ENGLISH)]
            assert [hedges(first), hedges(second)] == [
                "won" if characters[0] else "none",
                "won" if characters[1] else "none",
            ]
            assert len(posts(service.server)) == 2
