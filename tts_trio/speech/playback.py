"""What the listener has heard: the far end plays the audio that it is handed in real time, piece after piece."""

from __future__ import annotations

import math


class Playback:
    """The far end of an utterance, as far as a clock can tell. Times and durations are in seconds.

    Attributes:
        paced: Whether a pacer says what is handed over when; else audio is handed over when the caller takes it.
        given: How much audio was handed over.
        silent_from: When all that was handed over will have been played.
        underruns: How often the listener was left without audio after it had begun, and before it was over.
        silence: How long the listener was without audio, all together.
        left: Whether the caller left: audio that was not played by then never is.
    """

    def __init__(self, now: float) -> None:
        self.paced: bool = False
        self.given: float = 0.0
        self.silent_from: float = now
        self.underruns: int = 0
        self.silence: float = 0.0
        self.left: bool = False
        self._heard = 0.0

    def give(self, seconds: float, now: float) -> None:
        """Hand audio over; it is played after all that was handed over before it."""
        self._end_silence(now)
        self.given += seconds
        self.silent_from = max(self.silent_from, now) + seconds

    def heard(self, now: float) -> float:
        """Return how much was played by now."""
        return self._heard if self.left else self.given - max(0.0, self.silent_from - now)

    def hears(self, seconds: float) -> float:
        """Return when so much will have been played; a time that has passed if it was, infinity if it was not given."""
        return math.inf if self.given < seconds else self.silent_from - (self.given - seconds)

    def leave(self, now: float, *, whole: bool) -> None:
        """Stop playing. Only the first call counts.

        Args:
            now: The time.
            whole: Whether all of it was handed over: then the silence since is no gap in it.
        """
        if self.left:
            return
        self._heard = self.heard(now)
        self.left = True
        if not whole:
            self._end_silence(now)

    def _end_silence(self, now: float) -> None:
        if self.given and now > self.silent_from:
            self.underruns += 1
            self.silence += now - self.silent_from
