"""One utterance of a socket. An utterance turns text into orders, and speech into messages with due times."""

from __future__ import annotations

import base64
import math
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import attrs

from tts_trio.local_server.account import Account, Slot
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.body import is_object
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.parameters import Parameters
from tts_trio.local_server.speech import Alignment, Clip, Order, single_spaced


@attrs.frozen
class Send:
    """A message to send."""

    at: float  # the time at which it is due
    kind: Literal["audio", "turn", "final", "error"]  # "turn" ends a generation of text-to-dialogue
    message: dict[str, Any]
    size: int = 0  # of the audio, in bytes
    text: str = ""  # the client's characters that are aligned with the audio
    context_id: str | None = None  # None: the default context, or a socket without contexts
    utterance: Utterance | None = None  # the utterance of the message; None: the socket, for an error frame


@attrs.frozen
class Close:
    """The start of the closing handshake by the server."""

    at: float
    code: int
    reason: str


Effect = Order | Send | Close


@attrs.frozen
class Spelling:
    """The form of an endpoint's messages.

    A text-to-speech socket sends every key in every message, as recorded (wire/README.md, 2.5). A text-to-dialogue
    socket uses snake_case, and sends a message at the end of every generation (API reference).
    """

    dialogue: bool = False  # the endpoint is a text-to-dialogue socket
    contexts: bool = False  # every message contains the id of its context
    snake: bool = False  # text-to-speech uses `is_final`, as in the API reference, not `isFinal`, as recorded

    def audio(
        self, audio: bytes, alignment: Alignment | None, normalized: Alignment | None, context_id: str | None
    ) -> dict[str, Any]:
        """Make a message with audio. A dialogue's `normalized_alignment` is "reserved for future use"."""
        fields = {
            "audio": base64.b64encode(audio).decode(),
            "alignment": _times(alignment),
            "normalized_alignment": None if self.dialogue else _times(normalized),
        }
        return self._spelled(fields, context_id)

    def turn(self, context_id: str | None) -> dict[str, Any] | None:
        """Make the message at the end of a generation; None if the socket sends none."""
        return self.named({"is_final_audio_for_turn": True}, context_id) if self.dialogue else None

    def final(self, context_id: str | None) -> dict[str, Any]:
        """Make the message at the end of an utterance."""
        return self._spelled({"is_final": True}, context_id)

    def named(self, message: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        """Add the id of the context if the socket has contexts, and spell the keys."""
        named = message | ({"context_id": context_id} if self.contexts else {})
        return named if self.snake or self.dialogue else _in_camel_case(named)

    def _spelled(self, fields: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        every = () if self.dialogue else ("audio", "is_final", "normalized_alignment", "alignment")
        return self.named(dict.fromkeys(every) | fields, context_id)


def _times(alignment: Alignment | None) -> dict[str, Any] | None:
    return alignment and {
        "chars": list(alignment.chars),
        "char_start_times_ms": list(alignment.starts_ms),
        "char_durations_ms": list(alignment.durations_ms),
    }


def _in_camel_case(value: Any) -> Any:
    """Rename the keys of an object and of the objects in it."""
    return {_camel(key): _in_camel_case(item) for key, item in value.items()} if is_object(value) else value


@cache
def _camel(key: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), key)


@attrs.define(eq=False, kw_only=True)
class Utterance(ABC):
    """Collects text, orders speech, and makes messages of the speech at the speed of a generation.

    The socket takes the `orders`, and passes the speech of each order to `speak`, in the same order. The socket takes
    each message with `pop` when the message is due.

    Raises:
        ServiceError: The service would refuse the settings in the first message.
    """

    parameters: Parameters  # from the URL of the socket
    account: Account
    spelling: Spelling
    context_id: str | None  # None: the default context, or a socket without contexts
    first: Mapping[str, Any]  # the first message, whose settings are final; `take` must get it, too
    heard_at: float  # the time of the client's last text for this utterance
    speed: float = attrs.field(default=1.0, init=False)  # from the voice settings
    orders: deque[Order] = attrs.field(factory=deque[Order], init=False)  # that the socket has not taken yet
    sends: deque[Send] = attrs.field(factory=deque[Send], init=False)  # that the socket has not taken yet
    ended: bool = attrs.field(default=False, init=False)  # more text is ignored
    begun: bool = attrs.field(default=False, init=False)  # the socket has taken some audio
    _text: str = attrs.field(default="", init=False)
    _ordered_at: deque[float] = attrs.field(factory=deque[float], init=False)  # the times of the orders without speech
    _generations: int = attrs.field(default=0, init=False)
    _sounds: bool = attrs.field(default=False, init=False)  # there has been audio in `sends`
    _stopped: bool = attrs.field(default=False, init=False)
    _free_at: float = attrs.field(default=-math.inf, init=False)
    _final_delay: float = attrs.field(default=0.0, init=False)
    _slots: list[Slot] = attrs.field(factory=list[Slot], init=False)
    _encoder: Encoder | None = attrs.field(default=None, init=False)  # of the one stream of all its speech, if any

    @abstractmethod
    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message. The first message must be passed, too.

        Raises:
            ServiceError: The service would refuse the message.
        """

    @property
    def behavior(self) -> Behavior:
        """The current behavior of the server."""
        return self.account.behavior

    # --- text to orders

    def generate(self, now: float) -> None:
        """Order the speech of the text so far. A text of blanks is dropped.

        Raises:
            ServiceError: The quota is exhausted.
        """
        text, self._text = self._text, ""
        if text.strip():
            self._order(single_spaced(text), now)

    def _order(self, text: str, now: float) -> None:
        self.account.charge(len(text), self.parameters.model)
        order = self.parameters.order(text)
        overlapping = self.behavior.alignment == "overlapping"
        order = attrs.evolve(order, speed=self.speed, overlapping=overlapping, encoder=self._encoder)
        self._generations += 1
        self.orders.append(order)
        self._ordered_at.append(now)

    # --- the end

    def end(self, now: float, final_delay: float = 0.0) -> None:
        """Order the rest of the text, and ignore more text. isFinal comes `final_delay` seconds after the last audio.

        Raises:
            ServiceError: The quota is exhausted.
        """
        self.generate(now)
        if not self.ended:
            self.ended = True
            self._final_delay = final_delay
            self._finish_if_spoken(now)

    def interrupt(self, now: float, delay: float = 0.0, *, silently: bool = False) -> None:
        """Stop generating. Send the next message, unless `silently`, and isFinal, both delayed by `delay` seconds."""
        under_way = self.sends[0] if self.sends and not silently else None
        self.stop()
        if under_way:
            self.sends.append(attrs.evolve(under_way, at=under_way.at + delay))
        self._finish((under_way.at if under_way else now) + delay)

    def stop(self) -> None:
        """Stop generating, and drop the messages that are not sent yet."""
        self.ended = self._stopped = True
        self.orders.clear()
        self.sends.clear()
        self.free_slots()

    def free_slots(self) -> None:
        """Release the slots of all generations."""
        for slot in self._slots:
            self.account.free(slot)

    def _finish_if_spoken(self, now: float) -> None:
        if not self.ended or self._ordered_at:
            return
        at = max(now, self._free_at)
        if self._sounds and (tail := self._tail()):
            self._send_audio(at, tail, None, None)
        self._finish(at + self._final_delay)

    def _tail(self) -> bytes:
        """Return the audio between the last speech and isFinal."""
        return b""

    def _finish(self, at: float) -> None:
        self._send(at, "final", self.spelling.final(self.context_id))

    # --- speech to messages

    def speak(self, clip: Clip, now: float) -> None:
        """Make messages of the speech of the oldest order that has none yet.

        Raises:
            ServiceError: The plan's concurrency is used up, and `over_concurrency` is not "queue".
        """
        if self._stopped:
            return
        start = at = self.account.admit(max(self._ordered_at.popleft(), self._free_at))
        for index, ready in enumerate(clip.ready(start + self.account.latency(), self.behavior.speed)):
            at = max(ready, now)
            self._send_audio(at, clip.slices[index].audio, *self._alignments(clip, index))
            self._sounds = True
        if turn := self.spelling.turn(self.context_id):
            self._send(at, "turn", turn)
        self._free_at = at
        self._slots.append(self.account.occupy(start, at, now))
        self._finish_if_spoken(now)

    def pop(self) -> Send:
        """Remove the next message, and return it."""
        send = self.sends.popleft()
        self.begun = self.begun or send.kind == "audio"
        return send

    def _send_audio(self, at: float, audio: bytes, alignment: Alignment | None, normalized: Alignment | None) -> None:
        message = self.spelling.audio(audio, alignment, normalized, self.context_id)
        self._send(at, "audio", message, len(audio), alignment.chars if alignment else "")

    def _send(
        self, at: float, kind: Literal["audio", "turn", "final"], message: dict[str, Any], size: int = 0, text: str = ""
    ) -> None:
        self.sends.append(Send(at, kind, message, size, text, self.context_id, self))

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Return `alignment` and `normalizedAlignment` of the message with this slice."""
        overlapping = self.behavior.alignment == "overlapping"
        if self.behavior.alignment == "absent":
            return None, None
        if not (overlapping or self.parameters.sync_alignment):
            return (None, None) if index else (clip.alignment, clip.normalized)
        start_ms, end_ms = clip.span(index)
        normalized = clip.normalized.during(start_ms, end_ms).since(start_ms)
        if overlapping:
            start_ms = 0
        return clip.alignment.during(start_ms, end_ms).since(start_ms), normalized
