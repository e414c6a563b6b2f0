"""The WebSocket `/v1/text-to-speech/{voice_id}/stream-input`, without I/O and without a clock.

What the client says goes in with its time; orders for speech, and messages with the times at which they are due,
come out. Everything as recorded from the live API, and the unsettled points by `Behaviour`.
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal, cast

import attrs

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account, Slot
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import parse_json
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.parameters import (
    Parameters,
    Request,
    bearer,
    known_voice,
    parse_schedule,
    speed_of,
)
from tts_trio.local_server.speech import Alignment, Clip, Order, silence, single_spaced

_SCHEDULE = (120, 160, 250, 290)  # characters before a generation; the last one repeats
_TRIGGER_MINIMUM = 50  # characters below which try_trigger_generation does nothing
_TAIL_MS = (9, 10, 26, 33)  # of the last audio message before isFinal: 436, 494, 1288, 1574 bytes at pcm_24000
_STREAMED_CODECS = ("mp3", "opus")
_NORMAL_CLOSURE = 1000


@attrs.frozen
class Send:
    """A message to be sent.

    Attributes:
        at: When it is due.
        kind: What it is.
        message: Its JSON.
        size: Of its audio, in bytes.
        text: The source's characters that are aligned with it.
    """

    at: float
    kind: Literal["audio", "final", "error"]
    message: dict[str, Any]
    size: int = 0
    text: str = ""


@attrs.frozen
class Close:
    """The closing handshake, to be begun."""

    at: float
    code: int
    reason: str


Effect = Order | Send | Close


class StreamInput:
    """One socket: one voice, one model, one utterance.

    Feed it with `receive`, and with `rendered` for each `Order` that `take` gave; ask `take` at `due`.
    """

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        self._request = request
        self._parameters = parameters
        self._account = account
        self._opened_at = now
        self._effects: deque[Send | Close] = deque()
        self._orders: deque[Order] = deque()
        self._ordered_at: deque[float] = deque()  # of all orders that are not yet rendered
        self._authenticated = False
        self._begun = False  # the first message has come
        self._ended = False  # no more input counts: EOS, an error
        self._buffer = ""
        self._speed = 1.0
        self._fixed: dict[str, Any] = {}
        self._schedule: tuple[int, ...] = _SCHEDULE
        self._generations = 0
        self._spoken = False  # audio was scheduled
        self._free_at = now
        self._slots: list[Slot] = []
        self._idle_from = now if account.behaviour.idle_timer == "accept" else math.inf
        self._encoder = Encoder(parameters.output_format)
        with self._refusing(now):
            self._authenticate_request(now)

    # --- what goes in

    def receive(self, text: str, now: float) -> None:
        """Take a text frame."""
        if not self._ended:
            with self._refusing(now):
                self._take_message(_parse(text), now)

    def rendered(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order that has not got its own yet."""
        if not self._ordered_at:  # an error has dropped the order
            return
        ordered_at = self._ordered_at.popleft()
        with self._refusing(now):
            self._schedule_clip(clip, ordered_at, now)

    def gone(self) -> None:
        """Note that the client is gone: its generations end now, or run on."""
        self._ended = True
        if self._behaviour.slot_freed_on_close:
            for slot in self._slots:
                self._account.free(slot)

    # --- what comes out

    @property
    def due(self) -> float:
        """When `take` has something next."""
        if self._orders:
            return -math.inf
        return min(self._effects[0].at if self._effects else math.inf, self._idle_at, self._retire_at)

    def take(self, now: float) -> Effect | None:
        """Give the next thing that is due by now."""
        if self._orders:
            return self._orders.popleft()
        if self._idle_at <= now:
            self._fail(errors.input_timeout(self._parameters.inactivity_timeout), self._idle_at)
        if self._retire_at <= now:
            self._effects.append(Close(self._retire_at, _NORMAL_CLOSURE, ""))
            self._ended = True
        if self._effects and self._effects[0].at <= now:
            return self._effects.popleft()
        return None

    @property
    def _idle_at(self) -> float:
        return math.inf if self._ended else self._idle_from + self._parameters.inactivity_timeout

    @property
    def _retire_at(self) -> float:
        if self._ended or self._behaviour.max_age is None:
            return math.inf
        return self._opened_at + self._behaviour.max_age

    # --- the client's messages

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
        self._orders.clear()
        self._ordered_at.clear()
        self._effects.clear()
        self._effects.append(Send(now, "error", error.frame()))
        self._effects.append(Close(now + self._behaviour.close_delay, errors.POLICY_VIOLATION, error.reason()))

    def _authenticate_request(self, now: float) -> None:
        query = self._request.query
        if key := self._request.credentials() or bearer(query.get("authorization", "")):
            self._account.check_key(key)
        elif token := query.get("single_use_token"):
            self._account.use_token(token, now)
        else:
            return
        self._authenticated = True

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        if not self._begun:
            self._begin(message)
        self._keep(message)
        text = message.get("text")
        if text is not None and not isinstance(text, str):
            raise errors.invalid_parameter("text", "text is a string.")
        flush = message.get("flush") is True
        if text is not None:
            self._idle_from = now
        if text:
            self._add(text, now, trigger=message.get("try_trigger_generation") is True)
        if flush:
            self._generate(now)
        if text == "" and (not flush or self._behaviour.empty_flush_ends):
            self._generate(now)
            self._ended = True
            self._finish_if_spoken(now)

    def _begin(self, message: dict[str, Any]) -> None:
        if not self._authenticated:
            key = (
                message.get("xi_api_key")
                or message.get("xi-api-key")
                or bearer(str(message.get("authorization") or ""))
            )
            if not key:
                raise errors.authentication_required()
            self._account.check_key(key)
        if not known_voice(self._parameters.voice_id, self._behaviour):
            raise errors.voice_does_not_exist(self._parameters.voice_id)
        self._schedule = parse_schedule(message) or _SCHEDULE
        self._speed = speed_of(message)

    def _keep(self, message: dict[str, Any]) -> None:
        """Hold the client to what its first message said."""
        for field in ("voice_settings", "generation_config"):
            given = message.get(field)
            if field == "generation_config":
                given = given or message.get("generator_config")  # its name in older documentation
            if not self._begun:
                self._fixed[field] = given
            elif given is not None and given != self._fixed[field]:
                raise errors.settings_changed(field)
        self._begun = True

    # --- text to segments

    def _add(self, text: str, now: float, *, trigger: bool) -> None:
        self._buffer += text
        if self._parameters.auto_mode:
            if text.isspace() and self._behaviour.blank_in_auto_mode == "silence":
                self._order("", now)
            self._generate(now)
            return
        threshold = self._schedule[min(self._generations, len(self._schedule) - 1)]
        if len(self._buffer) >= threshold or (trigger and len(self._buffer) > _TRIGGER_MINIMUM):
            self._generate(now)

    def _generate(self, now: float) -> None:
        text, self._buffer = self._buffer, ""
        if not text.isspace() and text:
            self._order(single_spaced(text), now)

    def _order(self, text: str, now: float) -> None:
        self._account.charge(len(text), self._parameters.model)
        order = attrs.evolve(
            self._parameters.order(text),
            speed=self._speed,
            overlapping=self._behaviour.alignment == "overlapping",
            encoder=self._encoder if self._parameters.output_format.startswith(_STREAMED_CODECS) else None,
        )
        self._generations += 1
        self._orders.append(order)
        self._ordered_at.append(now)

    # --- segments to messages

    def _schedule_clip(self, clip: Clip, ordered_at: float, now: float) -> None:
        start = self._account.admit(max(ordered_at, self._free_at))
        at = start
        for index, piece in enumerate(clip.slices):
            heard_first = clip.slices[0].end_ms
            at = start + self._behaviour.model_latency + (piece.end_ms - heard_first) / 1000 / self._behaviour.speed
            at = max(at, now)
            alignment, normalised = self._alignments(clip, index)
            message = _message(piece.audio, normalised, alignment)
            self._effects.append(Send(at, "audio", message, len(piece.audio), alignment.chars if alignment else ""))
            self._spoken = True
        self._free_at = at
        self._slots.append(self._account.occupy(start, at, now))
        self._finish_if_spoken(now)

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Give `alignment` and `normalizedAlignment` of one slice."""
        mode = self._behaviour.alignment
        overlapping = mode == "overlapping"
        piece, last = clip.slices[index], index == len(clip.slices) - 1
        if mode == "absent" or (index and not overlapping and not self._parameters.sync_alignment):
            return None, None
        if not (overlapping or self._parameters.sync_alignment):
            return clip.alignment, clip.normalised
        end_ms = math.inf if last else piece.end_ms
        normalised = clip.normalised.during(piece.start_ms, end_ms).since(piece.start_ms)
        if overlapping:
            return clip.alignment.during(0, end_ms), normalised
        return clip.alignment.during(piece.start_ms, end_ms).since(piece.start_ms), normalised

    def _finish_if_spoken(self, now: float) -> None:
        """After EOS and the last segment: the tail, isFinal, and later the Close."""
        if not self._ended or self._ordered_at:
            return
        at = max(now, self._free_at)
        if self._spoken:
            milliseconds = _TAIL_MS[self._generations % len(_TAIL_MS)]
            tail = silence(self._encoder, milliseconds)
            self._effects.append(Send(at, "audio", _message(tail, None, None), len(tail)))
        final = {"audio": None, "isFinal": True, "normalizedAlignment": None, "alignment": None}
        self._effects.append(Send(at, "final", final))
        self._effects.append(Close(at + self._behaviour.close_delay, _NORMAL_CLOSURE, ""))


def _parse(text: str) -> dict[str, Any]:
    try:
        message = parse_json(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise errors.invalid_parameter("message", "The message is not a JSON object.")
    return cast("dict[str, Any]", message)


def _message(audio: bytes, normalised: Alignment | None, alignment: Alignment | None) -> dict[str, Any]:
    return {
        "audio": base64.b64encode(audio).decode(),
        "isFinal": None,
        "normalizedAlignment": normalised and normalised.for_websocket(),
        "alignment": alignment and alignment.for_websocket(),
    }
