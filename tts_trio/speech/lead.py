"""Estimates how much speech is ahead of the listener, for the phraser and for what may be sent."""

from __future__ import annotations

import math

import attrs

from tts_trio.speech.deadlines import Deadlines
from tts_trio.speech.playback import Playback
from tts_trio.speech.segments import Segments
from tts_trio.text.words import CHARACTERS_A_SECOND


@attrs.define
class Lead:
    """The speech ahead of the listener: received audio, plus owed audio for sent text, minus audio that was heard.

    Attributes:
        characters_a_second: The speed by which the owed audio is estimated. It is infinity for a static text, whose
            audio is read only as the listener needs it, so that owed audio does not count.
    """

    _segments: Segments
    _deadlines: Deadlines
    _playback: Playback
    characters_a_second: float = CHARACTERS_A_SECOND

    def seconds(self, now: float) -> float:
        """Return the lead at this time, in seconds."""
        return self._coming() - self._playback.heard(now)

    def falls_to(self, seconds: float) -> float:
        """Return when the lead falls to this; -infinity if it is there already, infinity if nothing is played."""
        excess = self._coming() - seconds
        return -math.inf if excess <= 0 else self._playback.hears(excess)

    def _coming(self) -> float:
        """Return the seconds of audio that came or is owed, which is estimated by the length of its text."""
        received = self._segments.received_seconds
        if self._deadlines.since is None:
            return received
        return received + self._segments.current.spoken.to_come / self.characters_a_second
