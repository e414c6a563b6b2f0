"""When to dial, and for how long: a bound on dials at once to one host, their timeout, and the wait after failures.

When the service comes back after an outage, hundreds of calls do not dial in the same instant: 400 dials at once
blocked the loop for 67 ms. WebSockets and HTTP connections dial by the same rules.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import trio

from tts_trio._nurseries import of_this_run
from tts_trio.limits.backoff import Backoff
from tts_trio.transport.tcp import forget_addresses
from tts_trio.transport.timers import fail_after_in, wait_event

_DIALS_AT_ONCE = 16  # with dials of 0.19 s, 200 calls have their WebSocket and an HTTP connection back in 5 s
_WORKING = 1.0  # seconds: a dial that takes longer waits for its host, and does no work that would hold up others
_BACKOFF = Backoff(first=0.25, longest=4.0)
_STABLE = 5.0  # seconds: a connection lost sooner than that is a failure of the service, as a failed dial is

_limits: trio.lowlevel.RunVar[dict[str, trio.CapacityLimiter]] = trio.lowlevel.RunVar("tts_trio dials")


class DialTurn:
    """A turn to dial: this process makes only a few dials at once to one host.

    A turn ends when its dial has succeeded or failed, and after a second at the latest. So a host that does not answer
    delays the dials to itself alone, and each by no more than a second.
    """

    def __init__(self, limit: trio.CapacityLimiter) -> None:
        self._limit = limit
        self._over = False

    @classmethod
    async def wait(cls, base_url: str) -> DialTurn:
        """Wait for a turn to dial the host of this URL. The caller has to call `end`."""
        limits = of_this_run(_limits, dict)
        turn = cls(limits.setdefault(urlsplit(base_url).netloc, trio.CapacityLimiter(_DIALS_AT_ONCE)))
        try:
            turn._limit.acquire_on_behalf_of_nowait(turn)
        except trio.WouldBlock:
            await turn._limit.acquire_on_behalf_of(turn)
        return turn

    def end(self) -> None:
        """Let the next one dial. Ending it twice is no error."""
        if not self._over:
            self._over = True
            self._limit.release_on_behalf_of(self)

    def limited(self, timeout: float, nursery: trio.Nursery) -> AbstractContextManager[None]:
        """Return a block to dial in, for so many seconds at most in which the loop ran. The turn ends with it.

        Args:
            timeout: The seconds.
            nursery: The nursery of the task that watches the block. It stays open until the block is left.

        Raises:
            trio.TooSlowError: It took longer.
        """
        return fail_after_in(nursery, timeout, self._wait)

    async def _wait(self, dialed: trio.Event, timeout: float) -> bool:  # noqa: ASYNC109 - as `fail_after`
        """Wait for the end of the dial, and tell whether it came in time; the turn ends after a second of it."""
        try:
            in_time = await wait_event(dialed, min(timeout, _WORKING))
        finally:
            self.end()
        return in_time or (timeout > _WORKING and await wait_event(dialed, timeout - _WORKING))


class DialBackoff:
    """How long one conversation waits before its next dial: not at all after a success, else longer and longer.

    A connection that was opened before the last failure proves nothing: it may work while no dial does.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = -math.inf

    def dial_failed(self) -> None:
        """Count a failed dial. The next one resolves the host anew: its address may be what has failed."""
        forget_addresses()
        self._failures += 1
        self._failed_at = trio.current_time()

    def connection_works(self, opened: float) -> None:
        """Forget the failures if a connection that served was opened after the last of them."""
        if opened > self._failed_at:
            self._failures = 0

    def connection_is_up(self, opened: float) -> None:
        """Forget the failures likewise if a connection has stayed open for `_STABLE` seconds."""
        if self._failures and trio.current_time() - opened >= _STABLE:
            self.connection_works(opened)

    def connection_lost(self, opened: float) -> None:
        """Count the loss of a connection as a failed dial, unless it had stayed open for `_STABLE` seconds."""
        if trio.current_time() - opened >= _STABLE:
            self.connection_works(opened)
        else:
            self.dial_failed()

    def wait(self) -> float:
        """Return the seconds to wait before the next dial, with jitter."""
        return _BACKOFF.after(self._failures)
