"""The first audio is late, so that the text of a reply goes over a second connection as well: the first audio wins."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from benchmarks.slow_link import SlowLink
from tests.helpers import (
    API_KEY,
    ENDPOINTS,
    ENGLISH,
    RUSSIAN,
    TEXTS,
    VOICE_ID,
    Sample,
    Service,
    heard,
    listen,
    make_config,
    memory_service,
    speaking,
    tokens,
    websocket_path,
    whole_words,
)
from tests.helpers.pages import run_example
from tests.helpers.streams import Wrapped
from tts_trio import (
    AudioChannel,
    ConcurrencyLimiter,
    ConfigurationError,
    MemoryCache,
    PhrasePolicy,
    Timeouts,
    TTSConfig,
    TTSError,
    TTSManager,
    Usage,
    WebSocketConnectionManager,
)
from tts_trio.limits import hedging
from tts_trio.local_server import Behavior, CloseReceived, Fault
from tts_trio.speech import hedged_connection

HEDGE = 0.2  # seconds
LATENCY = 0.08
TWO_PHRASES = {
    "en": "Thanks for waiting, I have found it. Your order number 42 will be with you on Friday at two.",
    "ru": "Да, конечно, сейчас посмотрю. Ваш заказ номер 42 уехал со склада утром, ждите его в пятницу.",
}
every_language = pytest.mark.parametrize("language", TEXTS)


def slow(seconds: float, endpoint: str, **changes: Any) -> Fault:
    """Have the first audio of the first utterance come so much later than usual; or of another one."""
    return Fault("delay", "audio", seconds, frame=0, path=websocket_path(endpoint), **{"count": 1} | changes)


def service_with(*faults: Fault, **changes: Any) -> Any:
    return memory_service(Behavior(model_latency=LATENCY, faults=faults, **changes))


async def settle(tts: TTSManager) -> None:
    """Wait until the spare is hot."""
    with trio.fail_after(1):
        while tts.connections.statistics().dialing:  # noqa: ASYNC110 - the state of a manager
            await trio.sleep(0.01)
    await wait_all_tasks_blocked()


async def say(tts: TTSManager, text: str) -> tuple[AudioChannel, float]:
    """Speak a text; check that it was heard, and nothing else; return how long the first audio took."""
    await settle(tts)
    async with tts.speak([text]) as audio:
        assert heard(await listen(audio), tts.config) == text
        assert audio.spoken(math.inf) == text
        assert [word.text for word in audio.words] == text.split()
    timeline = audio.timeline
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    assert timeline.first_sent is not None
    assert timeline.first_delivered is not None
    return audio, round(timeline.first_delivered - timeline.first_sent, 3)


async def hedge_of(tts: TTSManager, text: str) -> tuple[str, Usage, float]:
    audio, seconds = await say(tts, text)
    return hedges(audio), audio.usage, seconds


def hedges(audio: AudioChannel) -> str:
    """What telemetry is told."""
    return audio._utterance.hedge


def spoken_over(service: Service, endpoint: str) -> list[list[str]]:
    """The texts that were sent, by context, in the order of the contexts."""
    by_context: dict[tuple[int, str], list[str]] = {}
    for record in service.messages():
        text = "".join(line["text"] for line in record.message.get("inputs", [])) or record.message.get("text", "")
        if text.strip():
            by_context.setdefault((record.connection, record.message.get("context_id", "")), []).append(text)
    return list(by_context.values())


@every_language
async def test_the_second_connection_is_heard_if_its_audio_comes_first(
    autojump_clock: MockClock, endpoint: str, language: str
) -> None:
    """P40: once, whole, with its words; the straggler got the first phrase only, and is interrupted at once."""
    async with service_with(slow(1.5, endpoint)) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE), service.open_stream) as tts:
            audio, seconds = await say(tts, TEXTS[language])
            assert seconds == HEDGE + LATENCY
            assert hedges(audio) == "won"
            straggler, winner = spoken_over(service, endpoint)
            assert winner[: len(straggler)] == straggler
            assert len(straggler) == 1 < len(winner)
            assert "".join(winner) == TEXTS[language] + " "
            assert audio.usage.hedged_characters == len(straggler[0])
            assert audio.usage.characters == sum(map(len, straggler + winner))
            assert audio.usage.replays == 0
            if endpoint == "stream-input":  # which the service would speak to the end after an end marker
                used = service.sockets()[0]
                assert [r.message["text"] for r in service.messages() if r.connection == used][1:] == straggler
                assert [r.code for r in service.server.records if r.connection == used and isinstance(r, CloseReceived)]
            await trio.sleep(2)  # a shared socket of the server is blocked for so long
            for text in TEXTS.values():
                assert (await hedge_of(tts, text))[0] == "none"
            await trio.sleep(3)
            statistics = tts.connections.statistics()
            assert (statistics.in_use, statistics.losses, statistics.dialing) == (0, 0, 0)


@pytest.mark.parametrize(("late_by", "language"), [(0.13, "en"), (0.19, "ru"), (HEDGE, "en")])
async def test_the_first_connection_is_heard_if_its_audio_comes_first_all_the_same(
    autojump_clock: MockClock, endpoint: str, language: str, late_by: float
) -> None:
    """Also in the same turn of the loop: at 0.28 s both have come, and one of the two is heard."""
    async with service_with(slow(late_by, endpoint)) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE), service.open_stream) as tts:
            audio, seconds = await say(tts, TEXTS[language])
            assert seconds == round(LATENCY + late_by, 3)
            assert late_by == HEDGE or hedges(audio) == "lost"
            assert len(spoken_over(service, endpoint)) == 2
            assert audio.usage.hedged_characters == len(spoken_over(service, endpoint)[1][0])
            await trio.sleep(3)
            assert tts.connections.statistics().in_use == 0


async def test_audio_in_time_is_not_asked_for_twice(autojump_clock: MockClock, endpoint: str) -> None:
    """What comes in the very moment in which it would be late is in time."""
    async with service_with(slow(HEDGE - LATENCY, endpoint)) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE), service.open_stream) as tts:
            assert (await hedge_of(tts, RUSSIAN))[2] == HEDGE
            assert len(spoken_over(service, endpoint)) == 1


async def talk(config: TTSConfig, replies: int, *faults: Fault) -> tuple[Service, list[AudioChannel], list[float]]:
    """Have replies spoken, half of them Russian, as an LLM writes them, 40 ms from the service.

    Returns:
        The service, with its record; the replies; and the seconds from the first token of each to its first sound.
    """
    said: list[AudioChannel] = []
    async with service_with(*faults) as service, trio.open_nursery() as nursery:

        async def open_stream(config: TTSConfig) -> trio.abc.Stream:
            return SlowLink(await service.open_stream(config), 0.04, nursery)

        async with speaking(config, open_stream) as tts:
            for number in range(replies):
                text = TWO_PHRASES["ru" if number % 2 else "en"]
                async with tts.speak(tokens(text)) as audio:
                    assert heard(await listen(audio), config) == text
                said.append(audio)
        nursery.cancel_scope.cancel()
    times = [audio.timeline for audio in said]
    return service, said, [(at.first_delivered or math.inf) - (at.first_text or 0.0) for at in times]


def percentile(seconds: list[float], percent: int) -> float:
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]


def tail(share: float) -> list[Fault]:
    """Have a share of the first audios come 0.9 to 2.6 s later than usual."""
    late = (0.9, 1.3, 1.7, 2.1, 2.6)
    return [slow(by, "stream-input", count=None, probability=share / 5, seed=seed) for seed, by in enumerate(late)]


async def test_a_tail_is_cut_off(autojump_clock: MockClock, exhaustive: bool) -> None:
    """P40: 8 % of the answers are slow. The 99th percentile is below 2.2 medians, and 5 % of the text is sent twice."""
    config = make_config(hedge="auto", output_format="ulaw_8000")
    service, said, seconds = await talk(config, 400 if exhaustive else 60, *tail(0.08))
    seconds = seconds[10:]  # by the first ten it is learned when an answer is late
    median = percentile(seconds, 50)
    assert percentile(seconds, 95) <= 1.6 * median
    assert percentile(seconds, 99) <= 2.2 * median
    written = sum(len(text) for texts in spoken_over(service, "stream-input") for text in texts)
    twice = written - sum(len(audio.spoken(math.inf)) + 1 for audio in said)
    assert 0 < twice <= 0.05 * written
    assert sum(audio.usage.hedged_characters for audio in said) == twice
    assert sum(audio.usage.characters for audio in said) == written
    assert all(audio.usage.replays == 0 for audio in said)


async def test_where_every_answer_is_slow_few_more_requests_go_out(autojump_clock: MockClock) -> None:
    """P40: at most 5 %, as the service is in trouble; by its own record. A full budget pays for 8 among 160."""
    config = make_config(hedge="auto", output_format="ulaw_8000")
    found = hedging.Hedging.of_replies(config)
    assert found is not None
    found.budget.spend(150)  # a quarter of it is left
    async with service_with(slow(1.2, "stream-input", count=None)) as service:
        async with speaking(config, service.open_stream) as tts:
            for number in range(40):
                assert (await say(tts, "Да." if number % 2 else "Yes."))[1] > 1
    assert len(spoken_over(service, "stream-input")) == 42


@pytest.mark.parametrize(("action", "after"), [("error_frame", 0.5), ("freeze", 0.19)])
@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
async def test_where_one_is_lost_the_other_goes_on(
    autojump_clock: MockClock, endpoint: str, which: int, action: str, after: float
) -> None:
    """Before the second one was there, while there are two, and after one has won; all is said once."""
    other = 1 - which
    faults = (
        slow(0.4, endpoint, skip=other),
        slow(after, endpoint, skip=which),
        Fault(action, "audio", frame=0, path=websocket_path(endpoint), skip=which, count=1),
    )
    text = TWO_PHRASES["ru" if which else "en"]
    async with service_with(*faults) as service:
        config = make_config(endpoint, hedge=HEDGE, timeouts=Timeouts(first_audio=2.0))
        async with speaking(config, service.open_stream) as tts:
            audio, _ = await say(tts, text)
            race = bool(which) or LATENCY + after > HEDGE
            assert (hedges(audio) != "none") == (race or action == "freeze")
            assert audio.usage.replays == int(not race and action != "freeze")
            await say(tts, text)
            await trio.sleep(12)
            assert tts.connections.statistics().in_use == 0


class AtStep(trio.abc.Instrument):
    """Does something after so many steps of all tasks, of the client and of the server."""

    def __init__(self, steps: float, do: Callable[[], object]) -> None:
        self.passed = 0
        self._steps = steps
        self._do = do

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.passed += 1
        if self.passed == self._steps:
            self._do()


@attrs.define(eq=False)
class Breakable(Wrapped):
    """A stream that breaks when it is told to."""

    is_broken: bool = False
    reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with trio.CancelScope() as self.reading:
            if not self.is_broken:
                return await self.stream.receive_some(max_bytes)
        raise trio.BrokenResourceError

    def breaks(self) -> None:
        self.is_broken = True
        self.reading.cancel()


async def lose_at(steps: float, endpoint: str, which: int) -> int:
    """Lose the first or the second connection of a late reply after so many steps; return how many there were."""
    streams: list[Breakable] = []
    text = TWO_PHRASES["ru" if which else "en"]
    async with service_with(slow(0.25, endpoint)) as service:

        async def open_stream(config: TTSConfig) -> trio.abc.Stream:
            streams.append(Breakable(await service.open_stream(config)))
            return streams[-1]

        config = make_config(endpoint, hedge=HEDGE)
        async with speaking(config, open_stream) as tts:
            await settle(tts)
            instrument = AtStep(steps, lambda: streams[service.sockets()[: which + 1][-1] - 1].breaks())
            trio.lowlevel.add_instrument(instrument)
            try:
                async with tts.speak([text]) as audio:
                    assert whole_words(heard(await listen(audio), config), text) == text.split()
            finally:
                trio.lowlevel.remove_instrument(instrument)
            assert audio.usage.replays <= 1
            assert [word.text for word in audio.words] == text.split()
            await trio.sleep(2)
            await say(tts, TEXTS["en" if which else "ru"])
            assert tts.connections.statistics().in_use == 0
    return instrument.passed


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
async def test_each_may_be_lost_at_any_step(
    autojump_clock: MockClock, endpoint: str, sample: Sample, which: int
) -> None:
    """P13: of any task, from the first token to the last audio; no whole word is said twice, and none is lost."""
    total = await lose_at(math.inf, endpoint, which)
    assert total > 100
    for steps in sample(range(1, total + 1), 4):
        hedging.budget_of_account.cache_clear()
        await lose_at(steps, endpoint, which)


async def test_where_both_are_lost_the_text_is_replayed(autojump_clock: MockClock, endpoint: str) -> None:
    faults = (slow(0.5, endpoint, count=2), Fault("reset", "audio", frame=0, path=websocket_path(endpoint), count=2))
    async with service_with(*faults) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE), service.open_stream) as tts:
            audio, _ = await say(tts, RUSSIAN)
            assert hedges(audio) == "lost"
            assert audio.usage.replays == 1
            assert len(spoken_over(service, endpoint)) == 3
            assert audio.usage.characters == sum(
                len(text) for texts in spoken_over(service, endpoint) for text in texts
            )


async def test_the_first_audio_timeout_counts_from_the_first_sending(autojump_clock: MockClock, endpoint: str) -> None:
    """Both are given up then; on a third connection all is said."""
    async with service_with(slow(9, endpoint, count=2)) as service:
        config = make_config(endpoint, hedge=HEDGE, timeouts=Timeouts(first_audio=1.0))
        async with speaking(config, service.open_stream) as tts:
            audio, _ = await say(tts, RUSSIAN)
            assert audio.usage.replays == 1
            assert [record.time for record in service.messages() if "Здравствуйте" in str(record.message)] == [
                pytest.approx(audio.timeline.first_text + after) for after in (0, HEDGE, 1.0)
            ]


async def test_an_end_without_audio_of_one_is_not_the_end(autojump_clock: MockClock, endpoint: str) -> None:
    """P3."""
    path = websocket_path(endpoint)
    faults = (
        slow(0.6, endpoint, skip=1),
        Fault("delay", "audio", 0.3, frame=0, path=path, count=1),
        Fault("early_final", "audio", frame=0, path=path, count=1),
    )
    async with service_with(*faults) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE), service.open_stream) as tts:
            audio, seconds = await say(tts, ENGLISH)
            assert (hedges(audio), audio.usage.replays, seconds) == ("won", 0, round(HEDGE + LATENCY + 0.6, 3))


async def test_an_error_of_the_one_that_goes_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it is one after which no retry can help: the reply is spoken by the other one, and the next call sees."""
    faults = (
        slow(0.5, "stream-input"),
        Fault("error_frame", "audio", "invalid_api_key", frame=0, path="stream-input", skip=1, count=1),
    )
    async with service_with(*faults) as service:
        async with speaking(make_config(hedge=HEDGE), service.open_stream) as tts:
            with caplog.at_level(logging.INFO, "tts_trio"):
                audio, _ = await say(tts, ENGLISH)
            assert hedges(audio) == "lost"
            assert "one of the two connections of a reply was lost" in caplog.text
            assert "invalid_api_key" in caplog.text or "API key" in caplog.text


