"""Computes when the audio that the service owes for text is overdue.

The timeouts run only while the service owes audio. While the LLM pauses and all its text was spoken, it owes none.
"""

from __future__ import annotations

import math

from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import first_audio_timeout
from tts_trio.errors import ServiceTimeoutError
from tts_trio.speech.replays import Carrier

# Seconds of audio that restart the timeouts. A service that speaks sends them in a few milliseconds. Less audio does
# not count, except the first: a sample every second would keep a reply alive for ever.
_SIGN_OF_LIFE = 0.25


class Deadlines:
    """The deadlines of the first audio, of the next audio, and of the whole utterance, in seconds of one clock.

    Attributes:
        since: Since when the connection in use owes audio; None: it owes none.
    """

    __slots__ = ("_first_audio", "_last_audio", "_patient", "_reply", "_seconds", "_stall", "_starved_since", "since")

    def __init__(self, config: TTSConfig) -> None:
        self.since: float | None = None
        self._stall = config.timeouts.stall
        self._first_audio = first_audio_timeout(config)
        self._reply = config.timeouts.reply
        self._patient = False  # whether only the timeout of `starved_at` counts
        self._starved_since: float | None = None  # the same, for lost connections too
        self._last_audio = -math.inf  # when the timeouts were last restarted by audio
        self._seconds = 0.0  # of audio that came since then

    @property
    def awaits_first(self) -> bool:
        """Whether no audio has come since the connection in use owes it. The first may make the next due earlier."""
        return self.since is not None and self._last_audio < self.since

    def begin(self, carrier: Carrier) -> None:
        """Note a new connection. A fallback owes nothing yet, and one of the user's only some audio at last."""
        self._patient = carrier == "elsewhere"
        if carrier != "websocket":
            self.stop()

    def start(self, now: float) -> None:
        """Note that text was sent: from now on the service owes audio, if it owed none."""
        self.since = now if self.since is None else self.since
        self._starved_since = now if self._starved_since is None else self._starved_since

    def receive(self, seconds: float, now: float) -> None:
        """Note that so many seconds of audio came, in whole samples or frames.

        The first audio counts however short it is, since a message may hold one letter. After it, each quarter of a
        second restarts the timeouts.
        """
        if seconds and self.since is not None and self._last_audio < self.since:
            self._last_audio = now
        self._seconds += seconds
        if self._seconds < _SIGN_OF_LIFE:
            return
        self._seconds = 0.0
        self._last_audio = now
        if self.since is not None:
            self._starved_since = now

    def stop(self) -> None:
        """Note that all owed audio has come."""
        self.since = self._starved_since = None

    def pause(self) -> None:
        """Note that the connection was lost: only the timeout of `starved_at` runs on."""
        self.since = None

    def restart(self, now: float) -> None:
        """Restart all timeouts, because we made the service wait until now."""
        if self.since is not None:
            self.since = self._starved_since = self._last_audio = now

    def renew(self, now: float) -> None:
        """Restart the timeout of the first audio, because the request was sent anew."""
        if self.since is not None:
            self.since = now

    def due(self) -> float:
        """Return when the connection counts as lost if it brings no audio."""
        if self.since is None or self._patient:
            return math.inf
        if self._last_audio >= self.since:
            return self._last_audio + self._stall
        return self.since + self._first_audio

    def starved_at(self) -> float:
        """Return when the utterance fails if no connection brings audio."""
        return math.inf if self._starved_since is None else self._starved_since + self._reply

    def starved(self) -> ServiceTimeoutError:
        """Return the error of an utterance that no connection has brought audio."""
        return ServiceTimeoutError(f"the service sent no audio within {self._reply:g} s (timeouts.reply)")

    def expire(self, now: float) -> ServiceTimeoutError | None:
        """Return why the connection in use counts as lost, or None. Where all are given up, the timeouts end."""
        if self.starved_at() <= now:
            self.stop()
            return self.starved()
        if self.due() <= now:
            return ServiceTimeoutError("the service sent no audio in time (timeouts.first_audio or timeouts.stall)")
        return None
