"""One HTTP/1.1 connection: it sends a request in one piece, gives the answer as it comes, and raises typed errors."""

from __future__ import annotations

from urllib.parse import urlsplit

import h11
import trio

from tts_trio._nurseries import telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.errors import ProtocolError, ServiceTimeoutError, TTSConnectionError, TTSError
from tts_trio.transport.http.stream import WatchedStream

_LONGEST_HEAD = 102400  # bytes of the head of an answer
_ANY_REQUEST = (h11.Request(method="POST", target="/", headers=[("host", "any")]), h11.EndOfMessage())
"""The events that h11 gets for every request that was written. To read the answer it needs no more."""


class HttpConnection:
    """One HTTP/1.1 connection, for one request at a time. h11 does the framing.

    Attributes:
        stream: The byte stream that the connection runs over.
        opened: When the connection was opened, in seconds of trio's clock.
        watch: The scope of the task that reads from the connection until a request is sent over it.
        fresh: Whether the connection was never idle, and has answered nothing: it was dialed for its request.
        asked: Whether the request, or a part of it, was written to the connection.
        outlives: Whether the answer may be read to its end after the pool was closed.
    """

    def __init__(self, stream: WatchedStream, config: TTSConfig) -> None:
        self.stream = stream
        self.opened = trio.current_time()
        self.watch = trio.CancelScope()
        self.fresh = True
        self.asked = False
        self.outlives = False
        self._config = config
        self._where = urlsplit(config.base_url).netloc
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self._interim = False

    @property
    def hung_up(self) -> bool:
        """Whether the peer closed it before the answer began."""
        return self.stream.ended and not self.stream.received

    @property
    def reusable(self) -> bool:
        """Whether the answer was read to its end, and the peer has sent nothing after it."""
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        return done and self._http.trailing_data == (b"", False) and not self._interim

    def renew(self) -> None:
        """Prepare the connection for another request. It has to be reusable."""
        self._http.start_next_cycle()
        self.fresh = self.asked = self.outlives = False

    async def ask(self, message: bytes) -> h11.Response:
        """Send a request, and return the head of its answer.

        Args:
            message: A whole request, which wants a body for its answer.

        Raises:
            TTSError: The peer sent data before the request, the connection was lost (`asked` and `hung_up` say whether
                a retry could double anything), the answer is no HTTP, or none came within `timeouts.reply`.
        """
        deadline = trio.current_time() + self._config.timeouts.reply
        if not await self.stream.is_quiet():
            raise self._spoke_unasked()
        self.asked = True
        self.stream.received = 0
        try:
            await self.stream.send(message, deadline)
        except trio.TooSlowError:
            raise self._too_slow("sending the request") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer may have answered before it closed the connection
        for sent in _ANY_REQUEST:
            self._http.send(sent)
        event = await self._next_event(deadline)
        while isinstance(event, h11.InformationalResponse):
            self._interim = True
            event = await self._next_event(deadline)
        assert isinstance(event, h11.Response)
        return event

    async def receive(self) -> bytes:
        """Return the next bytes of the body; `b""` at its end.

        Raises:
            TTSError: The body broke off, or nothing came for `timeouts.stall`.
        """
        while isinstance(event := await self._next_event(None), h11.Data):
            if event.data:
                return bytes(event.data)
        return b""

    async def _next_event(self, answer_by: float | None) -> h11.Event:
        """Return the next event of the answer, whose head has to come by that time; what is behind it may not stall."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise self._unreadable(error) from None
            if isinstance(event, h11.Event):
                return event
            data = await self._receive(answer_by)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise self._lost()
            self._http.receive_data(data)

    async def _receive(self, answer_by: float | None) -> bytes:
        deadline = trio.current_time() + self._config.timeouts.stall if answer_by is None else answer_by
        try:
            return await self.stream.receive(deadline)
        except trio.TooSlowError:
            if answer_by is not None:
                raise self._too_slow(self._step) from None
            raise ServiceTimeoutError(
                f"{self._where} sent nothing for {self._config.timeouts.stall:g} s in the middle of its answer "
                "(timeouts.stall)"
            ) from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._lost() from telling_cause(error)

    @property
    def _step(self) -> str:
        return "reading the answer" if self.stream.received else "waiting for the answer"

    def _lost(self) -> TTSError:
        return TTSConnectionError(f"the connection to {self._where} was lost while {self._step}")

    def _too_slow(self, step: str) -> TTSError:
        return ServiceTimeoutError(
            f"no answer from {self._where} within {self._config.timeouts.reply:g} s (timeouts.reply, still {step})"
        )

    def _unreadable(self, error: h11.RemoteProtocolError) -> TTSError:
        if self.stream.ended:
            return self._lost()
        # The message of h11 quotes the answer.
        return ProtocolError(f"{self._where} does not answer as an HTTP server: {error}")

    def _spoke_unasked(self) -> TTSError:
        if self.stream.ended:
            return TTSConnectionError(f"the connection to {self._where} was closed before the request was sent")
        if self.fresh:
            return ProtocolError(f"{self._where} does not answer as an HTTP server: it sent data before the request")
        return TTSConnectionError(f"{self._where} sent data before the request over an idle connection")