async def test_the_text_may_be_closed_before_or_after_the_hedge(autojump_clock: MockClock, endpoint: str) -> None:
    """The LLM still writes when the text goes over the second connection, or in the moment in which it wins."""
    for close_at in (0.1, HEDGE, HEDGE + LATENCY, 0.5):
        language = "ru" if close_at < HEDGE else "en"
        async with service_with(slow(1.5, endpoint)) as service:
            config = make_config(endpoint, hedge=HEDGE, phrase_policy=PhrasePolicy.sentence(), api_key=f"k{close_at}")
            async with speaking(config, service.open_stream) as tts:
                await settle(tts)
                first, rest = TWO_PHRASES[language].split(". ")
                async with tts.start_llm_stream() as (text, audio):
                    text.send_nowait(f"{first}. {rest[:3]}")
                    await trio.sleep(close_at)
                    text.send_nowait(rest[3:])
                    text.close()
                    assert heard(await listen(audio), config) == TWO_PHRASES[language]
                assert hedges(audio) == "won"


async def leave_at(steps: float, way: str) -> int:
    """Leave an utterance that is late after so many steps, and have others spoken; return how many there were."""
    delay = Fault("delay", "answer", 0.25, path="/stream", count=1) if way == "static" else slow(0.25, way)
    limiter = ConcurrencyLimiter(2)
    async with service_with(delay, concurrency=2) as service:
        config = make_config(None if way == "static" else way, hedge=HEDGE, limiter=limiter, audio_cache=None)
        async with speaking(config, service.open_stream) as tts:
            await settle(tts)
            with trio.CancelScope() as scope:
                instrument = AtStep(steps, scope.cancel)
                trio.lowlevel.add_instrument(instrument)
                try:
                    async with tts.stream_static_text(ENGLISH) if way == "static" else tts.speak([ENGLISH]) as audio:
                        await audio.receive()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            await wait_all_tasks_blocked()
            assert (tts.connections.statistics().in_use, limiter.held) == (0, 0)
            assert ", 0 in use" in repr(tts._http)
            await trio.sleep(1)
            await say(tts, RUSSIAN)
            async with tts.stream_static_text(RUSSIAN) as audio:
                assert heard(await listen(audio), config) == RUSSIAN
            await trio.sleep(1)
            assert (tts.connections.statistics().in_use, limiter.held) == (0, 0)
            assert service.errors() == []
    for link in service.links:
        with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
            await link.receive_some()
    return instrument.passed


