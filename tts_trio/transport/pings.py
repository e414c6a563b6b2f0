"""The pings of one socket that were not answered yet, and when their pongs are overdue."""

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
    """The pings of one socket that are not answered yet, in the order in which they were sent.

    Attributes:
        waiting: These pings.
    """

    __slots__ = ("_count", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Ping] = []  # short, and a deque takes 600 bytes even where it is empty
        self._count = 0

    def add(self, now: float, timeout: float, messages: int, *, is_probe: bool) -> bytes:
        """Note a ping that is sent now and to be answered in so many seconds, and return what it carries."""
        self._count += 1
        payload = self._count.to_bytes(4)
        self.waiting.append(Ping(payload, now, messages, now + timeout, is_probe))
        return payload

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
