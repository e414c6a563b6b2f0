"""One utterance on any socket: its text becomes orders for speech, and the speech becomes messages with times."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs

from tts_trio.local_server.account import Account, Slot
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.messages import Send, Spelling
from tts_trio.local_server.parameters import Parameters
from tts_trio.local_server.speech import Alignment, Clip, Order, single_spaced


@attrs.define(eq=False, kw_only=True)
class Utterance(ABC):
    """Gathers text and orders speech; makes messages of the speech, at the pace of a generation.

    Its socket takes `orders`, brings each order's speech to `speak` in the same order, and takes its messages, one
    by one as they become due, with `pop`.

    Attributes:
        parameters: The parameters of the socket's URL.
        account: The account that pays.
        spelling: How the socket spells its messages.
        context_id: The id of the context; None: the default context, or a socket without contexts.
        number: The number of the utterance on its socket.
        heard_at: The time at which the client's last text for it came.
        speed: The speed of the voice settings.
        orders: The orders that nobody has taken yet.
        sends: The messages that are to be sent, in the order of their times.
        ended: Whether more text is ignored.
        begun: Whether some audio was sent.
    """

    parameters: Parameters
    account: Account
    spelling: Spelling
    context_id: str | None
    number: int
    heard_at: float
    speed: float = 1.0
    orders: deque[Order] = attrs.field(factory=deque[Order], init=False)
    sends: deque[Send] = attrs.field(factory=deque[Send], init=False)
    ended: bool = attrs.field(default=False, init=False)
    begun: bool = attrs.field(default=False, init=False)
    _text: str = attrs.field(default="", init=False)
    _ordered_at: deque[float] = attrs.field(factory=deque[float], init=False)  # of all orders not yet spoken
    _generations: int = attrs.field(default=0, init=False)
    _sounds: bool = attrs.field(default=False, init=False)  # audio was scheduled
    _stopped: bool = attrs.field(default=False, init=False)
    _free_at: float = attrs.field(default=-math.inf, init=False)
    _final_delay: float = attrs.field(default=0.0, init=False)
    _slots: list[Slot] = attrs.field(factory=list[Slot], init=False)
    _encoder: Encoder | None = attrs.field(default=None, init=False)  # of a stream that all its speech is a part of

    @classmethod
    @abstractmethod
    def settled(cls, first: Mapping[str, Any], parameters: Parameters, behavior: Behavior) -> dict[str, Any]:
        """Return the fields that the first message settles for good. Call `take` with that message, too.

        Raises:
            ServiceError: It settles them wrongly.
        """

    @abstractmethod
    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message, the first one included.

        Raises:
            ServiceError: The service would refuse it.
        """

    @property
    def behavior(self) -> Behavior:
        """How the server behaves now."""
        return self.account.behavior

    # --- text to orders

    def generate(self, now: float) -> None:
        """Order the speech of the text so far; blanks alone are dropped.

        Raises:
            ServiceError: The quota does not suffice.
        """
        text, self._text = self._text, ""
        if text.strip():
            self._order(single_spaced(text), now)

    def _order(self, text: str, now: float) -> None:
        self.account.charge(len(text), self.parameters.model)
        order = attrs.evolve(
            self.parameters.order(text),
            speed=self.speed,
            overlapping=self.behavior.alignment == "overlapping",
            encoder=self._encoder,
        )
        self._generations += 1
        self.orders.append(order)
        self._ordered_at.append(now)

    # --- the end

    def end(self, now: float, final_delay: float = 0.0) -> None:
        """Ignore more text. After the last speech come the tail and, `final_delay` seconds later, isFinal."""
        self.ended = True
        self._final_delay = final_delay
        self._finish_if_spoken(now)

    def interrupt(self, now: float, delay: float = 0.0) -> None:
        """Stop generating. Only the message under way still comes, then isFinal, both `delay` seconds late."""
        under_way = self.sends[0] if self.sends else None
        self.stop()
        if under_way:
            self.sends.append(attrs.evolve(under_way, at=under_way.at + delay))
        self._finish(under_way.at if under_way else now, delay)

    def lose(self, now: float, delay: float = 0.0) -> None:
        """Stop generating. Only isFinal still comes, `delay` seconds late."""
        self.stop()
        self._finish(now, delay)

    def stop(self) -> None:
        """Stop generating, and send nothing more."""
        self.ended = self._stopped = True
        self.orders.clear()
        self.sends.clear()
        self.free_slots()

    def free_slots(self) -> None:
        """End all generations of this utterance in the account."""
        for slot in self._slots:
            self.account.free(slot)

    def _finish_if_spoken(self, now: float) -> None:
        if not self.ended or self._ordered_at:
            return
        at = max(now, self._free_at)
        if self._sounds and (tail := self._tail()):
            self._put_audio(at, tail, None, None)
        self._finish(at, self._final_delay)

    def _tail(self) -> bytes:
        """Give the audio that comes between the last speech and isFinal."""
        return b""

    def _finish(self, at: float, delay: float) -> None:
        final = self.spelling.final(self.context_id)
        self.sends.append(Send(at + delay, "final", final, context_id=self.context_id, utterance=self.number))

    # --- speech to messages

    def speak(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order that has none yet.

        Raises:
            ServiceError: The plan's concurrency is used up, and nothing queues.
        """
        if self._stopped:
            return
        start = at = self.account.admit(max(self._ordered_at.popleft(), self._free_at))
        for index, piece in enumerate(clip.slices):
            heard_first = clip.slices[0].end_ms
            at = start + self.behavior.model_latency + (piece.end_ms - heard_first) / 1000 / self.behavior.speed
            at = max(at, now)
            self._put_audio(at, piece.audio, *self._alignments(clip, index))
            self._sounds = True
        if turn := self.spelling.turn(self.context_id):
            self.sends.append(Send(at, "turn", turn, context_id=self.context_id, utterance=self.number))
        self._free_at = at
        self._slots.append(self.account.occupy(start, at, now))
        self._finish_if_spoken(now)

    def pop(self) -> Send:
        """Give the next message."""
        send = self.sends.popleft()
        self.begun = self.begun or send.kind == "audio"
        return send

    def _put_audio(self, at: float, audio: bytes, alignment: Alignment | None, normalized: Alignment | None) -> None:
        message = self.spelling.audio(audio, alignment, normalized, self.context_id)
        text = alignment.chars if alignment else ""
        self.sends.append(Send(at, "audio", message, len(audio), text, self.context_id, self.number))

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Give `alignment` and `normalizedAlignment` of one slice."""
        mode = self.behavior.alignment
        overlapping = mode == "overlapping"
        piece, last = clip.slices[index], index == len(clip.slices) - 1
        if mode == "absent" or (index and not overlapping and not self.parameters.sync_alignment):
            return None, None
        if not (overlapping or self.parameters.sync_alignment):
            return clip.alignment, clip.normalized
        end_ms = math.inf if last else piece.end_ms
        normalized = clip.normalized.during(piece.start_ms, end_ms).since(piece.start_ms)
        if overlapping:
            return clip.alignment.during(0, end_ms), normalized
        return clip.alignment.during(piece.start_ms, end_ms).since(piece.start_ms), normalized
