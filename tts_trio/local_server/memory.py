"""A TCP connection in memory, with a window, FIN and RST, for tests without sockets and in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

WINDOW = 256 * 1024
"""The bytes that one side can write before the other side reads, as with the buffers of a loopback connection."""


@attrs.define(eq=False)
class _Pipe:
    """One direction of a connection."""

    data: bytearray = attrs.field(factory=bytearray)
    ended: bool = False  # FIN was sent: the end follows the data
    dead: bool = False  # RST was sent, or the reader has closed
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection that `memory_connection` made."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._busy = {"sending": False, "receiving": False}

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data. Wait while the window is full. A cancelled call may have sent a part of the data."""
        async with self._alone("sending"):
            rest = memoryview(bytes(data))
            while rest:
                await self._until_writable()
                room = WINDOW - len(self._outgoing.data)
                self._outgoing.data += rest[:room]
                rest = rest[room:]
                self._outgoing.changed.unpark_all()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the window."""
        async with self._alone("sending"):
            await self._until_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for data and return it, or return `b""` after the peer's FIN."""
        async with self._alone("receiving"):
            pipe = self._incoming
            while not (pipe.data or pipe.ended or pipe.dead):
                await pipe.changed.park()
                self._check_open()
            if pipe.dead:
                raise trio.BrokenResourceError("connection reset by peer")
            data = bytes(pipe.data[: max_bytes or 65536])
            del pipe.data[: len(data)]
            pipe.changed.unpark_all()
            return data

    async def send_eof(self) -> None:
        """Send FIN."""
        async with self._alone("sending"):
            self._outgoing.ended = True
            self._outgoing.changed.unpark_all()

    async def aclose(self) -> None:
        """Close both directions. The peer can still read what was sent."""
        if not self._closed:
            self._closed = True
            self._outgoing.ended = True
            self._incoming.dead = True
            self._wake()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break both directions, like RST. Data that was not read is lost."""
        self._closed = True
        self._outgoing.dead = self._incoming.dead = True
        self._wake()

    async def _until_writable(self) -> None:
        while not self._outgoing.dead and len(self._outgoing.data) >= WINDOW:
            await self._outgoing.changed.park()
            self._check_open()
        if self._outgoing.dead or self._outgoing.ended:
            raise trio.BrokenResourceError("the connection is closed")

    def _wake(self) -> None:
        self._outgoing.changed.unpark_all()
        self._incoming.changed.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    @asynccontextmanager
    async def _alone(self, doing: str) -> AsyncGenerator[None]:
        if self._busy[doing]:
            raise trio.BusyResourceError(f"another task is {doing}")
        self._busy[doing] = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_open()
            yield
        finally:
            self._busy[doing] = False


def memory_connection() -> tuple[MemoryStream, MemoryStream]:
    """Make a connection and return its two ends."""
    one, other = _Pipe(), _Pipe()
    return MemoryStream(one, other), MemoryStream(other, one)
