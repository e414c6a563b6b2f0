"""Two connections that stand for one: which of them is heard, and what is left of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers import make_config
from tts_trio import AuthenticationError, ConcurrencyError, ConcurrencyLimiter, TTSConnectionError, TTSError
from tts_trio.limits.hedging import FirstAudioTimes, HedgeBudget, Hedging
from tts_trio.limits.limiter import PATIENCE
from tts_trio.speech.hedged_connection import HedgedConnection
from tts_trio.speech.report import Report
from tts_trio.wire.events import Alignment, AudioReceived, Final

HEDGE = 0.2
SOUND = AudioReceived(b"\x01\x02" * 80)
SILENCE = AudioReceived(bytes(160))
LOST = TTSConnectionError("gone")


@attrs.define(eq=False)
class Fake:
    """A connection that does nothing by itself."""

    trace_id: str
    said: list[str] = attrs.field(factory=list)
    on_event: Callable[[AudioReceived | Final], None] | None = None
    on_loss: Callable[[TTSError], None] | None = None

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        self.on_event, self.on_loss = on_event, on_loss

    def send_text(self, *phrases: str, ends: bool = False) -> None:
        self.said += [*phrases, *(["end"] if ends else [])]

    def close(self) -> None:
        self.said.append("close")
        self.on_event = self.on_loss = None

    def abandon(self, error: TTSError) -> None:
        self.said.append(f"abandon: {error}")
        self.on_event = self.on_loss = None

    def gives(self, event: AudioReceived | Final) -> None:
        if self.on_event is not None:
            self.on_event(event)

    def is_lost(self, error: TTSError = LOST) -> None:
        on_loss, self.on_event, self.on_loss = self.on_loss, None, None
        if on_loss is not None:
            on_loss(error)


@attrs.define(eq=False)
class Race:
    """A reply's hedged connection, and what the reply learns of it."""

    limiter: ConcurrencyLimiter | None = None
    first: Fake = attrs.field(factory=lambda: Fake("first"))
    second: Fake = attrs.field(factory=lambda: Fake("second"))
    spares: int = 1
    times: FirstAudioTimes = attrs.field(factory=FirstAudioTimes)
    budget: HedgeBudget = attrs.field(factory=HedgeBudget)
    report: Report = attrs.field(factory=lambda: Report(make_config(), 0.0, in_messages=True))
    events: list[Any] = attrs.field(factory=list)
    losses: list[TTSError] = attrs.field(factory=list)
    connection: Any = None

    def acquire_spare(self, _beside: object) -> Any:
        self.spares -= 1
        return self.second if self.spares >= 0 else None

    async def begin(self, nursery: trio.Nursery, *, until: float = HEDGE + 0.01) -> HedgedConnection:
        first: Any = self.first
        hedging = Hedging(self.times, self.budget, HEDGE, 2.0)
        self.connection = HedgedConnection(first, self.acquire_spare, hedging, self.limiter, self.report)
        self.connection.take(self.events.append, self.losses.append)
        nursery.start_soon(self.connection.run)
        await trio.sleep(5)  # the reply waits for its text
        self.connection.send_text("Да, слушаю. ")
        await trio.sleep(until)
        await wait_all_tasks_blocked()
        return self.connection