@pytest.mark.parametrize("way", [*ENDPOINTS, "static"])
async def test_a_barge_in_closes_both(autojump_clock: MockClock, sample: Sample, way: str) -> None:
    """P6, P8: after any step of any task, before the hedge, in it and after it; and what comes next is whole."""
    total = await leave_at(math.inf, way)
    assert total > 50
    for steps in sample(range(1, total + 1), 5):
        hedging.budget_of_account.cache_clear()
        await leave_at(steps, way)


async def test_a_storm_leaves_no_slot_and_no_socket(autojump_clock: MockClock, endpoint: str) -> None:
    """P13, P34: all connections of six calls are lost, while some of them have two; all is said once."""
    limiter = ConcurrencyLimiter(20)
    half = Fault("delay", "audio", 0.4, frame=0, path=websocket_path(endpoint), probability=0.5)
    async with service_with(half) as service, trio.open_nursery() as nursery:

        async def call(number: int) -> None:
            config = make_config(endpoint, hedge=HEDGE, limiter=limiter, api_key=f"k{number}", max_replays=3)
            text = TWO_PHRASES["ru" if number % 2 else "en"]
            async with speaking(config, service.open_stream) as tts:
                await trio.sleep_until(began)
                async with tts.speak([text]) as audio:
                    assert whole_words(heard(await listen(audio), config), text) == text.split()
            seen.append(hedges(audio))

        seen: list[str] = []
        began = trio.current_time() + 1
        for number in range(6):
            nursery.start_soon(call, number)
        await trio.sleep_until(began + HEDGE + 0.02)
        service.server.drop_connections()
    assert limiter.held == 0
    assert len(seen) == 6
    assert {"none"} != set(seen)
    for link in service.links:
        with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
            await link.receive_some()


