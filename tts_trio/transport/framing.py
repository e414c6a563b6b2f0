"""A client's WebSocket over a stream, by trio-websocket where a frame needs it.

trio-websocket's reader puts a message into a channel, and another task takes it out, which costs a message two more
task switches and a socket one more task. Here the reader itself hands it on. Nearly all sockets meet nothing but text
in whole messages, pings, pongs, and at last the Close frame that answers ours. These are read and written here
(`frames.py`, `server_stream.py`), and the handshake is done here too (`upgrade.py`). For all else trio-websocket and
wsproto are asked, and are made when it comes: a handshake that the server refuses, messages in fragments or in bytes,
a peer that closes first, and what breaks the protocol. Made with each socket they were 20 objects that the garbage
collector goes through.

This uses what trio-websocket keeps for itself and its subclasses. All of it has been there for years, and
`tests/unit/transport/test_framing.py` tells whether the releases that `pyproject.toml` allows have it still.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio
import trio_websocket
import wsproto
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tts_trio.errors import TTSConnectionError
from tts_trio.transport.frames import CLOSE, client_frame
from tts_trio.transport.protocols import Taker
from tts_trio.transport.server_stream import ServerStream
from tts_trio.transport.upgrade import headers_of, new_key, request

# In characters or bytes, and one for each fragment, since fragments of nothing would have no end. The service's own
# examples allow 16 MiB; a long sentence of PCM passes the 1 MiB of trio-websocket.
MAX_MESSAGE = 17 * 2**20

_RECEIVE_BYTES = 65536  # at trio-websocket's 4 KiB, a frame of 42 KiB costs five times the CPU
_ANSWER_SECONDS = 0.25  # to answer a Close frame, which nothing is written behind
_NORMAL = 1000  # RFC 6455, 7.4.1
_LOST = 1006


class FramedConnection:
    """The client's end of a WebSocket over a stream.

    Attributes:
        stream: The stream, which knows what the handshake said, and what had been written when something came.
    """

    __slots__ = ("_closed", "_closing", "_left", "_lock", "_taker", "stream")

    def __init__(self, stream: trio.abc.Stream, taker: Taker) -> None:
        """Prepare the handshake.

        Args:
            stream: The byte stream.
            taker: Whoever is given what comes.
        """
        self.stream = ServerStream(stream, MAX_MESSAGE, taker)
        self._taker = taker
        self._closed: trio_websocket.CloseReason | None = None
        self._closing = False  # whether there is a Close frame of ours
        self._lock: trio.StrictFIFOLock | None = None  # of those who wait to write; None: nobody ever has
        self._left: _Left | None = None

    @property
    def closed(self) -> trio_websocket.CloseReason | None:
        """Why the WebSocket was closed, or lost; None while it is open."""
        return self._closed or (self._left and self._left.closed)

    async def shake_hands(
        self, host: str, path: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Ask for the WebSocket, and return the headers of the answer, as `headers_of` does. Then call `read`.

        Args:
            host: The host that the request names.
            path: The path and query of the request.
            headers: More headers of the request.

        Raises:
            trio_websocket.ConnectionRejected: The server refused.
            HungUp: It hung up.
            wsproto.utilities.RemoteProtocolError: It is no WebSocket server.
        """
        key = new_key()
        await self._write(request(host, path, key, headers))
        answer = await self.stream.receive(_RECEIVE_BYTES)
        if self.stream.granted:
            said = headers_of(answer, key)
            self.stream.established = True
            return said
        refused = wsproto.WSConnection(ConnectionType.CLIENT)
        refused.send(Request(host=host, target=path, extra_headers=[*headers]))
        left = self._make_left(refused)
        while True:
            await left.take(answer)
            answer = await self.stream.receive(_RECEIVE_BYTES)

    async def read(self) -> None:
        """Read until the WebSocket is closed or lost, of which `closed` says why; or until the stream is stopped.

        When it was stopped or cancelled, it can be called again.
        """
        if self.closed is not None and not self._closing:  # by the peer, or lost
            return
        try:
            while came := await self.stream.receive(_RECEIVE_BYTES):
                if self._closing and self.stream.over:
                    break
                left = self._left = self._left or self._make_left(Connection(ConnectionType.CLIENT))
                await left.take(came)
                if left.closed is not None:  # a peer that has closed may leave the stream open
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed):
            pass
        except Exception:
            self._lose()
            raise
        if not self.stream.stopped:
            self._lose()

    def _make_left(self, protocol: wsproto.WSConnection | Connection) -> _Left:
        return _Left(self.stream, protocol, self._write, self._taker)

    async def drop(self) -> None:
        """Close the stream at once."""
        self._lose()
        if not self.stream.close_now():
            with trio.CancelScope(shield=True):  # it waits for nothing
                await trio.aclose_forcefully(self.stream)

    def _lose(self) -> None:
        self._closed = self.closed or trio_websocket.CloseReason(_LOST, None)
        self._left = None  # which holds this object

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Send frames without waiting, if that can be done now; return whether the stream has taken them.

        What the stream has not sent of them, as `stream.unsent` tells, is sent by the next `send_frame`.
        """
        return self.closed is None and self._put_now(frames)

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame, behind what `send_now` has left.

        Raises:
            trio_websocket.ConnectionClosed: The WebSocket is closed, or was lost.
        """
        if self.closed is not None:
            raise trio_websocket.ConnectionClosed(self.closed)
        await self._put(frame)

    async def _write(self, data: bytes) -> None:
        """Write data, without waiting if that can be done now."""
        if not self._put_now([data]):
            await self._put(data)
        elif self.stream.unsent:
            await self._put(b"")

    def _put_now(self, frames: Sequence[bytes]) -> bool:
        return (self._lock is None or not self._lock.locked()) and self.stream.send_now(frames)

    async def _put(self, data: bytes) -> None:
        if self._lock is None:
            self._lock = trio.StrictFIFOLock()
        async with self._lock:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(data)
                return
        self._lose()
        raise trio_websocket.ConnectionClosed(self.closed)

    async def close(self, last: bytes = b"") -> None:
        """Send a last frame and the Close frame. Then `read` returns when that of the peer has come.

        Raises:
            trio_websocket.ConnectionClosed: The WebSocket was lost meanwhile.
        """
        if last and self.closed is None:
            await self.send_frame(last)
        if self.closed is None:
            self._closed = trio_websocket.CloseReason(_NORMAL, None)
            self._closing = True
            await self._write(client_frame(CLOSE, _NORMAL.to_bytes(2)))


