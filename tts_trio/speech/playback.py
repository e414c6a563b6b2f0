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
        left: Whether the caller left, so that audio that was not played by then never is.
        on_change: A function to call after each change of what is heard, and when; None where nobody waits for it.
    """

    def __init__(self, now: float) -> None:
        self.paced: bool = False
        self.given: float = 0.0
        self.silent_from: float = now
        self.underruns: int = 0
        self.silence: float = 0.0
        self.left: bool = False
        self.on_change: Callable[[], object] | None = None
        self._heard = 0.0

    def give(self, seconds: float, now: float) -> None:
        """Note audio that was given to the far end, which plays it after all audio before it."""
        self._end_silence(now)
        self.given += seconds
        self.silent_from = max(self.silent_from, now) + seconds
        if self.on_change is not None:
            self.on_change()

    def heard(self, now: float) -> float:
        """Return how much audio was played by now."""
        return self._heard if self.left else self.given - max(0.0, self.silent_from - now)

    def hears(self, seconds: float) -> float:
        """Return when so much audio will have been played, or was; infinity if so much was not given."""
        return math.inf if self.given < seconds else self.silent_from - (self.given - seconds)

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
        if self.given and now > self.silent_from:
            self.underruns += 1
            self.silence += now - self.silent_from
