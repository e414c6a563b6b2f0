"""Timers that fire when the peer is late, and not when the loop was.

trio cancels what has timed out in the same turn of the loop in which the socket becomes readable. So where any task
blocked the loop, or the process was stopped (SIGSTOP, a paused virtual machine), for longer than a timeout, the timeout
fires while the answer lies in the kernel's buffer, unread. Here a deadline is judged after everything that had come by
then was read, and a timeout counts only the seconds in which the loop ran.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager

import attrs
import trio

from tts_trio._nurseries import asynccontextmanager, single_error

logger = logging.getLogger(__name__)

# Turns of the loop, in which every socket is read: one turn reads at least a TLS record (16 KiB), so these empty the
# largest buffer that a kernel keeps for a connection by default (Linux: 6 MiB), and take 10 ms if nothing comes. Where
# others keep the loop busy they would take seconds, so the seconds count, too; a turn that is blocked is one turn.
_TURNS = 400
_LONGEST_LOOK = 1.0

# A timer that fires so late tells that the loop, or the process, stood still. Then the peer may have waited for us, too
# (a full window, text that we had not written, a machine that was paused), and is given a round trip.
_LATE = 0.05
_ROUND_TRIP = 1.0

# Turns in which what has come first on a socket is read and taken: a busy loop may need a millisecond for each.
_FEW_TURNS = 10

TICK = 0.1  # seconds: where the loop took longer for them, it stood still


async def has_expired(deadline: Callable[[], float]) -> bool:
    """Tell whether a deadline has passed, once everything that had come by then was read.

    Args:
        deadline: Returns the deadline in seconds of trio's clock. What comes in time moves it, or sets it to infinity.

    Returns:
        False as soon as it lies in the future: at once if it does so already. True after about 10 ms without that, and
        after a second at most where the loop is busy, or had stood still.
    """
    grace_ends = trio.current_time() + grace_after(deadline())
    turns, looked = 0, 0.0
    while deadline() <= (now := trio.current_time()):
        if turns < _TURNS and looked < _LONGEST_LOOK:
            await trio.lowlevel.checkpoint()
            turns += 1
            looked += min(trio.current_time() - now, _LATE)
        elif now < grace_ends:
            await trio.sleep(0.01)
        else:
            return True
    return False


async def until_late(deadline: Callable[[], float]) -> None:
    """Wait until a deadline has passed, for what blames nobody: what has come is waited for in a few turns of the loop.

    Args:
        deadline: Returns the deadline in seconds of trio's clock, which what comes in time moves, or sets to infinity.
    """
    while True:
        await trio.sleep_until(deadline())
        for _ in range(_FEW_TURNS):
            await trio.lowlevel.checkpoint()
            if deadline() > trio.current_time():
                break
        else:
            return


def grace_after(deadline: float) -> float:
    """Return how many seconds more the peer is given: none, or a round trip where the loop had stood still."""
    return _ROUND_TRIP if trio.current_time() - deadline > _LATE else 0.0


class Timer:
    """Wakes a task when something is due. What is due when may change at any time.

    To set another deadline costs about as much as a task switch, and most deadlines only move on with every message. So
    the timer is set again only where something is due earlier than it fires; otherwise it fires too early, once.

    Attributes:
        fires_at: When it fires, in seconds of trio's clock.
    """

    __slots__ = ("_scope", "_waiting", "fires_at")

    def __init__(self) -> None:
        self.fires_at = math.inf
        self._scope = trio.CancelScope()
        self._waiting: trio.lowlevel.Task | None = None

    def bring_forward(self, due: float) -> None:
        """Set the timer to this time, if that is earlier."""
        if due < self.fires_at:
            self.fires_at = self._scope.deadline = due

    def put_off(self, due: float) -> None:
        """Set the timer to this time, though that is later: it would fire for nothing, and soon.

        One that is late already stays, since `wait` is to tell by how much.
        """
        if trio.current_time() < self.fires_at:
            self.fires_at = self._scope.deadline = due

    def fire(self) -> None:
        """Wake the task now, if it waits."""
        if self._waiting is None:
            self._scope.cancel(reason="the timer was fired")
        else:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def late(self) -> float:
        """Return how many seconds late it is: the loop stood still for them."""
        return max(0.0, trio.current_time() - self.fires_at)

    def scope(self, due: float, *, shield: bool = False) -> trio.CancelScope:
        """Return a scope to wait in for something else. The timer cancels it when something may be due.

        Args:
            due: When something is due, in seconds of trio's clock.
            shield: Whether nothing else does.
        """
        self.fires_at = due
        self._scope = trio.CancelScope(deadline=due, shield=shield)
        return self._scope

    async def wait(self, due: float) -> float:
        """Wait until something may be due, and return how many seconds late it is.

        Args:
            due: When something is due, in seconds of trio's clock.
        """
        with self.scope(due):
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        return self.late()

    def _stop_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED


@attrs.define
class Countdown:
    """A timeout for one wait after another, which counts the seconds in which the loop runs.

    Attributes:
        seconds: How many seconds are left.
    """

    seconds: float

    async def wait(self, event: trio.Event) -> bool:
        """Wait for an event, and tell whether it came in time."""
        ends = trio.current_time() + self.seconds
        while not event.is_set() and (now := trio.current_time()) < ends:
            tick = min(now + TICK, ends)
            with trio.move_on_at(tick):
                await event.wait()
            ends += max(0.0, trio.current_time() - tick)
        self.seconds = max(0.0, ends - trio.current_time())
        expired = trio.current_time()
        return not await has_expired(lambda: math.inf if event.is_set() else expired)


async def wait_event(event: trio.Event, timeout: float) -> bool:  # noqa: ASYNC109 - no cancel scope counts like this
    """Wait for an event, for so many seconds in which the loop ran, and tell whether it came."""
    return await Countdown(timeout).wait(event)


@asynccontextmanager
async def fail_after(timeout: float) -> AsyncGenerator[None]:  # noqa: ASYNC109 - no cancel scope counts like this
    """Limit a block as `trio.fail_after` does, but to so many seconds in which the loop ran.

    Raises:
        trio.TooSlowError: It took longer.
    """
    with single_error:
        async with trio.open_nursery() as nursery:
            with fail_after_in(nursery, timeout):
                yield


@contextmanager
def fail_after_in(
    nursery: trio.Nursery,
    timeout: float,
    wait: Callable[[trio.Event, float], Awaitable[bool]] = wait_event,
) -> Generator[None]:
    """Limit a block as `fail_after` does, and leave it without a checkpoint.

    Args:
        nursery: The nursery of the task that watches the block. It stays open until the block is left.
        timeout: The seconds.
        wait: A function that waits for the end of the block, and tells whether it came in time. It is given an event,
            which is set at the end, and the seconds.

    Raises:
        trio.TooSlowError: It took longer.
    """
    done = trio.Event()
    with trio.CancelScope() as scope:
        nursery.start_soon(_watch, scope, wait, done, timeout)
        try:
            yield
        finally:
            done.set()
    if scope.cancelled_caught:
        raise trio.TooSlowError


@trio.lowlevel.enable_ki_protection
async def _watch(
    scope: trio.CancelScope,
    wait: Callable[[trio.Event, float], Awaitable[bool]],
    done: trio.Event,
    timeout: float,  # noqa: ASYNC109 - as above
) -> None:
    in_time = False
    try:
        with trio.CancelScope(shield=True):  # the block may be shielded; its end is told in any case
            in_time = await wait(done, timeout)
    except Exception:  # it must not end the other tasks of the nursery
        logger.exception("the watch over a timeout failed")
    if not in_time:
        scope.cancel(reason="the timeout has passed")
