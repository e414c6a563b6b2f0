"""When a socket is pinged, which of its pings were not answered yet, and when their pongs are overdue."""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False)
class Ping:
    """A ping that is not answered yet. Times are in seconds of trio's clock.

    Attributes:
        payload: What its pong will name.
        since: When it was sent.
        messages: How many messages had come then.
        overdue_at: When its pong is overdue; later, where the loop stood still.
        is_probe: Whether any message will do for the pong.
    """

    payload: bytes
    since: float
    messages: int
    overdue_at: float
    is_probe: bool


class Pings:
    """When the next ping of one socket is due, and those that are not answered yet, in the order of their sending.

    Attributes:
        waiting: These pings.
        due_at: When the next one is due, in seconds of trio's clock; infinity before the first.
    """

    __slots__ = ("_count", "_interval", "due_at", "waiting")

    def __init__(self, interval: float) -> None:
        """Prepare the pings of a socket: one is due `interval` seconds after the last ping or message."""
        self.waiting: list[Ping] = []  # short, and a deque takes 600 bytes even where it is empty
        self.due_at = math.inf
        self._interval = interval
        self._count = 0

    def add(self, now: float, timeout: float, messages: int, *, is_probe: bool) -> bytes:
        """Note a ping that is sent now and to be answered in so many seconds, and return what it carries."""
        self.due_at = now + self._interval
        self._count += 1
        payload = self._count.to_bytes(4)
        self.waiting.append(Ping(payload, now, messages, now + timeout, is_probe))
        return payload

    def is_due(self, now: float, heard_at: float) -> bool:
        """Whether to send a ping now. Where the peer was heard since the last one, this puts it off, and says no.

        Args:
            now: The time.
            heard_at: When the peer last showed that it is there.
        """
        if now >= self.due_at:
            self.due_at = max(self.due_at, heard_at + self._interval)
        return now >= self.due_at

    def answer(self, payload: bytes) -> bool:
        """Count the ping of a pong as answered, and all before it (RFC 6455, 5.5.3); return whether there is one."""
        for number, ping in enumerate(self.waiting, start=1):
            if ping.payload == payload:
                del self.waiting[:number]
                return True
        return False

    def put_off(self, seconds: float) -> None:
        """Wait longer for all pongs: the loop stood still for so many seconds."""
        for ping in self.waiting:
            ping.overdue_at += seconds

    def overdue_at(self) -> float:
        """Return when the first pong is overdue; infinity if none is waited for."""
        return min((ping.overdue_at for ping in self.waiting), default=math.inf)

    def unanswered(self, now: float, messages: int, writing_since: float) -> Ping | None:
        """Return a ping that the peer should have answered by now; None if there is none. It forgets answered probes.

        Args:
            now: The time.
            messages: How many messages have come.
            writing_since: Since when the peer has not taken what is written to it; infinity where it does.
        """
        for ping in [ping for ping in self.waiting if ping.overdue_at <= now]:
            # A peer that sends may yet read nothing: then what is written to it stays in the pipe.
            if not ping.is_probe or messages == ping.messages or writing_since <= ping.since:
                return ping
            self.waiting.remove(ping)
        return None
