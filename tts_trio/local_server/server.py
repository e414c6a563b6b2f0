"""The local server, in memory or on a port."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Never

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
    """A server that speaks ElevenLabs' protocol over any stream, with HTTP and WebSocket.

    Args:
        behavior: The behavior of the server. The attribute `behavior` can be replaced at any time, even during a call.
        voice: The voice; None: `EspeakVoice`, which speaks in a thread. A `MockClock` that jumps does not wait for
            threads, so tests on such a clock need `ToneVoice`.
        ssl_context: The server's TLS context, for TLS on every connection; None: no TLS.
        record: A function that is called with every record; None: the server appends the records to `records`.

    Attributes:
        records: The records of all connections, in order.
        base_url: The URL for clients. The URL has no port until the server listens on a port.

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
        """The current behavior. Assigning a new one resets the counters of the faults."""
        return self._service.account.behavior

    @behavior.setter
    def behavior(self, behavior: Behavior) -> None:
        self._service.behave(behavior)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends, and close the stream."""
        self._connections += 1
        connection = Connection(stream, self._connections, self._service)
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await connection.serve(self._ssl_context)
            finally:
                self._scopes.discard(scope)

    def connect(self, nursery: trio.Nursery) -> MemoryStream:
        """Connect in memory. Return the client's end, and serve the server's end in `nursery`.

        Raises:
            OSError: The server does not accept connections, since `stop_accepting` was called.
            RuntimeError: The voice speaks in a thread, and the clock is a `MockClock` that jumps.
        """
        _check_clock(self._voice)
        if not self._accepting:
            raise ConnectionRefusedError("the local server does not accept connections now")
        client, server = memory_connection()
        nursery.start_soon(self.serve_stream, server)
        return client

    def stop_accepting(self) -> None:
        """Refuse new connections from now on. Open connections stay open until `drop_connections` ends them."""
        self._accepting = False
        if self._port:
            self._port.close()

    def resume(self) -> None:
        """Accept connections again, on the same port as before."""
        if self._port and not self._accepting:
            self._port.open()
        self._accepting = True

    def drop_connections(self) -> None:
        """End all connections now, without a closing handshake."""
        for scope in self._scopes:
            scope.cancel()

    def listen(self, nursery: trio.Nursery, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on a port, and serve its connections in `nursery`. `open_local_server` calls this method.

        Raises:
            OSError: The port is taken.
            RuntimeError: As for `connect`.
        """
        _check_clock(self._voice)
        self._port = _Port(port, host, nursery, self.serve_stream)
        self._port.open()
        self._accepting = True
        scheme = "http" if self._ssl_context is None else "https"
        name = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 - the address to listen on
        self.base_url = f"{scheme}://{name}:{self._port.number}"


def _check_clock(voice: Voice) -> None:
    clock = trio.lowlevel.current_clock()
    if voice.blocking and isinstance(clock, MockClock) and clock.autojump_threshold < math.inf:
        raise RuntimeError(
            f"voice: {type(voice).__name__} speaks in a thread, for which trio's MockClock does not wait;"
            " give the local server voice=ToneVoice()"
        )


@attrs.define(eq=False)
class _Port:
    """A port whose listening socket can be closed and opened again."""

    number: int
    _host: str
    _nursery: trio.Nursery
    _handler: Callable[[trio.SocketStream], Awaitable[None]]
    _cleanup: ExitStack = attrs.field(factory=ExitStack, init=False)

    def open(self) -> None:
        """Listen on the port. The first call replaces port 0 by a free port."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.create_server((self._host, self.number), family=family, backlog=_BACKLOG)
        self._cleanup.enter_context(listening)
        self.number = listening.getsockname()[1]
        scope = trio.CancelScope()
        self._cleanup.callback(scope.cancel)
        self._nursery.start_soon(self._serve, trio.SocketListener(trio.socket.from_stdlib_socket(listening)), scope)

    def close(self) -> None:
        """Stop listening at once."""
        self._cleanup.close()

    async def _serve(self, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        with scope:
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
        behavior: The behavior of the server.
        voice: The voice, as for `LocalServer`.
        host: The address to listen on. The server serves everybody who reaches this address, so prefer loopback.
        port: The port to listen on; 0: any free port.
        ssl_context: The server's TLS context; None: no TLS.
        record: A function that is called with every record; None: the server appends the records to `records`.

    Yields:
        The server. Its `base_url` is the URL for clients.

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


async def serve_local_server(
    behavior: Behavior | None = None,
    *,
    voice: Voice | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    record: Callable[[Record], object] | None = None,
    task_status: trio.TaskStatus[LocalServer] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Serve on a port until the task is cancelled: `server = await nursery.start(serve_local_server, behavior)`.

    Args:
        behavior: The behavior of the server.
        voice: As for `open_local_server`.
        host: As for `open_local_server`.
        port: As for `open_local_server`.
        ssl_context: As for `open_local_server`.
        record: As for `open_local_server`.
        task_status: Is told the server, when it listens.

    It raises what `open_local_server` does.
    """
    serving = open_local_server(behavior, voice=voice, host=host, port=port, ssl_context=ssl_context, record=record)
    async with serving as server:
        task_status.started(server)
        await trio.sleep_forever()
    raise AssertionError