async def test_what_is_sent_until_one_wins_goes_over_both(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race()
    connection = await race.begin(nursery)
    connection.send_text("Yes. ")
    connection.send_text(ends=True)
    assert race.first.said == race.second.said == ["Да, слушаю. ", "Yes. ", "end"]
    assert (race.report.hedge, race.report.hedged_characters) == ("lost", 17)
    race.second.gives(SOUND)
    assert race.first.said[-1] == "close"
    assert (race.events, race.report.hedge, connection.trace_id) == ([SOUND], "won", "second")


async def test_a_text_that_has_ended_ends_over_the_second_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race()
    connection = await race.begin(nursery, until=0)
    connection.send_text("Yes. ", "Ещё. ", ends=True)
    await trio.sleep(HEDGE + 0.01)
    assert race.second.said == race.first.said == ["Да, слушаю. ", "Yes. ", "Ещё. ", "end"]


async def test_what_is_sent_later_goes_over_the_winner_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race()
    connection = await race.begin(nursery)
    race.first.gives(SOUND)
    race.second.gives(SOUND)  # in the same turn of the loop
    race.second.is_lost(AuthenticationError("no"))
    connection.send_text("Yes. ")
    assert (race.first.said, race.second.said) == (["Да, слушаю. ", "Yes. "], ["Да, слушаю. ", "close"])
    assert (race.events, race.losses, race.report.hedge, race.report.hedged_characters) == ([SOUND], [], "lost", 12)
    race.first.gives(Final())
    race.first.is_lost()
    assert (race.events, race.losses) == ([SOUND, Final()], [LOST])


async def test_silence_that_may_be_of_a_blank_decides_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It has no times, and comes before a sound. With times it is of the text."""
    race = Race()
    await race.begin(nursery)
    race.first.gives(SILENCE)
    race.first.gives(AudioReceived(b""))
    assert (race.events, race.second.said) == ([], ["Да, слушаю. "])
    race.second.gives(SOUND)
    race.second.gives(SILENCE)
    assert race.events == [SOUND, SILENCE]
    other = Race()
    await other.begin(nursery)
    timed = AudioReceived(bytes(160), Alignment(("Д",), (0,), (5,)))
    other.first.gives(timed)
    assert (other.events, other.second.said[-1]) == ([timed], "close")


@pytest.mark.parametrize("until", [0.1, HEDGE + 0.01])
async def test_silence_that_decides_nothing_is_not_lost(
    autojump_clock: MockClock, nursery: trio.Nursery, until: float
) -> None:
    """It is heard before the sound that follows it on its connection; a text may also be answered by nothing else."""
    race = Race()
    await race.begin(nursery, until=until)
    race.first.gives(SILENCE)
    race.first.gives(SOUND)
    assert race.events == [SILENCE, SOUND]
    silent = Race()
    await silent.begin(nursery, until=until)
    silent.first.gives(SILENCE)
    silent.second.is_lost()
    silent.first.gives(Final())
    assert silent.events == [SILENCE, Final()]
    assert silent.report.hedge == ("none" if until < HEDGE else "lost")


async def test_endless_silence_is_not_held(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """No blank gives more than a second of it, so it is the answer, and the reply is to say that it does not end."""
    race = Race()
    await race.begin(nursery)
    second = AudioReceived(bytes(96_000))
    race.second.gives(second)
    assert race.events == []
    race.second.gives(SILENCE)
    race.second.gives(second)
    assert (race.events, race.first.said[-1]) == ([second, SILENCE, second], "close")


async def test_a_slot_that_comes_too_late_gives_no_second_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It is given back at once, so that a second connection would speak without one."""

    class Slow(ConcurrencyLimiter):
        @asynccontextmanager
        async def slot(self, *, background: bool = False) -> AsyncIterator[Any]:
            async with super().slot(background=background) as slot:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2 * PATIENCE)
                yield slot

    race = Race(limiter := Slow(1))
    await race.begin(nursery, until=HEDGE + 3 * PATIENCE)
    assert (race.spares, race.report.hedge, limiter.held) == (1, "none", 0)


@pytest.mark.parametrize("by", ["first", "second"])
async def test_the_one_that_ends_or_is_lost_is_forgotten(
    autojump_clock: MockClock, nursery: trio.Nursery, by: str
) -> None:
    for event in (None, Final()):
        race = Race()
        connection = await race.begin(nursery)
        goes, stays = (race.first, race.second) if by == "first" else (race.second, race.first)
        goes.is_lost() if event is None else goes.gives(event)
        assert (race.events, race.losses) == ([], [])
        connection.send_text(ends=True)
        assert stays.said[-1] == "end"
        assert "end" not in goes.said
        stays.gives(SOUND)
        assert race.events == [SOUND]
        assert race.report.hedge == ("won" if by == "first" else "lost")


