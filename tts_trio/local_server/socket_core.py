"""What all WebSockets have in common, without I/O and without a clock.

What the client says goes in with its time; orders for speech, and messages with the times at which they are due,
come out. Everything as recorded from the live API (wire/README.md, 2), and the unsettled points
by `Behaviour`.
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
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import parse_json
from tts_trio.local_server.messages import Close, Effect, Send, Spelling
from tts_trio.local_server.parameters import Parameters, Request, bearer, known_voice
from tts_trio.local_server.speech import Clip
from tts_trio.local_server.utterance import Utterance

NORMAL_CLOSURE = 1000

U = TypeVar("U", bound=Utterance)


class SocketCore(ABC, Generic[U]):
    """One socket.

    Feed it with `receive`, and with `rendered` for each `Order` that `take` gave; ask `take` at `due`.

    Args:
        request: The upgrade.
        parameters: Its URL's.
        account: Shared by all connections.
        now: The time.
    """

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        self._request = request
        self._parameters = parameters
        self._account = account
        self._utterances: list[U] = []  # from their first message to their isFinal
        self._opened = 0  # utterances, so far
        self._being_rendered: deque[U] = deque()  # whose orders were taken, in the order of their taking
        self._effects: deque[Send | Close] = deque()  # of the socket, rather than of an utterance
        self._opened_at = now
        self._heard_at = now if account.behaviour.idle_timer == "accept" else math.inf
        self._authenticated = False
        self._ended = False  # no more input counts: EOS, an error, the client is gone
        with self._refusing(now):
            self._authenticate_request(now)

    # --- what goes in

    def receive(self, text: str, now: float) -> None:
        """Take a text frame."""
        if not self._ended:
            with self._refusing(now):
                message = _parse(text)
                self._authenticate_message(message, now)
                self._take_message(message, now)

    def rendered(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order that has not got its own yet."""
        with self._refusing(now):
            self._being_rendered.popleft().speak(clip, now)

    def gone(self) -> None:
        """Note that the client is gone: its generations end now, or run on."""
        self._ended = True
        if self._behaviour.slot_freed_on_close:
            for utterance in self._utterances:
                utterance.free_slots()

    def drop(self, number: int, now: float) -> None:
        """End an utterance without a word: nothing of it comes any more, and the others go on."""
        for utterance in [utterance for utterance in self._utterances if utterance.number == number]:
            utterance.stop()
            self._utterances.remove(utterance)
            self._finished(now)

    # --- what comes out

    @property
    def due(self) -> float:
        """When `take` has something next."""
        if any(utterance.orders for utterance in self._utterances):
            return -math.inf
        sends = [utterance.sends[0].at for utterance in self._utterances if utterance.sends]
        return min([*sends, self._effects[0].at if self._effects else math.inf, self._idle_at, self._retire_at])

    def take(self, now: float) -> Effect | None:
        """Give the next thing that is due by now."""
        if self._idle_at <= now:
            with self._refusing(now):
                self._expire(self._idle_at)
        if self._retire_at <= now:
            self._effects.append(Close(self._retire_at, NORMAL_CLOSURE, ""))
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
        if self._ended or self._behaviour.max_age is None:
            return math.inf
        return self._opened_at + self._behaviour.max_age

    # --- what an endpoint says

    @property
    @abstractmethod
    def spelling(self) -> Spelling:
        """How messages are spelt here."""

    @abstractmethod
    def _take_message(self, message: dict[str, Any], now: float) -> None:
        """Take a message of a client who is known.

        Raises:
            ServiceError: The service would refuse it.
        """

    @abstractmethod
    def _finished(self, at: float) -> None:
        """Note that an utterance is over: its isFinal was sent, or it was dropped."""

    @property
    def _idle_at(self) -> float:
        """When the client has been silent for too long."""
        return math.inf if self._ended else self._heard_at + self._parameters.inactivity_timeout

    def _expire(self, at: float) -> None:
        """Note that the client has been silent for too long."""
        self._fail(errors.INPUT_TIMEOUT.given(seconds=float(self._parameters.inactivity_timeout)), at)

    # --- for the endpoints

    @property
    def _behaviour(self) -> Behaviour:
        return self._account.behaviour

    @contextmanager
    def _refusing(self, now: float) -> Generator[None]:
        """Turn what the service refuses into an error frame, and the end."""
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
        self._effects.append(Close(now + self._behaviour.close_delay, errors.POLICY_VIOLATION, error.reason()))

    def _open(self, kind: type[U], first: Mapping[str, Any], heard_at: float, context_id: str | None = None) -> U:
        """Begin an utterance."""
        self._opened += 1
        utterance = kind.open(
            first,
            self._parameters,
            self._account,
            self.spelling,
            context_id=context_id,
            number=self._opened,
            heard_at=heard_at,
        )
        self._utterances.append(utterance)
        return utterance

    def _check_voice(self, voice_id: str) -> None:
        if not known_voice(voice_id, self._behaviour):
            raise errors.VOICE_DOES_NOT_EXIST.given(voice_id=voice_id)

    # --- who it is

    def _authenticate_request(self, now: float) -> None:
        query = self._request.query
        key = self._request.credentials() or bearer(query.get("authorization", ""))
        self._authenticated = self._check(key, query.get("single_use_token", ""), now)

    def _authenticate_message(self, message: Mapping[str, Any], now: float) -> None:
        if self._authenticated:
            return
        key = message.get("xi_api_key") or message.get("xi-api-key") or bearer(str(message.get("authorization") or ""))
        self._authenticated = self._check(key, str(message.get("single_use_token") or ""), now)
        if not self._authenticated:
            raise errors.AUTHENTICATION_REQUIRED.given()

    def _check(self, key: Any, token: str, now: float) -> bool:
        """Check what credentials there are, and say whether there are any."""
        if key:
            self._account.check_key(key)
        elif token:
            self._account.use_token(token, now)
        return bool(key or token)


def _parse(text: str) -> dict[str, Any]:
    try:
        message = parse_json(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise errors.invalid_parameter("message", "The message is not a JSON object.")
    return cast("dict[str, Any]", message)
