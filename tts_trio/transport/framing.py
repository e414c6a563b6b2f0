"""trio-websocket's connection, without what it does to a message between the stream and the task that takes it.

trio-websocket's reader puts a message into a channel, and another task takes it out, which costs a message two more
task switches and a socket one more task. Here the reader itself hands it on. A message of text in one frame is taken
out of the stream before trio-websocket sees it (`frames.py`). trio-websocket is left with the rest: the handshake, the
other frames, the answers to pings, and closing.

This uses what trio-websocket keeps for itself and its subclasses. All of it has been there for years, and
`tests/unit/transport/test_framing.py` tells whether the releases that `pyproject.toml` allows have it still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import trio
import trio_websocket
import wsproto
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tts_trio.errors import TTSConnectionError
from tts_trio.transport.frames import Frames

# In characters or bytes, and one for each fragment, since fragments of nothing would have no end. The service's own
# examples allow 16 MiB; a long sentence of PCM passes the 1 MiB of trio-websocket.
MAX_MESSAGE = 17 * 2**20

_RECEIVE_BYTES = 65536  # at trio-websocket's 4 KiB, a frame of 42 KiB costs five times the CPU
_AT_ONCE = 32  # messages, or frames, in one turn of the loop: of two bytes each, a read has room for 32,768


class _WithoutMessages(trio.abc.Stream):
    """The stream as trio-websocket sees it, out of which the messages of text are taken."""

    def __init__(self, stream: trio.abc.Stream, on_message: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_message = on_message
        self._frames = Frames(MAX_MESSAGE)
        self._pieces: Iterator[str | bytes] = iter(())
        self._count = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Hand on the messages that come, and return what comes that is none, or `b""` at the end."""
        while True:
            for piece in self._pieces:
                if isinstance(piece, str):
                    self._on_message(piece)
                self._count = (self._count + 1) % _AT_ONCE
                if not self._count:
                    await trio.lowlevel.checkpoint()
                if isinstance(piece, bytes):
                    return piece
            data = await self._stream.receive_some(max_bytes)
            if not data:
                return data
            self._pieces = self._frames.cut(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send as the stream does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class FramedConnection(trio_websocket.WebSocketConnection):
    """The client's end of a WebSocket over a stream. `send_message`, `ping`, `aclose` are trio-websocket's own."""

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
                which. `read` goes on until the stream ends, and a peer may leave that open.
        """
        super().__init__(
            _WithoutMessages(stream, on_message),
            wsproto.WSConnection(ConnectionType.CLIENT),
            host=host,
            path=path,
            client_extra_headers=headers,
            receive_buffer_size=_RECEIVE_BYTES,
        )
        self._on_message = on_message
        self._on_pong = on_pong
        self._on_close = on_close
        self._parts: list[Any] = []
        self._size = 0

    async def read(self) -> None:
        """Do the handshake, and read until the WebSocket is closed or lost; `closed` says why."""
        await self._reader_task()

    async def wait_open(self) -> None:
        """Wait until the handshake is done; where it fails, `read` raises."""
        await self._open_handshake.wait()
        self._forget_handshake()

    def _forget_handshake(self) -> None:
        """Drop what only the handshake needed, which is 4 KB; the rest of the protocol is an object of its own."""
        protocol: Any = self._wsproto
        self._wsproto = protocol.connection
        self._initial_request = self._connection_proposal = None

    async def send_ping(self, payload: bytes) -> None:
        """Send a ping; it is not waited for its pong."""
        if self.closed is not None:
            raise trio_websocket.ConnectionClosed(self.closed)
        await self._send(Ping(payload=payload))

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        self._parts.append(event.data)
        self._size += len(event.data) + 1
        if self._size > MAX_MESSAGE:
            raise TTSConnectionError(f"a message did not end within {MAX_MESSAGE} bytes")
        if event.message_finished:
            parts, self._parts, self._size = self._parts, [], 0
            self._on_message("".join(parts) if isinstance(event, TextMessage) else b"".join(parts))

    async def _handle_pong_event(self, event: Pong) -> None:
        self._on_pong(bytes(event.payload))
        await super()._handle_pong_event(event)

    async def _handle_close_connection_event(self, event: CloseConnection) -> None:
        try:
            await super()._handle_close_connection_event(event)
        finally:
            self._on_close()
