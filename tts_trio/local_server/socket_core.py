"""The part of the protocol that all WebSockets share, without I/O and without a clock.

A core takes the client's messages and their times, and returns orders for speech, and messages with due times. The
protocol is as recorded from the live API (wire/README.md, 2). `Behavior` decides the points on which sources disagree.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.body import is_object
from tts_trio.local_server.parameters import Parameters, Request, bearer
from tts_trio.local_server.speech import Clip
from tts_trio.local_server.utterance import Close, Effect, Send, Spelling, Utterance

_NORMAL_CLOSURE = 1000
_MOST_CONTEXTS = 5
_NOUNS = {str: "string", list: "list"}

U = TypeVar("U", bound=Utterance)
T = TypeVar("T", str, list[Any])


class SocketCore(ABC, Generic[U]):
    """One socket.

    Call `receive` with every message, and `take` at the time `due`. Call `rendered` with the speech of each `Order`, in
    the order in which `take` returned the orders.
    """

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        self._parameters = parameters
        self._account = account
        self._utterances: list[U] = []  # each from its first message to its isFinal
        self._being_rendered: deque[U] = deque()  # the utterance of each order that `take` returned
        self._effects: deque[Send | Close] = deque()  # that belong to no utterance
        self._opened_at = now
        self._heard_at = now if account.behavior.idle_timer == "accept" else math.inf
        self._authenticated = False
        self._ended = False  # input is ignored: after EOS, after an error, or without a client
        key = request.credentials() or bearer(request.query.get("authorization", ""))
        with self._refusing(now):
            self._authenticate(key, request.query.get("single_use_token", ""), now)

    # --- input

    def receive(self, message: Any, now: float) -> None:
        """Take a message: the JSON of a text frame, or its text if that is not JSON."""
        if not self._ended:
            with self._refusing(now):
                if not is_object(message):
                    raise errors.invalid_parameter("message", "The message is not a JSON object.")
                if not self._authenticated:
                    self._authenticate_message(message, now)
                self._take_message(message, now)

    def rendered(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order that has none yet."""
        with self._refusing(now):
            self._being_rendered.popleft().speak(clip, now)

    def gone(self) -> None:
        """Handle the end of the connection. With `slot_freed_on_close`, free the slots of all generations."""
        self._ended = True
        if self._behavior.slot_freed_on_close:
            for utterance in self._utterances:
                utterance.free_slots()

    def drop(self, utterance: Utterance, now: float) -> None:
        """End an utterance at once, and send nothing more of it. The other utterances go on."""
        utterance.stop()
        if utterance in self._utterances:
            self._utterances.remove(cast("U", utterance))
            self._finished(now)

    # --- output

    @property
    def due(self) -> float:
        """The time at which `take` next returns something."""
        if any(utterance.orders for utterance in self._utterances):
            return -math.inf
        sends = [utterance.sends[0].at for utterance in self._utterances if utterance.sends]
        return min([*sends, self._effects[0].at if self._effects else math.inf, self._idle_at, self._retire_at])

    def take(self, now: float) -> Effect | None:
        """Return the next order, message or Close that is due by now; None if there is none."""
        if self._idle_at <= now:
            with self._refusing(now):
                self._expire(self._idle_at)
        if self._retire_at <= now:
            self._effects.append(Close(self._retire_at, _NORMAL_CLOSURE, ""))
            self._ended = True
        for utterance in self._utterances:
            if utterance.orders:
                self._being_rendered.append(utterance)
                return utterance.orders.popleft()
        speaking = [utterance for utterance in self._utterances if utterance.sends]
        first = min(speaking, key=lambda utterance: utterance.sends[0].at, default=None)
        if first and first.sends[0].at <= now:
            send = first.pop()
            if send.kind == "final":
                self._utterances.remove(first)
                self._finished(send.at)
            return send
        return self._effects.popleft() if self._effects and self._effects[0].at <= now else None

    @property
    def _retire_at(self) -> float:
        return math.inf if self._ended else self._opened_at + (self._behavior.max_age or math.inf)

    # --- what differs between endpoints

    _kind: type[U]
    _dialogue = False  # the socket is a text-to-dialogue socket
    _contexts = False  # the socket has up to five utterances at once, each with an id

    @property
    def spelling(self) -> Spelling:
        """How this socket spells its messages."""
        return Spelling(self._dialogue, self._contexts, self._behavior.spelling == "snake")

    @abstractmethod
    def _take_message(self, message: dict[str, Any], now: float) -> None:
        """Take a message of an authenticated client.

        Raises:
            ServiceError: The service would refuse the message.
        """

    def _finished(self, at: float) -> None:
        """Handle the end of an utterance, whose isFinal was sent or which was dropped."""
        self._ended = True
        self._effects.append(Close(at + self._behavior.close_delay, _NORMAL_CLOSURE, ""))

    @property
    def _idle_at(self) -> float:
        """The time at which the socket times out, since the client was silent."""
        if self._ended:
            return math.inf
        heard = [utterance.heard_at for utterance in self._utterances if not utterance.ended]
        quiet_since = min(heard, default=math.inf if self._utterances else self._heard_at)
        return quiet_since + self._parameters.inactivity_timeout

    def _expire(self, at: float) -> None:
        """Handle the timeout of the socket."""
        self._fail(errors.INPUT_TIMEOUT.given(seconds=float(self._parameters.inactivity_timeout)), at)

    # --- for the endpoints

    @property
    def _behavior(self) -> Behavior:
        return self._account.behavior

    @contextmanager
    def _refusing(self, now: float) -> Generator[None]:
        """Turn a `ServiceError` into an error frame and a Close."""
        try:
            yield
        except errors.ServiceError as error:
            self._fail(error, now)

    def _fail(self, error: errors.ServiceError, now: float) -> None:
        self._ended = True
        for utterance in self._utterances:
            utterance.stop()
        self._effects.clear()
        self._effects.append(Send(now, "error", error.frame()))
        self._effects.append(Close(now + self._behavior.close_delay, errors.POLICY_VIOLATION, error.reason()))

    def _context(self, context_id: str | None) -> U | None:
        """Return the open utterance with this id, if there is one."""
        named = (context for context in self._utterances if context.context_id == context_id and not context.ended)
        return next(named, None)

    def _open(self, first: Mapping[str, Any], heard_at: float, context_id: str | None = None) -> U:
        """Start an utterance."""
        utterance = self._kind(
            parameters=self._parameters,
            account=self._account,
            spelling=self.spelling,
            context_id=context_id,
            first=first,
            heard_at=heard_at,
        )
        self._utterances.append(utterance)
        return utterance

    # --- authentication

    def _authenticate_message(self, message: Mapping[str, Any], now: float) -> None:
        key = message.get("xi_api_key") or message.get("xi-api-key") or bearer(str(message.get("authorization") or ""))
        self._authenticate(key, str(message.get("single_use_token") or ""), now)
        if not self._authenticated:
            raise errors.AUTHENTICATION_REQUIRED.given()

    def _authenticate(self, key: Any, token: str, now: float) -> None:
        """Check the credentials, if there are any."""
        if key:
            self._account.check_key(key)
        elif token:
            self._account.use_token(token, now)
        self._authenticated = bool(key or token)


