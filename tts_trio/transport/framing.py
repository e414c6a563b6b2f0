"""trio-websocket's connection, without what it does to a message between the stream and the task that takes it.

trio-websocket's reader puts a message into a channel, and another task takes it out, which costs a message two more
task switches and a socket one more task. Here the reader itself hands it on. A message of text in one frame, and a
pong, are taken out of the stream before trio-websocket sees them (`frames.py`, `server_stream.py`). Text and pings are
written around it, and the handshake is done before it (`upgrade.py`). trio-websocket is left with the rest: a handshake
that the server refuses, the other frames, the answers to pings, and closing.

This uses what trio-websocket keeps for itself and its subclasses. All of it has been there for years, and
`tests/unit/transport/test_framing.py` tells whether the releases that `pyproject.toml` allows have it still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import trio
import trio_websocket
import wsproto
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from tts_trio.errors import TTSConnectionError
from tts_trio.transport.server_stream import ServerStream
from tts_trio.transport.upgrade import headers_of, new_key, request

# In characters or bytes, and one for each fragment, since fragments of nothing would have no end. The service's own
# examples allow 16 MiB; a long sentence of PCM passes the 1 MiB of trio-websocket.
MAX_MESSAGE = 17 * 2**20

_RECEIVE_BYTES = 65536  # at trio-websocket's 4 KiB, a frame of 42 KiB costs five times the CPU


class FramedConnection(trio_websocket.WebSocketConnection):
    """The client's end of a WebSocket over a stream.

    Attributes:
        stream: The stream, which knows what the handshake said, and what had been written when something came.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        host: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        *,
        on_message: Callable[[str | bytes], None],
        on_pong: Callable[[bytes], None],
        on_close: Callable[[], None],
    ) -> None:
        """Prepare the handshake; `read` begins it.

        Args:
            stream: The byte stream.
            host: The host that the request names.
            path: The path and query of the request.
            headers: More headers of the request.
            on_message: A function that is called with each message as it comes; it raises a `TTSError`, or nothing.
            on_pong: A function that is called with the payload of each pong.
            on_close: A function that is called when the peer sends a Close frame or what is no frame; `closed` says
                which. `read` may go on until the stream ends, and a peer may leave that open.
        """
        self.stream = ServerStream(stream, MAX_MESSAGE, on_message, on_pong)
        opened: Any = Connection(ConnectionType.CLIENT)  # what a `WSConnection` has when the handshake is done
        super().__init__(
            self.stream,
            opened,
            host=host,
            path=path,
            client_extra_headers=headers,
        )
        # Eleven objects that only trio-websocket's own reader and `ping` use, and that would stay with each socket.
        del self._send_channel, self._recv_channel, self._message_parts, self._pings
        self._on_message = on_message
        self._on_close = on_close
        self._parts: list[Any] = []
        self._size = 0

    async def read(self) -> None:
        """Do the handshake, and read until the WebSocket is closed or lost; `closed` says why."""
        try:
            await self._shake_hands()
            while True:
                for event in self._wsproto.events():
                    await self._handle(event)
                if self._wsproto.state is ConnectionState.CLOSED:
                    return
                if not (data := await self.stream.receive_some(_RECEIVE_BYTES)):
                    break
                self._wsproto.receive_data(data)
        except RemoteProtocolError as error:
            if not self._open_handshake.is_set():
                raise
            if error.event_hint is not None:
                await self._send(error.event_hint)
            await self._close_stream()
            return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except trio_websocket.ConnectionClosed:
            return
        await self._abort_web_socket()

    async def _shake_hands(self) -> None:
        """Ask for the WebSocket. An answer that does not grant it is left to wsproto."""
        key, asked = new_key(), self._initial_request
        assert asked is not None
        await self._write(request(asked.host, asked.target, key, asked.extra_headers))
        answer = await self.stream.receive_some(_RECEIVE_BYTES)
        if self.stream.granted:
            self._handshake_headers = tuple(headers_of(answer, key))
            self._open_handshake.set()
            return
        refused = wsproto.WSConnection(ConnectionType.CLIENT)
        refused.send(asked)
        refused.receive_data(answer)
        self._wsproto = refused

    async def _handle(self, event: Event) -> None:
        match event:
            case BytesMessage() | TextMessage():
                self._take_part(event)
            case Ping():
                await self._handle_ping_event(event)
            case CloseConnection():
                try:
                    await self._handle_close_connection_event(event)
                finally:
                    self._on_close()
            case RejectConnection():
                await self._handle_reject_connection_event(event)
            case RejectData():
                await self._handle_reject_data_event(event)
            case _:
                pass  # a Pong, of which `frames.py` has taken all that are as they should be

    async def wait_open(self) -> None:
        """Wait until the handshake is done; where it fails, `read` raises."""
        await self._open_handshake.wait()
        self.stream.established = True
        self._initial_request = self._connection_proposal = None  # which only the handshake needs

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Send frames without waiting, if that can be done now; return whether the stream has taken them.

        What the stream has not sent of them, as `stream.unsent` tells, is sent by the next `send_frame`.
        """
        return self._close_reason is None and self._put_now(frames)

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame, behind what `send_now` has left.

        Raises:
            trio_websocket.ConnectionClosed: The WebSocket is closed, or was lost.
        """
        if self._close_reason is not None:
            raise trio_websocket.ConnectionClosed(self._close_reason)
        await self._put(frame)

    async def _send(self, event: Event) -> None:
        """Send what trio-websocket has to say."""
        await self._write(self._wsproto.send(event))

    async def _write(self, data: bytes) -> None:
        """Write data, without waiting if that can be done now."""
        if not self._put_now([data]):
            await self._put(data)
        elif self.stream.unsent:
            await self._put(b"")

    def _put_now(self, frames: Sequence[bytes]) -> bool:
        return not self._stream_lock.locked() and self.stream.send_now(frames)

    async def _put(self, data: bytes) -> None:
        async with self._stream_lock:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(data)
                return
            await self._abort_web_socket()
        raise trio_websocket.ConnectionClosed(self._close_reason)

    def _take_part(self, event: BytesMessage | TextMessage) -> None:
        self._parts.append(event.data)
        self._size += len(event.data) + 1
        if self._size > MAX_MESSAGE:
            raise TTSConnectionError(f"a message did not end within {MAX_MESSAGE} bytes")
        if event.message_finished:
            parts, self._parts, self._size = self._parts, [], 0
            self._on_message("".join(parts) if isinstance(event, TextMessage) else b"".join(parts))

    async def close(self, last: bytes = b"") -> None:
        """Send a last frame and the Close frame, and wait for that of the peer.

        Raises:
            trio_websocket.ConnectionClosed: The WebSocket was lost meanwhile.
        """
        if last and self._close_reason is None:
            await self.send_frame(last)
        if self._close_reason is None:
            await self._send(CloseConnection(code=1000))
            self._close_reason = trio_websocket.CloseReason(1000, None)
            await self._close_handshake.wait()

    async def _close_web_socket(self, code: int, reason: str | None = None) -> None:
        self._close_reason = trio_websocket.CloseReason(code, reason)
