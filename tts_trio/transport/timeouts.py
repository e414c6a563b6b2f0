"""Timeouts that count only the seconds in which the loop ran, and let the last answer be read.

One task watches all of them, of all calls of this `trio.run`. A task for each would cost a dial as much as its
WebSocket's handshake. It ends within a tick when there is nothing to watch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import attrs
import trio

from tts_trio._nurseries import of_this_run
from tts_trio.transport.timers import TICK, Timer, has_expired

logger = logging.getLogger(__name__)


@contextmanager
def fail_after(seconds: float) -> Generator[None]:
    """Limit a block as `trio.fail_after` does, but to so many seconds in which the loop ran.

    Raises:
        trio.TooSlowError: It took longer.
    """
    with trio.CancelScope() as scope, alarm(seconds, partial(scope.cancel, reason="the timeout has passed")):
        yield
    if scope.cancelled_caught:
        raise trio.TooSlowError


@contextmanager
def alarm(seconds: float, ring: Callable[[], object]) -> Generator[None]:
    """Call a function, which must not raise, if a block takes longer than so many seconds in which the loop ran."""
    watch = of_this_run(_watch, _Watch)
    now = trio.current_time()
    due = _Alarm(now, now + seconds, ring)
    watch.add(due)
    try:
        yield
    finally:
        watch.alarms.discard(due)


@attrs.define(eq=False)
class _Alarm:
    set_at: float
    rings_at: float
    ring: Callable[[], object]


class _Watch:
    """The alarms that were set and have not rung, and the task that rings them."""

    __slots__ = ("_runs", "_timer", "alarms")

    def __init__(self) -> None:
        self.alarms: set[_Alarm] = set()
        self._timer = Timer()
        self._runs = False

    def add(self, due: _Alarm) -> None:
        """Watch an alarm."""
        self.alarms.add(due)
        if not self._runs:
            self._runs = True
            trio.lowlevel.spawn_system_task(self._run, name="tts_trio timeouts")
        self._timer.bring_forward(due.rings_at)

    async def _run(self) -> None:
        try:
            while self.alarms:
                now = trio.current_time()
                stood_still = await self._timer.wait(max(now, min(now + TICK, self._next())))
                for due in self.alarms:
                    if due.set_at <= self._timer.fires_at:  # the loop stood still then
                        due.rings_at += stood_still
                late = {due for due in self.alarms if due.rings_at <= trio.current_time()}
                if late and await has_expired(lambda late=late: self._next(late)):
                    for due in self.alarms & late:
                        self.alarms.remove(due)
                        due.ring()
        except Exception:  # it would end the program
            logger.exception("the watch over the timeouts failed")
        finally:
            self._runs = False

    def _next(self, of: set[_Alarm] | None = None) -> float:
        """Return when the first alarm rings, of all or of these; infinity if none is set any more."""
        return min((due.rings_at for due in self.alarms if of is None or due in of), default=math.inf)


_watch: trio.lowlevel.RunVar[_Watch] = trio.lowlevel.RunVar("tts_trio timeouts")
