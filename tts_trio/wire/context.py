"""The order of the frames of one context, the same at every endpoint.

Its first frame is `begin`; it ends by `end`, and is closed when its first audio has come: a context that is closed
before may be dropped with its text (reports of production: 2.5 % of turns in the peak hour). An interruption closes it
at once. Nothing names it before its first frame, or after its close.
"""

from __future__ import annotations

from tts_trio.wire.endpoint import Endpoint


class Context:
    """One context. Its methods return the frames to be written, in order.

    Attributes:
        context_id: Its id; None where the socket is the context.
        open: The service knows it, and has not reported its final: it holds a slot.
        heard: Audio has come for its text.
        takes_text: Text, and keep-alives, may be written.
    """

    def __init__(self, endpoint: Endpoint, context_id: str | None) -> None:
        self.context_id = context_id
        self.open = False
        self.takes_text = False
        self._endpoint = endpoint
        self.heard = False
        self._has_text = False
        self._closed = False

    def begin(self) -> list[str]:
        """Open it."""
        self.open = self.takes_text = True
        return [self._endpoint.begin(self.context_id)]

    def text(self, phrase: str) -> list[str]:
        """Speak a phrase."""
        self._has_text = True
        return [self._endpoint.text(self.context_id, phrase)]

    def keep_alive(self) -> list[str]:
        """Keep it open while there is no text."""
        return [self._endpoint.keep_alive(self.context_id)]

    def end(self) -> list[str]:
        """Have the rest spoken: the text is complete."""
        self.takes_text = False
        end = self._endpoint.end(self.context_id)
        return ([] if end is None else [end]) + (self._close() if self.heard else [])

    def audio_received(self) -> list[str]:
        """Take note that audio has come."""
        self.heard = self._has_text
        return self._close() if self.heard and not self.takes_text else []

    def final_received(self) -> None:
        """Take note that the service has closed it."""
        self.open = self.takes_text = False

    def interrupt(self) -> list[str]:
        """Close it at once, if it is open."""
        self.takes_text = False
        return self._close() if self.open else []

    def _close(self) -> list[str]:
        if self._closed:
            return []
        self._closed = True
        close = self._endpoint.close(self.context_id)
        return [] if close is None else [close]
