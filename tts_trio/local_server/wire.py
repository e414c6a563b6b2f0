"""The bytes of one connection, in and out, and the faults that are about bytes."""

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
_TRICKLE_SECONDS = 0.02  # between the pieces of a slow message
_GARBAGE = b"\xff\x00\xfe" * 11
_MASK_BYTES = 4
_EXTENDED_LENGTHS = {126: 2, 127: 8}

M = TypeVar("M", str, bytes)


class HangUp(Exception):
    """The server drops the connection now."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Wire:
    """One connection's stream.

    Attributes:
        ended_by_client: Whether the client closed TCP, or was found gone.
        pace: The bytes to send in a second; None: all at once.
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
        """Receive some bytes; `b""` once the client is gone, however it went."""
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
        """Send bytes.

        Raises:
            HangUp: The client is gone.
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
        """Send a message as the last of its faults wants it, and return whether it was sent.

        `encode` encodes a piece of the message, and is told whether the piece is the last one.

        Raises:
            HangUp: The client is gone, or the fault cuts the message.
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
        """Pass a point: the faults that strike there do what they do, one after the other.

        Args:
            point: The point.
            scope: The connection, request or utterance that passes it.
            act: What does the faults that are not about bytes alone, and says whether it did.

        Returns:
            The faults that remain, which change what is sent next.

        Raises:
            HangUp: The connection is dropped.
        """
        remaining: list[Fault] = []
        for fault in self._service.strike(point, scope):
            self.record(Injected, fault=fault)
            if not (await self._suffer(fault) or (act and await act(fault))):
                remaining.append(fault)
        return remaining

    async def _suffer(self, fault: Fault) -> bool:
        """Do what the fault does, if that is the same for every message; else return False."""
        match fault.action:
            case "delay":
                await trio.sleep(float(fault.value or 0))
            case "freeze":
                self._deafen()
                async with self._sending:  # pings are not answered, either
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
        """Put something on the record."""
        self._service.record(what(time=trio.current_time(), connection=self._number, **fields))

    async def start_tls(self, context: Any) -> None:
        """Do the server's half of a TLS handshake.

        Raises:
            HangUp: It failed.
        """
        self.stream = trio.SSLStream(self.stream, context, server_side=True, https_compatible=True)
        try:
            await self.stream.do_handshake()
        except trio.BrokenResourceError:
            self.ended_by_client = True
            raise HangUp(reset=False) from None

    def arm_reset(self) -> None:
        """Make the close of the stream an RST."""
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
    """Follows a client's bytes from WebSocket frame to frame."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of a frame that is not whole yet

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
    """Give the size of the frame that begins here; while its header is not whole, a size that is not reached yet."""
    if len(data) < 2:
        return 2
    short = data[1] & 0x7F
    extended = _EXTENDED_LENGTHS.get(short, 0)
    header = 2 + extended + (_MASK_BYTES if data[1] & 0x80 else 0)
    return header + (int.from_bytes(data[2 : 2 + extended]) if extended else short)
