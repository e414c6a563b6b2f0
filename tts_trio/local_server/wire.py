"""The stream of one connection, and the faults that act on bytes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import trio

from tts_trio.local_server.behavior import Fault, Point
from tts_trio.local_server.memory import MemoryStream
from tts_trio.local_server.record import Injected, Record
from tts_trio.local_server.service import Scope, Service

_READ_BYTES = 65536
_TRICKLE_SECONDS = 0.02  # between the pieces of a message that a fault slows down
_GARBAGE = b"\xff\x00\xfe" * 11
_MASK_BYTES = 4
_EXTENDED_LENGTHS = {126: 2, 127: 8}

M = TypeVar("M", str, bytes)


class HangUp(Exception):
    """The server must drop the connection, with RST if `reset`, else with FIN."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Wire:
    """The stream of one connection.

    Attributes:
        ended_by_client: Whether the client closed TCP, or could not be reached.
        pace: The bytes to send per second; None: all at once.
    """

    def __init__(self, stream: trio.abc.Stream, number: int, service: Service) -> None:
        self.stream = stream
        self._number = number
        self.ended_by_client = False
        self.pace: float | None = None
        self._service = service
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._deaf = False

    async def receive(self) -> bytes:
        """Receive some bytes. Return `b""` after FIN or RST. Never return after `deafen`."""
        if not self._deaf:
            with trio.CancelScope() as self._reading:
                try:
                    data = await self.stream.receive_some(_READ_BYTES)
                except trio.BrokenResourceError:
                    data = b""
                self.ended_by_client = self.ended_by_client or not data
                return bytes(data)
        return await trio.sleep_forever()

    async def send(self, data: bytes) -> None:
        """Send bytes at the current pace.

        Raises:
            HangUp: The client has closed the connection.
        """
        async with self._sending:
            try:
                if not self.pace:
                    await self.stream.send_all(data)
                    return
                step = max(1, round(self.pace * _TRICKLE_SECONDS))
                for start in range(0, len(data), step):
                    await self.stream.send_all(data[start : start + step])
                    await trio.sleep(step / self.pace)
            except trio.BrokenResourceError:
                self.ended_by_client = True
                raise HangUp(reset=False) from None

    async def send_message(self, message: M, encode: Callable[[M, bool], bytes], faults: Sequence[Fault] = ()) -> bool:
        """Send a message, which the last fault may skip, cut, split or slow down. Return whether the message was sent.

        `encode` encodes a piece of the message. Its second argument says whether the piece is the last one.

        Raises:
            HangUp: The client has closed the connection, or the fault cuts the message.
        """
        action, value = (faults[-1].action, faults[-1].value) if faults else ("", None)
        if action == "skip":
            return False
        size, pace = max(1, len(message)), self.pace
        step = int(value or 1) if action == "split" else size
        self.pace = float(value or 1) if action == "trickle" else pace
        for end in range(step, size + step, step):
            data = encode(message[end - step : end], end >= size)
            if action == "cut":
                await self.send(data[: len(data) // 2])
                raise HangUp(reset=True)
            await self.send(data)
        self.pace = pace
        return True

    async def pass_point(
        self, point: Point, scope: Scope, act: Callable[[Fault], Awaitable[bool]] | None = None
    ) -> list[Fault]:
        """Pass a point, and apply the faults that strike there, one after the other.

        Args:
            point: The point.
            scope: The connection, request or utterance that passes the point.
            act: A function that applies faults that depend on the message, and returns False for all others.

        Returns:
            The faults that are not applied yet, which change the next message or answer.

        Raises:
            HangUp: A fault drops the connection.
        """
        remaining: list[Fault] = []
        for fault in self._service.strike(point, scope):
            self.record(Injected, fault=fault)
            if not (await self._apply(fault) or (act and await act(fault))):
                remaining.append(fault)
        return remaining

    async def _apply(self, fault: Fault) -> bool:
        """Apply a fault that does not depend on the message. Return False for other faults."""
        match fault.action:
            case "delay":
                await trio.sleep(float(fault.value or 0))
            case "freeze":
                self._deafen()
                async with self._sending:  # so that pings get no pong
                    await trio.sleep_forever()
            case "deafen":
                self._deafen()
            case "reset":
                raise HangUp(reset=True)
            case "eof":
                raise HangUp(reset=False)
            case "garbage":
                await self.send(_GARBAGE)
            case _:
                return False
        return True

    def record(self, what: type[Record], /, **fields: Any) -> None:
        """Record an event."""
        self._service.record(what(time=trio.current_time(), connection=self._number, **fields))

    async def start_tls(self, context: Any) -> None:
        """Do the server's half of a TLS handshake.

        Raises:
            HangUp: The handshake failed.
        """
        self.stream = trio.SSLStream(self.stream, context, server_side=True, https_compatible=True)
        try:
            await self.stream.do_handshake()
        except trio.BrokenResourceError:
            self.ended_by_client = True
            raise HangUp(reset=False) from None

    def arm_reset(self) -> None:
        """Make the next close of the stream send RST."""
        stream: Any = self.stream
        if isinstance(stream, trio.SSLStream):
            stream = cast("Any", stream).transport_stream
        if isinstance(stream, MemoryStream):
            stream.reset()
        elif isinstance(stream, trio.SocketStream):
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _deafen(self) -> None:
        self._deaf = True
        self._reading.cancel()


class FrameBoundary:
    """Tracks where the WebSocket frames of a client end."""

    def __init__(self) -> None:
        self._rest = bytearray()  # the bytes of a frame that is not complete yet

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end in the middle of a frame."""
        return bool(self._rest)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._rest += data
        while (size := _frame_size(self._rest)) <= len(self._rest):
            del self._rest[:size]


def _frame_size(data: bytearray) -> int:
    """Return the size of the frame at the start of `data`, or more than `len(data)` if its header is incomplete."""
    if len(data) < 2:
        return 2
    short = data[1] & 0x7F
    extended = _EXTENDED_LENGTHS.get(short, 0)
    header = 2 + extended + (_MASK_BYTES if data[1] & 0x80 else 0)
    return header + (int.from_bytes(data[2 : 2 + extended]) if extended else short)
