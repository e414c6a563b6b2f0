"""One hot connection: text in, events out, kept alive; it serves one utterance and is then used up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import trio

from tts_trio.config import TTSConfig
from tts_trio.errors import TTSConnectionError, TTSError, classify
from tts_trio.transport import OpenStream, single_error
from tts_trio.wire import stream_input
from tts_trio.wire.events import AudioReceived, ErrorReceived, Final, Unreadable, decode

logger = logging.getLogger(__name__)

ConnectionState: TypeAlias = Literal["dialling", "hot", "in use", "ended"]


class Connection:
    """A WebSocket to `stream-input` for one utterance. Made by `WebSocketConnectionManager`, used by `TTSManager`.

    All its methods but `run` return at once: a task that no cancellation of the caller's reaches does the sending.

    Attributes:
        state: Where it is in its life.
        keep_alives: How many keep-alives were sent.
        served: Whether an utterance was begun on it, which learned of its loss.
    """

    def __init__(
        self,
        config: TTSConfig,
        open_stream: OpenStream,
        *,
        on_hot: Callable[[Connection], None],
        on_old: Callable[[Connection], None],
    ) -> None:
        """Prepare a connection; nothing is dialled yet.

        Args:
            config: Where to and how.
            open_stream: Opens the byte stream.
            on_hot: Called when it can serve an utterance.
            on_old: Called when it has been idle for `spare_lifetime`.
        """
        self.state: ConnectionState = "dialling"
        self.keep_alives = 0
        self.served = False
        self._config = config
        self._on_hot = on_hot
        self._on_old = on_old
        self._on_event: Callable[[AudioReceived | Final], None] | None = None
        self._on_loss: Callable[[TTSError], None] | None = None
        self._hot_since = math.inf
        self._last_text = math.inf
        self._complete = False
        from tts_trio.websocket import WebSocket  # loaded late: trio-websocket is a third of the cost of `import trio`

        self._websocket = WebSocket(
            config, stream_input.path(config), open_stream=open_stream, on_message=self._receive
        )

    def __repr__(self) -> str:
        return f"<Connection {self.state}, {self.keep_alives} keep-alives>"

    @property
    def error(self) -> TTSError | None:
        """Why it was lost, or None."""
        return self._websocket.error

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, it could serve an utterance now; no round trip is made to find out."""
        return self.state == "hot" and not self._websocket.ending

    @property
    def trace_id(self) -> str | None:
        """The service's id of the connection, from the handshake; None where it gave none."""
        return self._websocket.trace_id

    def hot_for(self) -> float:
        """Return how long ago it became hot, in seconds; 0 if it never did."""
        return max(0.0, trio.current_time() - self._hot_since)

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        """Begin an utterance on it.

        Args:
            on_event: Called with audio and with the final, as they come.
            on_loss: Called once if the connection ends before `close` was called.
        """
        self.served = True
        self._on_event, self._on_loss = on_event, on_loss

    def send_text(self, phrase: str) -> None:
        """Speak a phrase. With the first one it is found out, in the background, whether anybody is there."""
        self._send(stream_input.text(phrase))
        self._websocket.rely_on()

    def end_text(self) -> None:
        """Say that the text is complete; the service speaks what it holds and reports the final."""
        self._complete = True
        self._send(stream_input.END_OF_SEQUENCE)

    def close(self, reason: TTSError | None = None) -> None:
        """End it: an idle one says goodbye to the service; one in use just closes, which interrupts the speech.

        An end marker would have the service speak, and bill, the rest of an interrupted reply.

        Args:
            reason: Told to the utterance that goes on over it; None: whose work is done, or who closes it itself.
        """
        goodbye = stream_input.END_OF_SEQUENCE if self.state == "hot" else None
        on_loss, self._on_event, self._on_loss = self._on_loss, None, None
        self.state = "ended"
        self._websocket.close(goodbye)
        if reason is not None and on_loss is not None:
            on_loss(reason)

    def lose(self, error: TTSError) -> None:
        """Give it up as lost, for this reason, which is not reported to the caller again."""
        self._on_event = self._on_loss = None
        self.state = "ended"
        self._websocket.lose(error)

    async def run(self) -> None:
        """Dial it and keep it until it ends.

        Raises:
            TTSError: It never became hot.
        """
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    await self._websocket.run(stream_input.initialize(self._config), lambda: self._opened(nursery))
                    nursery.cancel_scope.cancel(reason="the connection has ended")
        finally:
            self.state = "ended"
            if self._on_loss is not None:
                self._on_loss(self.error or TTSConnectionError("the connection was closed"))

    def _opened(self, nursery: trio.Nursery) -> None:
        self.state = "hot"
        self._hot_since = self._last_text = trio.current_time()
        nursery.start_soon(self._keep_alive)
        self._on_hot(self)

    def _send(self, frame: str) -> None:
        self._last_text = trio.current_time()
        self._websocket.send(frame)

    async def _keep_alive(self) -> None:
        old_at = self._hot_since + self._config.spare_lifetime
        while not self._complete:  # after the end marker the service takes no text, keep-alives included
            due = self._last_text + self._config.keep_alive_interval
            await trio.sleep_until(min(due, old_at))
            now = trio.current_time()
            if now >= old_at:
                old_at = math.inf
                if self.state == "hot":
                    self._on_old(self)
            if now >= self._last_text + self._config.keep_alive_interval and not self._complete:
                self.keep_alives += 1
                self._send(stream_input.KEEP_ALIVE)

    def _receive(self, message: str | bytes) -> None:
        for event in decode(message):
            match event:
                case ErrorReceived():  # the service closes the socket about 0.8 s later: no need to wait for that
                    error = classify(
                        event.message, codes=(event.code,), close_code=event.close_code, trace_id=self.trace_id
                    )
                    self._websocket.lose(error.without(self._config.api_key))
                case Unreadable():
                    logger.warning("skipped a frame of the service: %s", event.reason)
                case AudioReceived() | Final():
                    if self._on_event is not None:  # else: of a keep-alive, or of a reply that was interrupted
                        self._on_event(event)
