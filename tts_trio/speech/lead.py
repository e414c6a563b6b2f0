"""How much speech is ahead of the listener: the one estimate that phrases, and what may be sent, go by."""

from __future__ import annotations

import math

import attrs

from tts_trio.speech.deadlines import Deadlines
from tts_trio.speech.playback import Playback
from tts_trio.speech.segments import Segments
from tts_trio.text.words import CHARACTERS_A_SECOND


@attrs.define
class Lead:
    """Audio that was received, and audio that is still to come for text that was sent, less what was heard.

    Attributes:
        characters_a_second: How fast text is spoken that was sent and whose audio has not come; infinity where audio is
            read as the listener needs it, so that none is on its way.
    """

    _segments: Segments
    _deadlines: Deadlines
    _playback: Playback
    characters_a_second: float = CHARACTERS_A_SECOND

    def seconds(self, now: float) -> float:
        """How much it is now."""
        return self._coming() - self._playback.heard(now)

    def falls_to(self, seconds: float) -> float:
        """Return when it will be no more than this; a time that has passed if it is, never if nothing is played."""
        excess = self._coming() - seconds
        return -math.inf if excess <= 0 else self._playback.hears(excess)

    def _coming(self) -> float:
        """Seconds of audio received, and, by the length of their text, of those that are owed."""
        received = self._segments.received_seconds
        if not self._deadlines.running:
            return received
        spoken = self._segments.current.spoken
        return received + (len(spoken.text) - spoken.covered) / self.characters_a_second
