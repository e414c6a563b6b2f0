"""`Connection`: what one utterance speaks over; a socket of its own, or a context on one that it shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from tts_trio.errors import TTSConnectionError, TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.wire.context import Context
from tts_trio.wire.events import AudioReceived, Final

if TYPE_CHECKING:
    from tts_trio.transport.hot_socket import HotSocket

logger = guarded_logger(__name__)

ConnectionState: TypeAlias = Literal["hot", "in use", "ended"]


class Connection:
    """What one utterance speaks over. Given out by `WebSocketConnectionManager`, used by `TTSManager`.

    All its methods return at once: a task that no cancellation of the caller's reaches does the sending.

    Attributes:
        state: Where it is in its life.
        socket: What carries it.
        context: Which frames may be written, in which order.
        last_frame: When a frame was last written for it, in seconds of trio's clock.
        given_up_at: When it was given up.
        ended_at: When something last came of it after that.
    """

    def __init__(self, socket: HotSocket, context: Context) -> None:
        """Prepare a connection; it is offered by its socket."""
        self.state: ConnectionState = "hot"
        self.last_frame = -math.inf
        self.given_up_at = self.ended_at = math.inf
        self.context = context
        self.socket = socket
        self._relied_on = False
        self._on_event: Callable[[AudioReceived | Final], None] | None = None
        self._on_loss: Callable[[TTSError], None] | None = None

    def __repr__(self) -> str:
        context = f", context {self.context.context_id}" if self.context.context_id else ""
        return f"<Connection {self.state}{context}, {self.socket!r}>"

    @property
    def error(self) -> TTSError | None:
        """Why its socket was lost, or None."""
        return self.socket.error

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, it could serve an utterance now; no round trip is made to find out."""
        return self.state == "hot" and self.socket.usable

    @property
    def trace_id(self) -> str | None:
        """The service's id of its socket, from the handshake; None where it gave none."""
        return self.socket.trace_id

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        """Begin an utterance on it.

        Args:
            on_event: Called with audio and with the final, as they come.
            on_loss: Called once if the connection ends before `close` was called.
        """
        self._on_event, self._on_loss = on_event, on_loss
        if self.state == "ended":
            self.lost(self.error or TTSConnectionError("the connection was closed"))

    def send_text(self, phrase: str) -> None:
        """Speak a phrase. With the first one it is found out, in the background, whether anybody is there."""
        if self.state == "in use":
            self.write(self.context.text(phrase))
            if not self._relied_on:
                self._relied_on = True
                self.socket.rely_on()

    def end_text(self) -> None:
        """Say that the text is complete; the service speaks what it holds and reports the final."""
        if self.state == "in use":
            self.write(self.context.end())

    def keep_alive(self) -> None:
        """Keep it open while there is no text."""
        self.write(self.context.keep_alive())

    def close(self) -> None:
        """End it; what is not finished is interrupted, and not a byte of it is heard of any more."""
        self._give_up(None)

    def lose(self, error: TTSError) -> None:
        """Give it up as lost, for this reason, which is not reported to the utterance again."""
        self._give_up(error)

    def _give_up(self, error: TTSError | None) -> None:
        if self.state != "ended":
            self.forget()
            self.write(self.context.interrupt())
            if error is not None:
                self.socket.distrust(error)
            self.socket.released(self)

    # For its socket.

    def write(self, frames: list[str]) -> None:
        """Write frames of its context."""
        if frames:
            self.socket.write(self, frames)

    def received(self, event: AudioReceived | Final) -> None:
        """Take what the service sent for it."""
        match event:
            case Final():
                self.context.final_received()
            case AudioReceived():
                if not self.context.heard and is_silence(event):
                    return
                self.write(self.context.audio_received())
        if self._on_event is None:  # of a keep-alive, or of a reply that was interrupted
            return
        try:
            self._on_event(event)
        except Exception as error:
            logger.exception("what came for an utterance could not be taken")
            on_loss = self._on_loss
            self.close()
            _tell(on_loss, unexpected("utterance", error))

    def lost(self, error: TTSError) -> None:
        """Take note that nothing comes of it any more, and tell the utterance, if it goes on over it."""
        on_loss = self._on_loss
        self.forget()
        _tell(on_loss, error)

    def forget(self) -> None:
        """Hear nothing more of it: no audio, and no loss."""
        self._on_event = self._on_loss = None
        self.state = "ended"


def _tell(on_loss: Callable[[TTSError], None] | None, error: TTSError) -> None:
    """Tell an utterance of its loss; what goes wrong there is no concern of the others on the socket."""
    if on_loss is not None:
        try:
            on_loss(error)
        except Exception:
            logger.exception("an utterance could not be told of its loss")


def is_silence(event: AudioReceived) -> bool:
    """Whether it is the clip of a blank, which the frames that begin a context, or keep it, carry for text."""
    alignment = event.normalized_alignment or event.alignment
    return alignment is not None and bool(alignment.chars) and "".join(alignment.chars).isspace()
