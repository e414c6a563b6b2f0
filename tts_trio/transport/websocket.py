"""One WebSocket: dial, read always, write whole frames, ping, close in bounded time.

trio-websocket does the framing; it is used here and nowhere else, and defensively. Its connect timeout does not fire
when the peer stays silent, a cancelled send tears a frame, closing can hang, and its defaults are 4 KiB reads and 1 MiB
messages. So one task owns the socket, in a scope that no user's cancellation reaches: it reads always, one writer
writes whole frames, and closing is an event and a bounded wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

import attrs
import trio
import trio_websocket

from tts_trio._nurseries import single_error, telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.errors.classification import classify
from tts_trio.errors.redaction import guarded_logger, redact
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.handshake import MAX_MESSAGE, MAX_UNFINISHED, HandshakeStream, explain
from tts_trio.transport.streams import USER_AGENT, OpenStream
from tts_trio.transport.timers import wait_event

logger = guarded_logger(__name__)

_RECEIVE_BYTES = 65536  # at trio-websocket's 4 KiB, a frame of 42 KiB costs five times the CPU
_PROBE_TIMEOUT = 1.0  # a pong takes one round trip; what does not come in so long is not on its way
_STUCK_SECONDS = 0.1  # a frame is written in no time, unless the peer does not read


@attrs.frozen
class _Protecting:
    """What trio-websocket needs of a nursery, for a reader that Ctrl-C is not raised in: there it could be lost."""

    nursery: trio.Nursery

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task."""
        self.nursery.start_soon(self._run, function)

    @staticmethod
    @trio.lowlevel.enable_ki_protection
    async def _run(function: Callable[[], Awaitable[None]]) -> None:
        await function()