async def test_a_refusal_tells_what_the_plan_allows(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race(limiter := ConcurrencyLimiter())
    await race.begin(nursery)
    race.second.is_lost(ConcurrencyError("Too many: you have exceeded the maximum of 3 concurrent requests"))
    assert (limiter.size, race.losses) == (3, [])


async def test_both_are_lost(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race()
    connection = await race.begin(nursery)
    race.first.is_lost(TTSConnectionError("another"))
    race.second.is_lost()
    assert race.losses == [LOST]
    connection.close()
    assert race.times.threshold(1.0) == 1.0
    assert not race.times._times


@pytest.mark.parametrize("ends", ["close", "abandon", "loss"])
@pytest.mark.parametrize("at", [0.0, HEDGE - 0.01, HEDGE + 0.01])
async def test_there_is_no_second_one_after_the_end(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: str, at: float
) -> None:
    limiter = ConcurrencyLimiter(1)
    race = Race(limiter)
    connection = await race.begin(nursery, until=at)
    assert limiter.held == (at > HEDGE)
    if ends == "loss":
        race.first.is_lost()
        race.second.is_lost()
    else:
        connection.close() if ends == "close" else connection.abandon(LOST)
        assert race.first.said[-1] == ("close" if ends == "close" else "abandon: gone")
        assert race.second.said[-1:] == (race.first.said[-1:] if at > HEDGE else [])
    await trio.sleep(1)
    assert limiter.held == 0
    assert race.spares == int(at < HEDGE)


async def test_a_limiter_without_a_free_slot_and_one_that_refuses_give_no_second_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    limiter = ConcurrencyLimiter(1)
    async with limiter.slot():
        race = Race(limiter)
        await race.begin(nursery, until=2.0)
        assert race.report.hedge == "none"
        assert limiter.held == 1
    await trio.sleep(1)
    assert (race.spares, limiter.held) == (1, 0)


async def test_without_a_connection_nothing_is_paid(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race(spares=0)
    await race.begin(nursery)
    race.first.gives(SOUND)
    assert (race.report.hedge, race.budget._saved) == ("none", 200)


async def test_without_a_budget_there_is_no_second_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    race = Race()
    assert race.budget.spend(1000)
    await race.begin(nursery)
    assert (race.spares, race.report.hedge) == (1, "none")


class Turns(trio.abc.Instrument):
    """Counts the turns of the loop."""

    count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_a_busy_loop_does_not_put_the_second_one_off(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A turn takes a millisecond where many calls are served, so only a few are waited for what has come."""
    race, turns = Race(), Turns()
    await race.begin(nursery, until=HEDGE - 0.01)
    await trio.sleep_until(race.connection._late_at)
    trio.lowlevel.add_instrument(turns)
    while race.report.hedge == "none" and turns.count < 100:
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(turns)
    assert turns.count < 20


async def test_what_is_learned_and_earned(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """In time: its own time, and 5 % of all its characters, once. Late: its time, and nothing. Given up: no time."""
    in_time = Race()
    in_time.budget.spend(100)
    connection = await in_time.begin(nursery, until=0.1)
    in_time.first.gives(SOUND)
    connection.send_text("x" * 88)
    connection.close()
    connection.close()
    assert [round(seconds, 6) for seconds in in_time.times._times] == [0.1]
    assert in_time.budget._saved == 105
    overtaken = Race()
    connection = await overtaken.begin(nursery, until=HEDGE + 0.12)
    overtaken.second.gives(SOUND)
    connection.close()
    assert [round(seconds, 6) for seconds in overtaken.times._times] == [0.12]
    assert overtaken.budget._saved == 175
    late = Race()
    connection = await late.begin(nursery, until=HEDGE + 0.12)
    late.first.gives(SOUND)
    connection.close()
    assert [round(seconds, 6) for seconds in late.times._times] == [0.32]
    given_up = Race()
    connection = await given_up.begin(nursery, until=2.0)
    connection.abandon(LOST)
    interrupted = Race(times=given_up.times)
    connection = await interrupted.begin(nursery, until=1.5)
    connection.close()
    assert list(given_up.times._times) == [float("inf")]
