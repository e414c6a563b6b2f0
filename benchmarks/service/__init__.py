"""The service of the measurements, in a process of its own: the local server behind TLS and links with a round trip.

On one more port, `replay` serves hundreds of calls.

It speaks in tones, which cost it next to nothing, and notes when it hears and when it says what: the time of a message
is that at which it begins to be encrypted, on the server's side of the link. Commands come in as JSON lines:

    {"behavior": {…}}    from now on; the fields are those of `Behavior`
    {"events": true}      what was heard and said since the last time
"""

from __future__ import annotations

import itertools
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import trio
import trustme

from benchmarks.service.replay import replay
from benchmarks.slow_link import SlowLink
from tts_trio.local_server import (
    Accepted,
    Behavior,
    CloseReceived,
    Ended,
    LocalServer,
    Received,
    Record,
    Requested,
    Sent,
    ToneVoice,
)

ROUND_TRIPS = (0.0, 0.04, 0.1, 0.2)
_HOST = "127.0.0.1"
_BACKLOG = 1024


class StampedStream(trio.abc.Stream):
    """Notes when it was last asked to send."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.sent_at = 0.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self.sent_at = time.perf_counter()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Do what the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


class MeasuredService:
    """The server, its ports, one for each round trip, and what happened."""

    def __init__(self) -> None:
        self._server = LocalServer(voice=ToneVoice(), record=self._note)
        self._events: list[dict[str, Any]] = []
        self._accepted: StampedStream | None = None
        self._streams: dict[int, StampedStream] = {}

    async def run(self, ca_file: Path) -> None:
        """Serve, and obey, until there are no more commands."""
        context = _certify(ca_file)
        async with trio.open_nursery() as nursery:
            handlers = [self._handler(context, round_trip) for round_trip in ROUND_TRIPS]
            ports: list[int] = []
            for handler in (*handlers, self._replayer(context)):
                listener = (await trio.open_tcp_listeners(0, host=_HOST, backlog=_BACKLOG))[0]
                ports.append(listener.socket.getsockname()[1])
                nursery.start_soon(trio.serve_listeners, handler, [listener])
            print(json.dumps({"ports": ports}), flush=True)
            while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                print(json.dumps(self._obey(json.loads(line))), flush=True)
            nursery.cancel_scope.cancel()

    def _obey(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        if "behavior" in command:
            self._server.behavior = Behavior(**command["behavior"])
        events, self._events = self._events, []
        return events

    def _handler(self, context: ssl.SSLContext, round_trip: float) -> Any:
        async def serve(stream: trio.SocketStream) -> None:
            async with trio.open_nursery() as nursery:
                link = SlowLink(stream, round_trip, nursery, dialed=True) if round_trip else stream
                encrypted = trio.SSLStream(link, context, server_side=True, https_compatible=True)
                try:
                    await encrypted.do_handshake()
                except trio.BrokenResourceError:
                    await trio.aclose_forcefully(stream)
                else:
                    self._accepted = StampedStream(encrypted)
                    await self._server.serve_stream(self._accepted)
                nursery.cancel_scope.cancel()

        return serve

    def _replayer(self, context: ssl.SSLContext) -> Any:
        numbers = itertools.count()

        async def serve(stream: trio.SocketStream) -> None:
            encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            connection = next(numbers)

            def note(**event: Any) -> None:
                self._events.append({"connection": connection, **event})

            try:
                await encrypted.do_handshake()
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(stream)
            else:
                await replay(encrypted, note)

        return serve

    def _note(self, record: Record) -> None:
        now = time.perf_counter()
        match record:
            case Accepted():
                assert self._accepted is not None
                self._streams[record.connection] = self._accepted
                return
            case Requested(path=path):
                fields: dict[str, Any] = {"kind": "request", "path": path}
            case Received(frame="text", message=message):
                fields = {"kind": "text", "message": message}
            case Sent(kind="audio" | "final" | "body" as kind, size=size):
                now = self._streams[record.connection].sent_at
                fields = {"kind": kind, "size": size}
            case CloseReceived():
                fields = {"kind": "close"}
            case Ended():
                del self._streams[record.connection]
                fields = {"kind": "ended"}
            case _:
                return
        self._events.append({"at": now, "connection": record.connection, **fields})


def _certify(ca_file: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(_HOST).configure_cert(context)
    return context
