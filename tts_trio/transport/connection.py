"""`Connection`: what one utterance speaks over; a socket of its own, or a context on one that it shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Literal, Protocol, TypeAlias

import trio

from tts_trio.errors import TTSConnectionError, TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.wire.context import Context, Sound
from tts_trio.wire.events import AudioReceived, Final

logger = guarded_logger(__name__)

_LONGEST_REST = 60.0  # seconds that the service may go on to speak what was interrupted

ConnectionState: TypeAlias = Literal["hot", "in use", "ended"]

_NEXT: dict[ConnectionState, frozenset[ConnectionState]] = {
    "hot": frozenset({"in use", "ended"}),
    "in use": frozenset({"ended"}),
    "ended": frozenset(),
}


class Socket(Protocol):
    """What a connection needs of the socket that carries it. None of it blocks.

    Attributes:
        hot_since: When the socket became hot, in seconds of trio's clock.
    """

    hot_since: float

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, the socket can take another utterance now."""
        ...

    @property
    def error(self) -> TTSError | None:
        """The error that the socket was lost by; None where it was not lost."""
        ...

    @property
    def trace_id(self) -> str | None:
        """The service's id of the socket, from the handshake; None where it gave none."""
        ...

    def write(self, frames: list[str], *, more: bool = False) -> int:
        """Write frames, and return the number of the last one, among all of the socket.

        Args:
            frames: The frames.
            more: Whether `probe` is called at once, with whose ping they are written.
        """
        ...

    def probe(self) -> None:
        """Send a ping, in the background; the socket is lost if no answer comes."""
        ...

    def release(self, connection: Connection) -> None:
        """Take a connection back from its utterance, or one that none will use."""
        ...

    def retire(self, error: TTSError) -> None:
        """Take no more utterances, and end, for this reason, with the last of those that go on."""
        ...


class Connection:
    """What one utterance speaks over. Given out by `WebSocketConnectionManager`, used by `TTSManager`.

    All its methods return at once: a task that no cancellation of the caller's reaches does the sending.

    Attributes:
        state: Whether the connection is hot, in use or ended.
        context: The context that says which frames may be written, in which order.
        last_frame: When a frame was last written for it, in seconds of trio's clock; before, when it was made.
        silent_since: When the connection was released, or sound last came for it after that; before, infinity.
        first_text: The number of the frame with its first text, among all of its socket; before, infinity.
    """

    __slots__ = (
        "_on_event", "_on_loss", "_released_at", "_socket", "context", "first_text", "last_frame", "silent_since",
        "state",
    )  # fmt: skip

    def __init__(self, socket: Socket, context: Context) -> None:
        """Prepare a connection; its socket offers it."""
        self.state: ConnectionState = "hot"
        self.last_frame = trio.current_time()
        self.silent_since = math.inf
        self.first_text = math.inf
        self.context = context
        self._socket = socket
        self._released_at = math.inf
        self._on_event: Callable[[AudioReceived | Final], None] | None = None
        self._on_loss: Callable[[TTSError], None] | None = None

    def __repr__(self) -> str:
        context = f", context {self.context.context_id}" if self.context.context_id else ""
        return f"<Connection {self.state}{context}, {self._socket!r}>"

    @property
    def error(self) -> TTSError | None:
        """The error that the socket was lost by; None where it was not lost."""
        return self._socket.error

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, it could serve an utterance now; no round trip is made to find out."""
        return self.state == "hot" and self._socket.usable

    @property
    def hot_since(self) -> float:
        """When its socket became hot, in seconds of trio's clock."""
        return self._socket.hot_since

    @property
    def trace_id(self) -> str | None:
        """The service's id of its socket, from the handshake; None where it gave none."""
        return self._socket.trace_id

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        """Begin an utterance on the connection.

        Args:
            on_event: A function that is called with audio and with the final, as they come.
            on_loss: A function that is called once if the connection ends before `close` was called.
        """
        self._on_event, self._on_loss = on_event, on_loss
        if self.state == "ended":
            self.on_lost(self.error or TTSConnectionError("the connection was closed"))

    def send_text(self, *phrases: str, ends: bool = False) -> None:
        """Send phrases in one write. The first one also probes the socket, in the background.

        Args:
            phrases: The phrases, which may be none.
            ends: Whether the text ends with them. The service then speaks what it holds, and reports the final.
        """
        if self.state != "in use" or not self.context.takes_text:
            return
        is_first = bool(phrases) and self.context.sound is Sound.UNASKED
        texts = [self.context.text(phrase) for phrase in phrases]
        end = self.context.end() if ends and self.context.awaits_text else []
        frames = [*chain(*texts, end)]
        number = self._write(frames, more=is_first)
        if is_first:
            self.first_text = number - len(frames) + len(texts[0])
            self._socket.probe()

    def keep_alive(self) -> None:
        """Send a keep-alive, if the context waits for text."""
        if self.context.awaits_text:
            self._write(self.context.keep_alive())

    def close(self) -> None:
        """End the utterance; its speech is interrupted if it goes on, and nothing more is reported of it."""
        if self.state != "ended":
            self._end()
            self._socket.release(self)

    def abandon(self, error: TTSError) -> None:
        """End the utterance as `close` does, and retire the socket for this reason."""
        if self.state != "ended":
            self._end()
            self._socket.retire(error)
            self._socket.release(self)

    # For its socket.

    def acquire(self) -> None:
        """Note that an utterance has the connection now."""
        self._go("in use")
        self._write(self.context.acquired())

    def received(self, event: AudioReceived | Final) -> None:
        """Pass what the service sent to the utterance."""
        match event:
            case Final():
                self.context.final_received()
            case AudioReceived():
                if self.state == "ended":  # the slot is not lost: the service still speaks the rest
                    self.silent_since = min(trio.current_time(), self._released_at + _LONGEST_REST)
                frames = self.context.audio_received(event)
                if frames is None:
                    return
                if frames:
                    self._write(frames)
        if self._on_event is None:  # the answer to a keep-alive, or the rest of a reply that was interrupted
            return
        try:
            self._on_event(event)
        except Exception as error:
            logger.exception("what came for an utterance could not be taken")
            on_loss = self._on_loss
            self.close()
            _tell(on_loss, unexpected("utterance", error))

    def on_lost(self, error: TTSError) -> None:
        """Note that the connection was lost, and report it to the utterance, if one goes on over it."""
        if self.state != "ended":
            self._go("ended")
        on_loss, self._on_event, self._on_loss = self._on_loss, None, None
        _tell(on_loss, error)

    def _end(self) -> None:
        """Report no event and no loss any more, and close the context."""
        self._go("ended")
        self._on_event = self._on_loss = None
        self._released_at = self.silent_since = trio.current_time()
        if not self.context.is_as_begun:
            self._write(self.context.interrupt())

    def _write(self, frames: list[str], *, more: bool = False) -> int:
        if not frames:
            return 0
        self.last_frame = trio.current_time()
        return self._socket.write(frames, more=more)

    def _go(self, state: ConnectionState) -> None:
        assert state in _NEXT[self.state], f"{self.state} -> {state}"
        self.state = state


def _tell(on_loss: Callable[[TTSError], None] | None, error: TTSError) -> None:
    """Report a loss to an utterance. An exception of its own is logged: others may go on over the same socket."""
    if on_loss is not None:
        try:
            on_loss(error)
        except Exception:
            logger.exception("an utterance could not be told of its loss")