async def test_the_connection_manager_may_be_left_while_both_run(autojump_clock: MockClock, endpoint: str) -> None:
    async with service_with(slow(1.5, endpoint)) as service:
        config = make_config(endpoint, hedge=HEDGE)
        connections = WebSocketConnectionManager(config, open_stream=service.open_stream)
        async with connections, TTSManager(config, connections) as tts:
            await connections.connect()
            await settle(tts)
            async with tts.speak([ENGLISH]) as audio:
                await trio.sleep(HEDGE + 0.02)
                assert hedges(audio) == "lost"
                await connections.close()
                with pytest.raises(TTSError):
                    await listen(audio)
        for link in service.links:
            with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
                await link.receive_some()


@pytest.mark.endpoints("stream-input", "multi-stream-input")
async def test_there_is_no_hedge_without_a_connection_that_is_free(autojump_clock: MockClock, endpoint: str) -> None:
    """No dial is begun, and none is waited for; a socket that carries several utterances carries this one twice."""
    async with service_with(slow(1.5, endpoint)) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE, spares=0), service.open_stream) as tts:
            audio, seconds = await say(tts, ENGLISH)
            if endpoint == "stream-input":
                assert (hedges(audio), seconds, service.dials) == ("none", LATENCY + 1.5, 2)
            else:
                assert (hedges(audio), len(service.sockets())) == ("lost", 1)
    budget = hedging.Hedging.of_replies(tts.config)
    assert budget is not None
    assert budget.budget._saved == 200 - (0 if endpoint == "stream-input" else 34)  # late: nothing was earned


