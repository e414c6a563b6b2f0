"""When audio that the service owes for text is overdue.

The deadlines run only while audio is owed: a pausing LLM owes none, and neither does the service while it has nothing
to speak.
"""

from __future__ import annotations

import math

from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import first_audio_timeout

# Of sound, which a service that speaks sends in a few milliseconds. Less than that since the last time, the first sound
# aside, shows nobody at work: a sample every second would keep a reply alive for ever.
_SIGN_OF_LIFE = 0.25


class Deadlines:
    """The deadlines of the first audio, of the next and of all. Times are in seconds of one clock."""

    def __init__(self, config: TTSConfig) -> None:
        self._config = config
        self._since: float | None = None  # when audio became owed over the connection in use
        self._starved_since: float | None = None  # the same over lost connections too
        self._last_audio = -math.inf
        self._seconds = 0.0  # of audio since then

    @property
    def running(self) -> bool:
        """Whether audio is owed over the connection in use."""
        return self._since is not None

    def start(self, now: float) -> None:
        """Note that text was sent: audio is owed from now on, if none was owed before."""
        self._since = now if self._since is None else self._since
        self._starved_since = now if self._starved_since is None else self._starved_since

    def receive(self, seconds: float, now: float) -> None:
        """Note that so many seconds of audio came, in whole samples or frames.

        The first sound that is owed is in time however short it is: a message may hold one letter. After that a quarter
        of a second restarts the timers.
        """
        if seconds and self._since is not None and self._last_audio < self._since:
            self._last_audio = now
        self._seconds += seconds
        if self._seconds < _SIGN_OF_LIFE:
            return
        self._seconds = 0.0
        self._last_audio = now
        if self._since is not None:
            self._starved_since = now

    def stop(self) -> None:
        """Note that all audio that was owed has come."""
        self._since = self._starved_since = None

    def pause(self) -> None:
        """Note that the connection is lost which owed the audio; only `starved_at` goes on."""
        self._since = None

    def restart(self, now: float) -> None:
        """Begin all timeouts anew: until now it was we who made the service wait."""
        if self._since is not None:
            self._since = self._starved_since = self._last_audio = now

    def renew(self, now: float) -> None:
        """Begin the timeout of the first audio anew: the request before this one failed."""
        if self._since is not None:
            self._since = now

    def due(self) -> float:
        """Return when the connection is given up, if no audio comes over it: the first, or more."""
        if self._since is None:
            return math.inf
        if self._last_audio >= self._since:
            return self._last_audio + self._config.timeouts.stall
        return self._since + first_audio_timeout(self._config)

    def starved_at(self) -> float:
        """Return when the utterance is given up, if no audio comes over any connection."""
        return math.inf if self._starved_since is None else self._starved_since + self._config.timeouts.reply
