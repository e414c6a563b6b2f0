"""What the WebSockets with contexts have in common: up to five utterances at once, each with an id and a timer."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

from tts_trio.local_server import errors
from tts_trio.local_server.messages import Close
from tts_trio.local_server.socket_core import NORMAL_CLOSURE, SocketCore, U

MOST_CONTEXTS = 5


class ContextSocket(SocketCore[U]):
    """One socket with contexts, which are generated side by side."""

    _closing = False  # close_socket was obeyed: the Close follows the last isFinal

    # --- contexts

    def _context(self, context_id: str | None) -> U | None:
        """Give the open context of this name."""
        named = (context for context in self._utterances if context.context_id == context_id and not context.ended)
        return next(named, None)

    def _make_room(self) -> None:
        """Refuse the sixth context."""
        held = [u for u in self._utterances if not u.ended or self._behaviour.context_slot == "final"]
        if len(held) >= MOST_CONTEXTS:
            raise errors.TOO_MANY_CONTEXTS.given(limit=MOST_CONTEXTS)

    def _close_socket(self, now: float) -> None:
        """Close every context with what it has to say, and then the socket."""
        for context in [context for context in self._utterances if not context.ended]:
            self._close_context(context, now)
        self._closing = self._ended = True
        self._close_if_done(now)

    @abstractmethod
    def _close_context(self, context: U, now: float) -> None:
        """Close a context as `close_context` does."""

    def _finished(self, at: float) -> None:
        self._heard_at = at
        self._close_if_done(at)

    def _close_if_done(self, at: float) -> None:
        if self._closing and not self._utterances:
            self._effects.append(Close(at, NORMAL_CLOSURE, ""))

    # --- timers

    @property
    def _idle_at(self) -> float:
        if self._ended or (not self._utterances and self._behaviour.idle_socket == "lives"):
            return math.inf
        heard = [context.heard_at for context in self._utterances if not context.ended]
        quiet_since = min(heard, default=math.inf) if self._utterances else self._heard_at
        return quiet_since + self._parameters.inactivity_timeout

    def _expire(self, at: float) -> None:
        timeout = self._parameters.inactivity_timeout
        late = [u for u in self._utterances if not u.ended and u.heard_at + timeout <= at]
        if not late or self._behaviour.idle_context == "error":
            super()._expire(at)
        for context in late:
            self._say_rest(context, at)

    def _say_rest(self, context: U, now: float, final_delay: float = 0.0) -> None:
        """End a context with all its text."""
        context.generate(now)
        context.end(now, final_delay)


def context_id_of(message: dict[str, Any]) -> str | None:
    """Give the context that a message names; None: it names none.

    Raises:
        ServiceError: The name is no string.
    """
    context_id = message.get("context_id")
    if context_id is not None and not isinstance(context_id, str):
        raise errors.invalid_parameter("context_id", "context_id is a string.")
    return context_id