class _Left(trio_websocket.WebSocketConnection):
    """trio-websocket's connection, for what is left to it. It reads what it is told, and writes as ours does."""

    def __init__(
        self,
        stream: trio.abc.AsyncResource,
        protocol: wsproto.WSConnection | Connection,
        write: Callable[[bytes], Awaitable[None]],
        taker: Taker,
    ) -> None:
        """Begin with the handshake, or with what a `WSConnection` has when that is done."""
        of_any_kind: Any = stream, protocol
        super().__init__(*of_any_kind, host="", path="")
        self._write = write
        self._taker = taker
        self._parts: list[Any] = []
        self._size = 0

    async def take(self, data: bytes) -> None:
        """Act on what has come."""
        self._wsproto.receive_data(data)
        for event in self._wsproto.events():
            await self._handle(event)

    async def _handle(self, event: Event) -> None:
        match event:
            case BytesMessage() | TextMessage():
                self._take_part(event)
            case CloseConnection():
                await self._handle_close_connection_event(event)
            case RejectConnection():
                await self._handle_reject_connection_event(event)
            case RejectData():
                await self._handle_reject_data_event(event)
            case _:
                pass  # a ping or a pong, of which `frames.py` has taken all that are as they should be

    def _take_part(self, event: BytesMessage | TextMessage) -> None:
        self._parts.append(event.data)
        self._size += len(event.data) + 1
        if self._size > MAX_MESSAGE:
            raise TTSConnectionError(f"a message did not end within {MAX_MESSAGE} bytes")
        if event.message_finished:
            parts, self._parts, self._size = self._parts, [], 0
            self._taker.take("".join(parts) if isinstance(event, TextMessage) else b"".join(parts))

    async def _send(self, event: Event) -> None:
        with trio.move_on_after(_ANSWER_SECONDS):
            await self._write(self._wsproto.send(event))

    async def _close_web_socket(self, code: int, reason: str | None = None) -> None:
        self._close_reason = trio_websocket.CloseReason(code, reason)