@pytest.mark.parametrize("size", [1, 2])
async def test_there_is_no_hedge_without_a_slot_that_is_free(
    autojump_clock: MockClock, endpoint: str, size: int
) -> None:
    """The plan allows no more, and the service complains of nothing; the second slot is given back at once."""
    limiter = ConcurrencyLimiter(size)
    async with service_with(slow(1.5, endpoint), concurrency=size) as service:
        async with speaking(make_config(endpoint, hedge=HEDGE, limiter=limiter), service.open_stream) as tts:
            await settle(tts)
            async with tts.speak([RUSSIAN]) as audio:
                await trio.sleep(HEDGE + 0.02)
                assert limiter.held == size
                assert heard(await audio.receive() + await listen(audio), tts.config) == RUSSIAN
                assert hedges(audio) == ("won" if size == 2 else "none")
            await wait_all_tasks_blocked()
            assert limiter.held == 0
            assert service.errors() == []


async def test_the_second_slot_is_held_no_longer_than_the_race(autojump_clock: MockClock) -> None:
    limiter = ConcurrencyLimiter(2)
    async with service_with(slow(1.5, "stream-input")) as service:
        async with speaking(make_config(hedge=HEDGE, limiter=limiter), service.open_stream) as tts:
            await settle(tts)
            async with tts.start_llm_stream() as (text, audio):
                text.send_nowait(ENGLISH)
                await audio.receive()
                await wait_all_tasks_blocked()
                assert hedges(audio) == "won"
                assert limiter.held == 1