class WebSocket:
    """One WebSocket to the service, from its dialing to its end. `run` is its life; everything else is immediate.

    Attributes:
        is_open: Whether the socket ever became hot.
        trace_id: The service's id of the connection (`x-trace-id` of the handshake), if it gave one.
        error: Why the socket ended, if not by `close`.
        closed: An event that is set when nothing of the socket is left.
        sent: How many messages were handed over to be written, the first ones included.
        written: How many of these had begun to be written when the message that is being handed on came.
    """

    def __init__(
        self,
        config: TTSConfig,
        path: str,
        *,
        open_stream: OpenStream,
        on_message: Callable[[str | bytes], None],
    ) -> None:
        """Prepare a WebSocket; nothing is dialed yet.

        Args:
            config: The host, the key and the timeouts.
            path: The path and query, below the base URL.
            open_stream: A function that opens the byte stream.
            on_message: A function that is called with each message as it comes; it must not block.
        """
        self.is_open = False
        self.trace_id: str | None = None
        self.error: TTSError | None = None
        self.closed = trio.Event()
        self.sent = self.written = 0
        self._config = config
        self._path = path
        self._open_stream = open_stream
        self._on_message = on_message
        self._outbox, self._unsent = trio.open_memory_channel[str](math.inf)
        self._closing = trio.Event()
        self._goodbye: str | None = None
        self._probe, self._probes = trio.open_memory_channel[float](math.inf)
        self._last_message = -math.inf
        self._writing_since = math.inf

    @property
    def ending(self) -> bool:
        """Whether it was lost, or told to close: nothing more is written to it."""
        return self._closing.is_set()

    @property
    def stuck(self) -> bool:
        """Whether a frame waits to be written because the peer does not read."""
        return trio.current_time() > self._writing_since + _STUCK_SECONDS

    def send(self, message: str) -> None:
        """Hand a message to the writer. Never blocks; a message for a socket that is ending is dropped."""
        if not self._closing.is_set():
            self.sent += 1
            self._outbox.send_nowait(message)

    def probe(self) -> None:
        """Find out whether the socket is half-open. Never blocks.

        A ping is sent. The socket is lost if neither its pong nor any message comes within a second, or if nothing
        could be written for so long.
        """
        self._probe.send_nowait(trio.current_time())

    def close(self, goodbye: str | None = None) -> None:
        """Begin to close, politely and in bounded time. Never blocks; only the first call counts.

        Args:
            goodbye: A last message, which is written before the Close frame.
        """
        if not self._closing.is_set():
            self._goodbye = goodbye
            self._closing.set()

    def abandon(self, error: TTSError) -> None:
        """Give the socket up, with the reason. Never blocks; only the first reason counts."""
        if not self._closing.is_set():
            self.error = error
            self._closing.set()

    async def run(self, turn: DialTurn, first_messages: Iterable[str], on_open: Callable[[], None]) -> None:
        """Dial, then own the socket until it is closed or lost.

        Args:
            turn: The turn to dial, which ends with the dial.
            first_messages: The messages that are written as soon as the socket is open.
            on_open: A function that is called when the socket is hot: the first messages are written, and a pong has
                come back.

        Raises:
            TTSError: It never became hot. What happens later is in `error`.
        """
        stream: HandshakeStream | None = None
        try:
            with trio.CancelScope() as scope, single_error():
                async with turn.limited(self._config.timeouts.connect) as hot:
                    stream = HandshakeStream(await self._open_stream(self._config))
                    async with trio.open_nursery() as nursery:
                        websocket = await self._upgrade(nursery, stream)
                        nursery.start_soon(self._read, websocket, stream)
                        for message in first_messages:
                            self.sent += 1
                            await websocket.send_message(message)
                        await websocket.ping()
                        if self.error is not None:
                            raise self.error
                        hot.set()
                        scope.shield = self.is_open = True  # from here on it ends by the event, or by the peer
                        if not self.ending:
                            on_open()
                        nursery.start_soon(self._write, websocket)
                        nursery.start_soon(self._ping, websocket, nursery)
                        nursery.start_soon(self._run_probes, websocket, nursery)
                        await self._closing.wait()
                        if self.error is None:
                            await self._say_goodbye(websocket)
                        nursery.cancel_scope.cancel(reason="the WebSocket is closed")
        except Exception as error:  # noqa: BLE001 - sorted by explain; what it does not know is logged there
            cause = self.error or explain(error, self._config, stream)
            if cause is not error and cause.__cause__ is None:
                cause.__cause__ = telling_cause(error)
            self.abandon(cause)
            if not self.is_open:
                raise cause from cause.__cause__
        finally:
            self._closing.set()
            try:
                if stream is not None:
                    await trio.aclose_forcefully(stream)
            finally:
                self.closed.set()

    async def _upgrade(self, nursery: trio.Nursery, stream: HandshakeStream) -> trio_websocket.WebSocketConnection:
        url = urlsplit(self._config.base_url)
        websocket = await trio_websocket.wrap_client_stream(
            cast("trio.Nursery", _Protecting(nursery)),
            cast("trio.SocketStream", stream),  # it takes any stream, but is typed for two
            url.netloc,
            url.path.rstrip("/") + self._path,
            extra_headers=[
                (b"xi-api-key", self._config.api_key.encode("ascii")),
                (b"user-agent", USER_AGENT.encode("ascii")),
            ],
            receive_buffer_size=_RECEIVE_BYTES,
            max_message_size=MAX_MESSAGE,
        )
        stream.established = True
        self.trace_id = next(
            (redact(value.decode("latin-1")) for name, value in websocket.handshake_headers if name == b"x-trace-id"),
            None,
        )
        return websocket

    @trio.lowlevel.enable_ki_protection
    async def _read(self, websocket: trio_websocket.WebSocketConnection, stream: HandshakeStream) -> None:
        try:
            while self.error is None:
                message = await websocket.get_message()
                stream.unfinished = 0
                self.written = stream.written_before
                self._on_message(message)
                self._last_message = trio.current_time()
        except trio_websocket.ConnectionClosed as closed:
            if self._closing.is_set():
                return
            reason = closed.reason
            if stream.unfinished > MAX_UNFINISHED:
                says = f"a message did not end within {MAX_UNFINISHED} bytes"
                self.abandon(TTSConnectionError(says, trace_id=self.trace_id))
            elif reason is not None:
                self.abandon(classify(reason.reason, close_code=reason.code, trace_id=self.trace_id))
            else:
                self.abandon(TTSConnectionError("the connection was lost", trace_id=self.trace_id))
        raise self.error or AssertionError("unreachable: the loop ends by an error")

    @trio.lowlevel.enable_ki_protection
    async def _write(self, websocket: trio_websocket.WebSocketConnection) -> None:
        with suppress(trio_websocket.ConnectionClosed):  # the reader knows why
            async for message in self._unsent:
                if self._closing.is_set():
                    return
                self._writing_since = trio.current_time()
                await websocket.send_message(message)
                self._writing_since = math.inf

    @trio.lowlevel.enable_ki_protection
    async def _ping(self, websocket: trio_websocket.WebSocketConnection, nursery: trio.Nursery) -> None:
        timeout = self._config.timeouts.ping
        while True:
            await trio.sleep(self._config.ping_interval)
            if not await self._pong_comes(websocket, nursery, timeout):
                self.abandon(TTSConnectionError(f"the service did not answer a ping within {timeout:g} s"))

    @trio.lowlevel.enable_ki_protection
    async def _run_probes(self, websocket: trio_websocket.WebSocketConnection, nursery: trio.Nursery) -> None:
        async for since in self._probes:
            nursery.start_soon(self._run_probe, websocket, nursery, since)

    @trio.lowlevel.enable_ki_protection
    async def _run_probe(
        self, websocket: trio_websocket.WebSocketConnection, nursery: trio.Nursery, since: float
    ) -> None:
        if await self._pong_comes(websocket, nursery, _PROBE_TIMEOUT):
            return
        # A peer that sends may yet read nothing: then what is written to it stays in the pipe.
        if self._last_message < since or self._writing_since <= since:
            self.abandon(TTSConnectionError(f"the service did not answer within {_PROBE_TIMEOUT:g} s"))

    async def _pong_comes(
        self,
        websocket: trio_websocket.WebSocketConnection,
        nursery: trio.Nursery,
        timeout: float,  # noqa: ASYNC109 - no cancel scope: that could tear a frame
    ) -> bool:
        """Send a ping, and tell whether its pong comes in time."""
        pong = trio.Event()
        nursery.start_soon(self._ping_once, websocket, pong)
        return await wait_event(pong, timeout)

    @trio.lowlevel.enable_ki_protection
    async def _ping_once(self, websocket: trio_websocket.WebSocketConnection, pong: trio.Event) -> None:
        with suppress(trio_websocket.ConnectionClosed):
            await websocket.ping()
            pong.set()

    async def _say_goodbye(self, websocket: trio_websocket.WebSocketConnection) -> None:
        with trio.move_on_after(self._config.timeouts.close), suppress(trio_websocket.ConnectionClosed):
            if self._goodbye is not None:
                await websocket.send_message(self._goodbye)
            await websocket.aclose()
