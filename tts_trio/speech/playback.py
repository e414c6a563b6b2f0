"""Computes what the listener has heard: the far end plays the audio that it gets in real time, piece after piece."""

from __future__ import annotations

import math
from collections.abc import Callable


class Playback:
    """The far end of an utterance, computed by a clock. Times and durations are in seconds.

    Attributes:
        paced: Whether a pacer calls `give`; if not, audio counts as given when the caller takes it.
        given: How much audio was given to the far end.
        silent_from: When all audio that was given will have been played.
        underruns: How often the far end had no audio to play in the middle of the utterance.
        silence: How long it had none, in all.
        paused: Whether it waits, between `pause` and `resume`.
        left: Whether the caller left, so that audio that was not played by then never is.
        on_change: A function to call after each change of what is heard, and when; None where nobody waits for it.
    """

    __slots__ = (
        "_heard", "_sounds", "given", "left", "on_change", "paced", "paused", "silence", "silent_from", "underruns",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.paced: bool = False
        self.given: float = 0.0
        self.silent_from: float = now
        self.underruns: int = 0
        self.silence: float = 0.0
        self.paused: bool = False
        self.left: bool = False
        self.on_change: Callable[[], object] | None = None
        self._heard = 0.0  # at least so much was
        self._sounds = False  # whether the listener expects more, so that silence is a gap

    def give(self, seconds: float, now: float) -> None:
        """Note audio that was given to the far end by now, which plays it after all audio before it."""
        if now > self.silent_from:
            self._end_silence(now)
            self.silent_from = now
        self._sounds = True
        self.given += seconds
        self.silent_from += seconds
        if self.on_change is not None:
            self.on_change()

    def heard(self, now: float) -> float:
        """Return how much audio was played by now."""
        return self._heard if self.left else max(self._heard, self.given - max(0.0, self.silent_from - now))

    def hears(self, seconds: float) -> float:
        """Return when so much audio will have been played, or was; infinity if so much was not given."""
        if seconds < self._heard:
            return -math.inf
        return math.inf if self.given < seconds else self.silent_from - (self.given - seconds)

    def pause(self, dropped: float, now: float, *, whole: bool) -> None:
        """Stop playing for a while, in which silence is no gap.

        Args:
            dropped: How much of the audio the far end has dropped, which will be given again. It is as much as was not
                played, or more by a part of a frame.
            now: The time.
            whole: As for `leave`.
        """
        self.paused = True
        self._heard = self.heard(now)
        if not whole:
            self._end_silence(now)
        self._sounds = False
        if dropped:
            self.given -= dropped
            self.silent_from = now
        self.tell()

    def resume(self, now: float, *, gap: bool) -> None:
        """Play again; `gap` tells whether nothing is there to be played, so that silence from now on is a gap."""
        self.paused = False
        if gap and self.given:
            self._sounds = True
            self.silent_from = max(self.silent_from, now)
        self.tell()

    def leave(self, now: float, *, whole: bool) -> None:
        """Stop playing. Only the first call has an effect.

        Args:
            now: The time.
            whole: Whether all audio of the utterance was given, so that silence since then is no gap.
        """
        if self.left:
            return
        self._heard = self.heard(now)
        self.left = True
        if not whole:
            self._end_silence(now)
        self.tell()

    def tell(self) -> None:
        """Call `on_change`: what is heard has changed, or no more audio comes."""
        if self.on_change is not None:
            self.on_change()

    def _end_silence(self, now: float) -> None:
        if self._sounds and now > self.silent_from:
            self.underruns += 1
            self.silence += now - self.silent_from


class Slots:
    """The clock of a line that takes a frame in every slot, and has no buffer that could run full or dry.

    Attributes:
        silence: A frame of silence, for the slots in which nothing is said.
        next: When the next slot begins; -infinity before the first one.
    """

    def __init__(self, silence: bytes, ms: int) -> None:
        """Begin with the first frame; `ms` is the length of a frame, in milliseconds."""
        self.silence = silence
        self.next: float = -math.inf
        self._seconds = ms / 1000

    def take(self, now: float) -> float:
        """Take the next slot for a frame that leaves now, and return when it begins.

        A frame that is late by less than a slot does not move the slots, so that the clock does not drift. If it is
        later, the line has heard a gap, and its slots begin anew.
        """
        slot = self.next if now - self.next < self._seconds else now
        self.next = slot + self._seconds
        return slot