async def hold(limiter: ConcurrencyLimiter) -> None:
    async with limiter.slot():
        await trio.sleep_forever()


async def test_who_waits_for_a_slot_has_it_before_a_hedge(autojump_clock: MockClock) -> None:
    limiter = ConcurrencyLimiter(1)
    async with service_with(slow(0.3, "stream-input")) as service:
        async with speaking(make_config(hedge=HEDGE, limiter=limiter), service.open_stream) as tts:
            await settle(tts)
            async with trio.open_nursery() as nursery, tts.speak([ENGLISH]) as audio:
                await wait_all_tasks_blocked()
                nursery.start_soon(hold, limiter)
                assert heard(await listen(audio), tts.config) == ENGLISH
                assert hedges(audio) == "none"
                nursery.cancel_scope.cancel()


async def test_auto_leaves_text_to_dialogue_alone(autojump_clock: MockClock) -> None:
    """Each of its sockets holds a session of the plan, and what it has got it speaks, and bills, to the end."""
    endpoint = "text-to-dialogue"
    async with service_with(slow(1.5, endpoint, count=20)) as service:
        async with speaking(make_config(endpoint, hedge="auto"), service.open_stream) as tts:
            for text in ("Да.", "Yes."):
                assert (await hedge_of(tts, text))[0] == "none"


