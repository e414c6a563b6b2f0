"""The order of the frames of one context, the same at every endpoint.

Its first frame is `begin`. When its text is complete it ends by `end`, and is closed when audio has come for the last
of it: a context that is closed before may be dropped with its text (reports of production: 2.5 % of turns in the peak
hour). An interruption closes it at once. Nothing names it before its first frame, or after its close.
"""

from __future__ import annotations

from tts_trio.text import speakable
from tts_trio.wire.endpoint import Endpoint


class Context:
    """One context. Its methods return the frames to be written, in order; none where there is nothing to say.

    Attributes:
        context_id: Its id; None where the socket is the context.
        open: The service knows it, and has not reported its final: it holds a slot.
        takes_text: It is open for text, and is kept alive while there is none.
        asked: Text was sent for it.
        heard: Audio has come for its text.
    """

    def __init__(self, endpoint: Endpoint, context_id: str | None) -> None:
        self.context_id = context_id
        self.open = False
        self.takes_text = False
        self.asked = False
        self.heard = False
        self._endpoint = endpoint
        self._begun = False
        self._answered = False  # audio has come since the last text
        self._closed = False

    def begin(self) -> list[str]:
        """Open it, if it is new."""
        if self._begun:
            return []
        self._begun = self.open = self.takes_text = True
        return [self._endpoint.begin(self.context_id)]

    def text(self, phrase: str) -> list[str]:
        """Speak a phrase."""
        frames = self.begin()
        if not self.takes_text:
            return []
        self.asked = True
        if speakable(phrase):
            self._answered = False
        return [*frames, self._endpoint.text(self.context_id, phrase)]

    def keep_alive(self) -> list[str]:
        """Keep it open while there is no text."""
        return [self._endpoint.keep_alive(self.context_id)] if self.takes_text else []

    def end(self) -> list[str]:
        """Have the rest spoken: the text is complete."""
        if not self.takes_text:
            return []
        self.takes_text = False
        end = self._endpoint.end(self.context_id)
        return ([] if end is None else [end]) + (self._close() if self._answered else [])

    def audio_received(self) -> list[str]:
        """Take note that audio has come."""
        self.heard = self._answered = True
        return [] if self.takes_text else self._close()

    def final_received(self) -> None:
        """Take note that the service has closed it."""
        self.open = self.takes_text = False

    def interrupt(self) -> list[str]:
        """Close it at once, if it is open."""
        self.takes_text = False
        return self._close()

    def _close(self) -> list[str]:
        if self._closed or not self.open:
            return []
        self._closed = True
        close = self._endpoint.close(self.context_id)
        return [] if close is None else [close]