class ContextSocket(SocketCore[U]):
    """One socket with contexts: up to five utterances at once, each with an id and a timeout."""

    _contexts = True
    _closing = False  # close_socket came: the Close follows the last isFinal

    # --- contexts

    def _open(self, first: Mapping[str, Any], heard_at: float, context_id: str | None = None) -> U:
        """Start an utterance, or refuse the sixth context."""
        held = [u for u in self._utterances if not u.ended or self._behavior.context_slot == "final"]
        if len(held) >= _MOST_CONTEXTS:
            raise errors.TOO_MANY_CONTEXTS.given(limit=_MOST_CONTEXTS)
        return super()._open(first, heard_at, context_id)

    def _close_socket(self, now: float) -> None:
        """Close every context as `close_context` does, and the socket after the last isFinal."""
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
            self._effects.append(Close(at, _NORMAL_CLOSURE, ""))

    # --- timeouts

    @property
    def _idle_at(self) -> float:
        lives = not self._utterances and self._behavior.idle_socket == "lives"
        return math.inf if lives else super()._idle_at

    def _expire(self, at: float) -> None:
        timeout = self._parameters.inactivity_timeout
        late = [u for u in self._utterances if not u.ended and u.heard_at + timeout <= at]
        if not late or self._behavior.idle_context == "error":
            super()._expire(at)
        for context in late:
            context.end(at)


def field_of(message: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Return a field of a message; None if the field is null or missing.

    Raises:
        ServiceError: The field is of another kind.
    """
    given = message.get(name)
    if given is not None and not isinstance(given, kind):
        raise errors.invalid_parameter(name, f"{name} must be a {_NOUNS[kind]}.")
    return given
