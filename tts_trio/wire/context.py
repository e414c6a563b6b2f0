"""The states of one context, the same at every endpoint: which frames may be sent for it, and whether its audio came.

The first frame of a context is `begin`. When its text is complete, `end` is sent. The context is closed when audio has
come for its last text, because the service may drop a context that is closed before, together with its text (reported
by users: 2.5 % of turns in the peak hour). An interruption closes it at once. No frame names a context before its
`begin` or after its close.

`_NEXT` has the states that may follow each other, and `_AFTER_TEXT` what its audio waits for. The service may send
anything in every state. A frame of ours that is out of order is a bug, and an assertion fails.
"""

from __future__ import annotations

from enum import Enum

from tts_trio.text import speakable
from tts_trio.wire.blanks import is_blank
from tts_trio.wire.endpoint import Endpoint
from tts_trio.wire.events import AudioReceived


class ContextState(Enum):
    """Where a context is in its life."""

    NEW = "no frame was sent for it"
    OPEN = "it was begun, and takes text"
    COMPLETE = "its text is complete"
    CLOSING = "we closed it, and the service has not reported its final"
    CLOSED = "the service has closed it, or never knew it"


class Sound(Enum):
    """How much of a context's audio has come."""

    UNASKED = "no text was sent for it"
    DUE = "text was sent, and nothing has come yet"
    HEARD = "sound has come for the last text"
    DUE_AGAIN = "sound has come, and text was sent since"


_NEXT = {
    ContextState.NEW: {ContextState.OPEN, ContextState.CLOSED},
    ContextState.OPEN: {ContextState.COMPLETE, ContextState.CLOSING, ContextState.CLOSED},
    ContextState.COMPLETE: {ContextState.CLOSING, ContextState.CLOSED},
    ContextState.CLOSING: {ContextState.CLOSED},
    ContextState.CLOSED: set[ContextState](),
}
_AFTER_TEXT = {
    Sound.UNASKED: Sound.DUE,
    Sound.DUE: Sound.DUE,
    Sound.HEARD: Sound.DUE_AGAIN,
    Sound.DUE_AGAIN: Sound.DUE_AGAIN,
}


class Context:
    """One context. Its methods return the frames to send, in order, which may be none.

    Attributes:
        context_id: The id that the frames name; None where the socket is the context.
        state: How far the context is in its life.
        sound: Whether the sound of its text has come.
        endpoint: The frames, with what is said in the first one. Another one of the same kind may take its place before
            the context has an utterance.
    """

    __slots__ = ("context_id", "endpoint", "sound", "state")

    def __init__(self, endpoint: Endpoint, context_id: str | None) -> None:
        self.context_id = context_id
        self.state = ContextState.NEW
        self.sound = Sound.UNASKED
        self.endpoint = endpoint

    @classmethod
    def of(cls, endpoint: Endpoint, number: int) -> Context | None:
        """Return the context of a socket that so many others have preceded; None if a socket has not so many."""
        return None if number >= endpoint.contexts_in_all else cls(endpoint, endpoint.context_id(number))

    @property
    def holds_slot(self) -> bool:
        """Whether the service knows it, and has not reported its final."""
        return self.state is not ContextState.NEW and self.state is not ContextState.CLOSED

    @property
    def awaits_text(self) -> bool:
        """Whether the service waits for text, so that it is to be kept alive while there is none."""
        return self.state is ContextState.OPEN

    @property
    def is_as_begun(self) -> bool:
        """Whether it is as it was when its socket opened, so that another utterance can have it."""
        begun = self.state is ContextState.OPEN and self.endpoint.begins == "with the socket"
        return begun and self.sound is Sound.UNASKED

    @property
    def takes_text(self) -> bool:
        """Whether text may be sent for it."""
        return self.state is ContextState.OPEN or self.state is ContextState.NEW

    def socket_opened(self) -> list[str]:
        """Begin the context as the first one of its socket, before it has an utterance."""
        return self._begin() if self.endpoint.begins == "with the socket" else []

    def acquired(self) -> list[str]:
        """Begin the context for an utterance, at endpoints where the service then works before it has text."""
        return self._begin() if self.state is ContextState.NEW and self.endpoint.begins == "with the utterance" else []

    def text(self, phrase: str) -> list[str]:
        """Send a phrase, and `begin` before the first one."""
        frames = self._begin() if self.state is ContextState.NEW else []
        assert self.state is ContextState.OPEN, self.state
        if self.sound is Sound.UNASKED or speakable(phrase):
            self.sound = _AFTER_TEXT[self.sound]
        return [*frames, self.endpoint.text(self.context_id, phrase)]

    def keep_alive(self) -> list[str]:
        """Keep the context open while there is no text."""
        assert self.state is ContextState.OPEN, self.state
        return [self.endpoint.keep_alive(self.context_id)]

    def end(self) -> list[str]:
        """End the text, so that the service speaks the rest."""
        self._go(ContextState.COMPLETE)
        end = self.endpoint.end(self.context_id)
        return ([] if end is None else [end]) + (self._close() if self.sound is Sound.HEARD else [])

    def audio_received(self, event: AudioReceived) -> list[str] | None:
        """Note that audio has come; None: it is not of its text, but of the blanks that begin it, or keep it alive."""
        if self.sound is not Sound.HEARD:
            if self.sound is Sound.UNASKED or (self.sound is Sound.DUE and is_blank(event)):
                return None
            self.sound = Sound.HEARD
        return self._close() if self.state is ContextState.COMPLETE else []

    def final_received(self) -> None:
        """Note that the service has closed the context."""
        if self.state is not ContextState.CLOSED:
            self._go(ContextState.CLOSED)

    def interrupt(self) -> list[str]:
        """Close the context at once, if it is open."""
        if self.state is ContextState.NEW:
            self._go(ContextState.CLOSED)
        return self._close() if self.state in (ContextState.OPEN, ContextState.COMPLETE) else []

    def _begin(self) -> list[str]:
        self._go(ContextState.OPEN)
        return [self.endpoint.begin(self.context_id)]

    def _close(self) -> list[str]:
        self._go(ContextState.CLOSING)
        close = self.endpoint.close(self.context_id)
        return [] if close is None else [close]

    def _go(self, state: ContextState) -> None:
        assert state in _NEXT[self.state], f"{self.state} -> {state}"
        self.state = state