async def test_what_comes_in_the_background_is_not_hedged(autojump_clock: MockClock) -> None:
    """Nor is a reply that is said from memory, for which nothing is sent."""
    opening = "Одну минуту, пожалуйста."
    async with service_with(slow(1.5, "stream-input", count=3)) as service:
        config = make_config(hedge=HEDGE, opening_cache=MemoryCache(), language_code="ru")
        async with speaking(config, service.open_stream) as tts:
            await settle(tts)
            await tts.prefetch_openings([opening])
            sent = len(spoken_over(service, "stream-input"))
            async with tts.speak([opening]) as audio:
                assert heard(await listen(audio), config) == opening
                await trio.sleep(1)
            assert (hedges(audio), audio.usage.characters) == ("none", 0)
            assert len(spoken_over(service, "stream-input")) == sent == 1


async def test_an_opening_is_kept_of_the_connection_that_won(autojump_clock: MockClock) -> None:
    opening = "Одну минуту, пожалуйста. "
    async with service_with(slow(1.5, "stream-input")) as service:
        config = make_config(hedge=HEDGE, opening_cache=MemoryCache(), language_code="ru")
        for number in range(3):
            async with speaking(config, service.open_stream) as tts:
                text = f"{opening}Сейчас я посмотрю ваш заказ номер {number}."
                audio, _ = await say(tts, text)
                assert hedges(audio) == ("won" if number == 0 else "none")
                assert (audio.usage.characters < len(text)) == (number == 2)


async def test_off_means_off(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Not a byte is sent that was not, and nothing of it runs."""

    async def wire(hedge: Any) -> list[tuple[float, int, Any]]:
        async with service_with(slow(0.05, endpoint)) as service:
            async with speaking(make_config(endpoint, hedge=hedge), service.open_stream) as tts:
                for text in TEXTS.values():
                    await say(tts, text)
                    async with tts.stream_static_text("Hello.") as audio:
                        await listen(audio)
                await trio.sleep(1)
            return [(r.time, r.connection, r.message) for r in service.messages()]

    def never(*_: object) -> None:
        raise AssertionError("this is switched off")

    hedged = await wire(0.5)
    monkeypatch.setattr(hedged_connection.HedgedConnection, "__init__", never)
    monkeypatch.setattr(hedging.Hedging, "_of", never)
    plain = await wire(None)
    assert len(plain) > 5
    assert [message for *_, message in plain] == [message for *_, message in hedged]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"hedge": "on"}, "hedge: 'on' is not allowed; it must be \"auto\", or a number of seconds from 0.001"),
    ({"hedge": 0}, "hedge: 0 is not allowed"),
    ({"hedge": True}, "hedge: True is not allowed"),
    ({"hedge": 2.0}, "hedge: 2 is not allowed; it must be below 2, the timeouts.first_audio"),
    ({"hedge": "auto", "auto_mode": False}, "hedge: with auto_mode=False"),
]


@pytest.mark.parametrize(("changes", "says"), BAD)
def test_what_cannot_work_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_config(**changes)
    assert str(caught.value).startswith(says)
    assert caught.value.field == "hedge"


async def test_the_example_of_the_guide(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"API_KEY": API_KEY, "VOICE_ID": VOICE_ID, "BASE_URL": "http://127.0.0.1"}.items():
        monkeypatch.setenv(f"ELEVENLABS_{name}", value)
    send, receive = trio.open_memory_channel[bytes](math.inf)
    async with service_with(slow(1.5, "stream-input")) as service:
        with service.answer_every_dial():
            assert await run_example("answer_hedged")(send, tokens(ENGLISH)) == len("Hello, and thank you ")
    send.close()
    assert heard(b"".join([chunk async for chunk in receive]), make_config()) == ENGLISH
