"""The local server: in memory, or on a port."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import MockClock

from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.connection import Connection
from tts_trio.local_server.espeak import EspeakVoice
from tts_trio.local_server.memory import MemoryStream, memory_connection
from tts_trio.local_server.record import Record
from tts_trio.local_server.service import Service
from tts_trio.local_server.speech import Voice

_BACKLOG = 1024


class LocalServer:
    """A server that speaks ElevenLabs' protocol, HTTP and WebSocket alike, over any stream.

    Args:
        behavior: How the server behaves. The attribute can be replaced at any time, also during a call.
        voice: The voice that speaks; None: `EspeakVoice`, in a thread. On trio's `MockClock` give `ToneVoice`: a clock
            that jumps does not wait for threads.
        ssl_context: The context of a server, for TLS on every connection; None: no TLS.
        record: A function that is called with every record; None: they are kept in `records`.

    Attributes:
        records: What each side sent, in order.
        base_url: The URL that clients need. It has no port until the server listens on one.

    Raises:
        ImportError: No voice is given, and the extra `voice` is not installed.
    """

    def __init__(
        self,
        behavior: Behavior | None = None,
        *,
        voice: Voice | None = None,
        ssl_context: ssl.SSLContext | None = None,
        record: Callable[[Record], object] | None = None,
    ) -> None:
        self.records: list[Record] = []
        self.base_url = "http://127.0.0.1" if ssl_context is None else "https://127.0.0.1"
        self._voice = voice or EspeakVoice()
        self._service = Service(behavior or Behavior(), self._voice, record or self.records.append)
        self._ssl_context = ssl_context
        self._connections = 0
        self._scopes: set[trio.CancelScope] = set()
        self._accepting = True
        self._port: _Port | None = None

    @property
    def behavior(self) -> Behavior:
        """How the server behaves now. Whoever replaces it also resets the counters of the faults."""
        return self._service.account.behavior

    @behavior.setter
    def behavior(self, behavior: Behavior) -> None:
        self._service.behave(behavior)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends, and close it."""
        self._connections += 1
        connection = Connection(stream, self._connections, self._service)
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await connection.serve(self._ssl_context)
            finally:
                self._scopes.discard(scope)

    def connect(self, nursery: trio.Nursery) -> MemoryStream:
        """Connect in memory: return the client's end; the server's end is served in `nursery`.

        Raises:
            OSError: After `stop_accepting`, as with a port on which no process listens.
            RuntimeError: The voice speaks in a thread, and the clock is a `MockClock` that jumps.
        """
        _check_clock(self._voice)
        if not self._accepting:
            raise ConnectionRefusedError("the local server does not accept connections now")
        client, server = memory_connection()
        nursery.start_soon(self.serve_stream, server)
        return client

    def stop_accepting(self) -> None:
        """Refuse new connections from now on. Open ones live on until `drop_connections` ends them."""
        self._accepting = False
        if self._port:
            self._port.close()

    def resume(self) -> None:
        """Accept connections again, on the same port."""
        self._accepting = True
        if self._port:
            self._port.open()

    def drop_connections(self) -> None:
        """End all connections now, without a word."""
        for scope in self._scopes:
            scope.cancel()

    def listen(self, nursery: trio.Nursery, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on a port too, and serve in `nursery`; `open_local_server` does it for you.

        Raises:
            OSError: The port is taken.
            RuntimeError: As for `connect`.
        """
        _check_clock(self._voice)
        self._port = _Port(port, host, nursery, self.serve_stream)
        self._port.open()
        scheme = "http" if self._ssl_context is None else "https"
        name = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 - as it was said
        self.base_url = f"{scheme}://{name}:{self._port.number}"


def _check_clock(voice: Voice) -> None:
    clock = trio.lowlevel.current_clock()
    if voice.blocking and isinstance(clock, MockClock) and clock.autojump_threshold < math.inf:
        raise RuntimeError(
            f"voice: {type(voice).__name__} speaks in a thread, for which trio's MockClock does not wait: nothing would"
            " be spoken in time; give the local server voice=ToneVoice()"
        )


@attrs.define(eq=False)
class _Port:
    """A listening socket that can be closed and opened again."""

    number: int
    _host: str
    _nursery: trio.Nursery
    _handler: Callable[[trio.SocketStream], Awaitable[None]]
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _socket: socket.socket | None = attrs.field(default=None, init=False)

    def open(self) -> None:
        """Listen, on the port of the last time if there was one."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server((self._host, self.number), family=family, backlog=_BACKLOG)
        self.number = self._socket.getsockname()[1]
        self._scope = trio.CancelScope()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        self._nursery.start_soon(self._serve, listener, self._scope)

    def close(self) -> None:
        """Stop listening, at once."""
        if self._socket is not None:
            self._scope.cancel()
            self._socket.close()
            self._socket = None

    async def _serve(self, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        with scope:
            async with listener:
                await trio.serve_listeners(self._handler, [listener], handler_nursery=self._nursery)


@asynccontextmanager
async def open_local_server(
    behavior: Behavior | None = None,
    *,
    voice: Voice | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    record: Callable[[Record], object] | None = None,
) -> AsyncGenerator[LocalServer]:
    """Serve on a port for as long as the block runs.

    Args:
        behavior: How the server behaves.
        voice: The voice that speaks, as for `LocalServer`.
        host: The address to listen on. Anybody who reaches it is served, so think before it is not loopback.
        port: The port to listen on; 0: any free one.
        ssl_context: The context of a server, for TLS; None: no TLS.
        record: A function that is called with every record; None: they are kept in `records`.

    Yields:
        The server; its `base_url` is where clients go.

    Raises:
        OSError: The port is taken.
        ImportError: As for `LocalServer`.
        RuntimeError: As for `LocalServer.connect`.
    """
    server = LocalServer(behavior, voice=voice, ssl_context=ssl_context, record=record)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            server.listen(nursery, host=host, port=port)
            yield server
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again below, outside the nursery's group
            failure = error
        finally:
            server.stop_accepting()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
