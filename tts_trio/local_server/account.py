"""The account that all connections share: credits, generations, single-use tokens and ids. Callers pass the time."""

from __future__ import annotations

import random
import string
from collections import deque
from typing import Any

import attrs

from tts_trio.local_server import errors
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.catalog import Model

_QUEUE_DELAY = 0.05  # seconds from the end of a generation to the start of a queued one (ElevenLabs documentation)
_TOKEN_LIFE = 15 * 60.0
_REMEMBERED = 1000  # requests


@attrs.define(eq=False)
class Slot:
    """A running generation, which counts against the plan's concurrency."""

    start: float
    end: float  # an estimate until the speech is rendered


class Account:
    """The account to which all API keys belong.

    Attributes:
        behavior: The current behavior of the server.
        used: The credits spent so far.
        history: The latest HTTP requests for speech, the newest first, as `GET /v1/history` returns them.
    """

    def __init__(self, behavior: Behavior) -> None:
        self.behave(behavior)
        self._random = random.Random(behavior.seed)  # noqa: S311 - ids that repeat from run to run
        self._slots: set[Slot] = set()
        self._tokens: dict[str, float] = {}
        self._sessions: set[object] = set()
        self.used = 0
        self.history: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)

    def behave(self, behavior: Behavior) -> None:
        """Replace the behavior. The same seed makes the same segments slow again."""
        self.behavior = behavior
        self._slowness = random.Random(behavior.seed)  # noqa: S311 - repeatable

    def latency(self) -> float:
        """Return the time from the start of the next segment to its first audio."""
        slow = self._slowness.random() < self.behavior.slow_share
        late = self._slowness.uniform(self.behavior.slow_by / 3, self.behavior.slow_by)
        return self.behavior.model_latency + (late if slow else 0.0)

    def check_key(self, key: str) -> None:
        """Raise a `ServiceError` unless the account accepts this key."""
        good = self.behavior.api_keys
        if not key or (good is not None and key not in good):
            raise errors.INVALID_KEY.given()

    def check_permission(self, permission: str) -> None:
        """Raise a `ServiceError` unless the keys have this permission."""
        if permission in self.behavior.missing_permissions:
            raise errors.MISSING_PERMISSION.given(permission=permission)

    def issue_token(self, now: float) -> str:
        """Issue a single-use token, which is valid for 15 minutes."""
        token = self.identifier("sutkn_", 32)
        self._tokens[token] = now + _TOKEN_LIFE
        return token

    def use_token(self, token: str, now: float) -> None:
        """Consume a single-use token, or raise a `ServiceError` if the token is not valid."""
        if self._tokens.pop(token, 0.0) <= now:
            raise errors.INVALID_KEY.given()

    def charge(self, characters: int, model: Model) -> int:
        """Charge the account for a text, and return the price in credits. An empty text costs one credit.

        Raises:
            ServiceError: The text costs more credits than remain.
        """
        price = max(1, round(characters * model.credits_a_character))
        quota = self.behavior.quota
        if quota is not None and self.used + price > quota:
            raise errors.QUOTA_EXCEEDED[self.behavior.quota_status].given(
                quota=quota, remaining=max(0, quota - self.used), needed=price
            )
        self.used += price
        return price

    def generating(self, at: float) -> int:
        """Count the generations that run at this time."""
        return sum(slot.start <= at < slot.end for slot in self._slots)

    def admit(self, start: float) -> float:
        """Return the time, from `start` on, at which the plan allows one more generation.

        Raises:
            ServiceError: The plan's concurrency is used up, and `over_concurrency` is not "queue".
        """
        limit = self.behavior.concurrency
        if limit is None or self.generating(start) < limit:
            return start
        if self.behavior.over_concurrency != "queue":
            raise errors.TOO_MANY_REQUESTS.given(limit=limit)
        turns = sorted(slot.end + _QUEUE_DELAY for slot in self._slots if slot.end > start)
        return next(turn for turn in turns if self.generating(turn) < limit)

    def occupy(self, start: float, end: float, now: float) -> Slot:
        """Register a generation, and forget those that have ended by `now`."""
        self._slots = {slot for slot in self._slots if slot.end > now}
        slot = Slot(start, end)
        self._slots.add(slot)
        return slot

    def free(self, slot: Slot) -> None:
        """Release the slot of a generation. A slot that is already free is ignored."""
        self._slots.discard(slot)

    def begin_session(self, socket: object) -> None:
        """Start the session that a text-to-dialogue socket holds until it closes, unless the socket already holds one.

        Raises:
            ServiceError: Other sockets hold all sessions of the plan.
        """
        limit = self.behavior.dialogue_sessions
        if limit is not None and len(self._sessions - {socket}) >= limit:
            raise errors.TOO_MANY_REQUESTS.given(limit=limit)
        self._sessions.add(socket)

    def end_session(self, socket: object) -> None:
        """Release the session of a socket, if the socket holds one."""
        self._sessions.discard(socket)

    def identifier(self, prefix: str = "", length: int = 20) -> str:
        """Make an id of letters and digits."""
        return prefix + "".join(self._random.choices(string.ascii_letters + string.digits, k=length))

    def trace_id(self) -> str:
        """Make an `x-trace-id`: 32 hexadecimal digits."""
        return f"{self._random.getrandbits(128):032x}"
