"""The bytes of one connection, in and out, and the faults that are about bytes."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

import trio

from tts_trio.local_server.behavior import Fault, Point
from tts_trio.local_server.memory import MemoryStream
from tts_trio.local_server.record import Injected, Record
from tts_trio.local_server.service import Service
from tts_trio.local_server.weather import Scope

_READ_BYTES = 65536
_TRICKLE_SECONDS = 0.02  # between the pieces of a slow message
GARBAGE = b"\xff\x00\xfe" * 11


class HangUp(Exception):
    """The server drops the connection now."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Wire:
    """One connection's stream.

    Attributes:
        number: The number of the connection.
        ended_by_client: Whether the client closed TCP, or was found gone.
    """

    def __init__(self, stream: trio.abc.Stream, number: int, service: Service) -> None:
        self.stream = stream
        self.number = number
        self.ended_by_client = False
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

    async def send(self, data: bytes, *, trickle: float | None = None) -> None:
        """Send bytes, `trickle` of them a second if that is given.

        Raises:
            HangUp: The client is gone.
        """
        async with self._sending:
            try:
                if trickle is None:
                    await self.stream.send_all(data)
                    return
                step = max(1, round(trickle * _TRICKLE_SECONDS))
                for start in range(0, len(data), step):
                    await self.stream.send_all(data[start : start + step])
                    await trio.sleep(step / trickle)
            except trio.BrokenResourceError:
                self.ended_by_client = True
                raise HangUp(reset=False) from None

    async def suffer(self, fault: Fault) -> bool:
        """Do what the fault does, if that is the same for every message; else return False.

        Raises:
            HangUp: The connection is dropped.
        """
        self.record(Injected, fault=fault)
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
                await self.send(GARBAGE)
            case _:
                return False
        return True

    def strike(self, point: Point, scope: Scope, frame: int | None = None) -> list[Fault]:
        """Pass a point, and return the faults that strike there, in order. Call `suffer` with each."""
        return self._service.weather.strike(point, scope, frame)

    async def pass_point(self, point: Point, scope: Scope) -> None:
        """Pass a point at which no message is sent."""
        for fault in self.strike(point, scope):
            await self.suffer(fault)

    def record(self, what: type[Record], /, **fields: Any) -> None:
        """Put something on the record."""
        self._service.record(what(time=trio.current_time(), connection=self.number, **fields))

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
        _arm_reset(self.stream)

    def _deafen(self) -> None:
        self._deaf = True
        self._reading.cancel()


def _arm_reset(stream: Any) -> None:
    if isinstance(stream, trio.SSLStream):
        _arm_reset(cast("Any", stream).transport_stream)
    elif isinstance(stream, MemoryStream):
        stream.reset()
    elif isinstance(stream, trio.SocketStream):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
