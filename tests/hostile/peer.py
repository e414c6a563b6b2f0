"""One connection of the hostile server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from tests.hostile.faults import Fault
from tests.hostile.http_peer import answer, speak_unasked
from tests.hostile.socket_peer import upgrade

if TYPE_CHECKING:
    from tests.hostile.server import HostileServer

_LIMIT = 2**20


class Gone(Exception):
    """The connection has ended, or is to end now."""


@attrs.frozen
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection.

    Attributes:
        resets: It is to end by a reset.
        sent: How many bytes were sent so far.
    """

    def __init__(self, server: HostileServer, tcp: trio.SocketStream, number: int) -> None:
        self.server = server
        self.number = number
        self.tcp = tcp
        self.stream: trio.abc.Stream = tcp
        self.resets = False
        self.sent = 0
        self.key = ""
        self._unread = bytearray()
        self._read = 0  # bytes, so far
        self._read_there = 0.0  # bytes that the client had read when it wrote what was read last
        self._buffer = bytearray()
        self._sending = trio.Lock()
        self._poisons: dict[str, float] = {}
        self._port = 0
        with suppress(OSError):  # the client is gone already
            self._port = tcp.socket.getpeername()[1]
        self._requests = 0

    async def serve(self) -> None:
        """Serve it to its end."""
        fault, _ = self.server.draw("accept", self.number)
        if fault is not None:
            await self._accept_badly(fault)
        if self.server.script.tls:
            self.stream = trio.SSLStream(self.tcp, self.server.context, server_side=True, https_compatible=True)
            with trio.move_on_after(5) as slow:
                await self.stream.do_handshake()
            if slow.cancelled_caught:
                raise Gone
        try:
            while (asked := await self._request()) is not None:
                if asked.headers.get("upgrade", "").lower() == "websocket":
                    break
                self._requests += 1
                await answer(self, asked, self._requests)
        finally:
            self._leave_unread()
        if asked is not None:
            await upgrade(self, asked)

    async def send(self, data: bytes) -> None:
        """Write bytes, whole."""
        async with self._sending:
            await self.stream.send_all(data)
            self.sent += len(data)

    async def receive(self) -> bytes:
        """Read bytes: at most what the client wrote at once.

        Raises:
            Gone: There are no more.
        """
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        data = await self._some()
        if not data:
            raise Gone
        return data

    async def say_nothing(self) -> None:
        """Read, and say nothing."""
        while True:
            await self.receive()

    async def end(self, how: str) -> None:
        """End the connection.

        Raises:
            Gone: Always.
        """
        self.server.note(f"connection {self.number}: {how}")
        self.resets = how == "reset"
        raise Gone

    def poisoned(self, what: str, known: float) -> None:
        """Note something that nobody asked for, and that it is known for that once so many bytes in all are read."""
        self._poisons[what] = known

    async def send_unasked(self, what: str, data: bytes, *, before: bytes = b"") -> None:
        """Send what nobody asked for, which is known for that by its first byte."""
        self.poisoned(what, self.sent + len(before) + 1)
        await self.send(before + data)

    def asks(self) -> None:
        """Note that something is asked for, by what was read last.

        What the client had not read when it wrote that crossed it: on its way it looks like the answer, for no message
        says what it answers. Both sides count bytes: by their clocks it would depend on who gets the processor when.
        """
        crossed = {what for what, known in self._poisons.items() if known > self._read_there}
        if crossed:
            self.server.note(f"connection {self.number}: the request crossed {crossed}")
            self.server.crossed.update(crossed)

    def _leave_unread(self) -> None:
        """Note what crossed a request that nobody will read, because the connection ends before that."""
        for written in self.server.writes.get(self._port, ()):
            if written.end > self._read:
                self._read_there = written.read
                self.asks()

    async def _accept_badly(self, fault: Fault) -> None:
        match fault.name:
            case "hang up":
                await trio.sleep(fault.delay)
                await self.end(fault.how)
            case "say nothing":
                await self.say_nothing()
            case "garbage":
                await self.send(fault.how)
                await self.say_nothing()
            case _:
                await trio.sleep(fault.delay)

    async def _request(self) -> Asked | None:
        """Read a request; None at the end of the connection."""
        fault, _ = self.server.draw("idle", self.number, self._requests, key=self.key or None)
        if fault is not None and not self._buffer:
            with trio.move_on_after(fault.delay) as quiet:
                self._buffer += await self._some()
            if quiet.cancelled_caught:
                await speak_unasked(self, fault)
        while b"\r\n\r\n" not in self._buffer:
            data = await self._some()
            if not data or len(self._buffer) > _LIMIT:
                return None
            self._buffer += data
        self.asks()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.key = headers.get("xi-api-key", "")
        length = int(headers.get("content-length", "0"))
        while len(rest) < length:
            data = await self._some()
            if not data:
                return None
            rest += data
        self._buffer = bytearray(rest[length:])
        return Asked(method, path, headers, rest[:length])

    async def _some(self) -> bytes:
        """Read what the client wrote at once, or a part of it; b"" at the end of the connection."""
        if not self._unread:
            try:
                self._unread += await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return b""
        writes = self.server.writes.get(self._port, ())
        while writes and writes[0].end <= self._read:
            writes.popleft()
        size = len(self._unread)
        if writes:
            size = min(size, writes[0].end - self._read)
            self._read_there = writes[0].read
        data = bytes(self._unread[:size])
        del self._unread[:size]
        self._read += size
        return data
