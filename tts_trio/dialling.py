"""When to dial: a bound on dials at once in one process, and the wait after dials that failed.

When the service comes back after an outage, hundreds of calls do not dial in the same instant: 400 dials at once
blocked the loop for 67 ms. WebSockets and HTTP connections dial by the same rules.
"""

from __future__ import annotations

import math
import random

import trio

_DIALS_AT_ONCE = 16  # with dials of 0.19 s, 200 calls have their WebSocket and an HTTP connection back in 5 s
_FIRST_WAIT = 0.25  # seconds, before jitter; it doubles from failure to failure
_LONGEST_WAIT = 4.0
_STABLE = 5.0  # seconds: a connection lost sooner than that is a failure of the service, as a failed dial is

_limit: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("tts_trio dials")


def dial_limit() -> trio.CapacityLimiter:
    """Return the limiter of which a dial holds one token, from its beginning until it succeeded or failed."""
    try:
        return _limit.get()
    except LookupError:
        limit = trio.CapacityLimiter(_DIALS_AT_ONCE)
        _limit.set(limit)
        return limit


class Backoff:
    """How long one conversation waits before its next dial: not at all after a success, else longer and longer.

    A connection that was opened before the last failure proves nothing: it may work while no dial does.
    """

    def __init__(self) -> None:
        self._wait = 0.0
        self._failed_at = -math.inf

    def dial_failed(self) -> None:
        """Take note that a dial failed."""
        self._wait = min(_LONGEST_WAIT, max(_FIRST_WAIT, self._wait * 2))
        self._failed_at = trio.current_time()

    def connection_works(self, opened: float) -> None:
        """Take note that a connection which was opened at that time did its part."""
        if opened > self._failed_at:
            self._wait = 0.0

    def connection_is_up(self, opened: float) -> None:
        """Take note that a connection which was opened at that time is up."""
        if trio.current_time() - opened >= _STABLE:
            self.connection_works(opened)

    def connection_lost(self, opened: float) -> None:
        """Take note that a connection which was opened at that time was lost."""
        if trio.current_time() - opened >= _STABLE:
            self.connection_works(opened)
        else:
            self.dial_failed()

    def wait(self) -> float:
        """Return the seconds to wait before the next dial, with jitter."""
        return self._wait * random.uniform(0.5, 1)  # noqa: S311 - no secret
