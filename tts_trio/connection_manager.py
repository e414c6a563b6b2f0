"""Hot sockets for one conversation: dialled ahead of need, replaced when used or lost, closed well."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from tts_trio.config import TTSConfig
from tts_trio.connection import Connection
from tts_trio.dialling import Backoff, dial_limit
from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.scoped import Scoped
from tts_trio.transport import OpenStream, open_stream, single_error

logger = logging.getLogger(__name__)


@attrs.frozen
class ConnectionStatistics:
    """The state of a `WebSocketConnectionManager` and what it did so far.

    Attributes:
        hot: Connections that can serve an utterance now.
        dialling: Connections being made, those waiting out a backoff included.
        in_use: Connections that serve an utterance.
        dials: Dials begun.
        losses: Connections that were lost after they had become hot.
        keep_alives: Keep-alive frames sent.
    """

    hot: int
    dialling: int
    in_use: int
    dials: int
    losses: int
    keep_alives: int


class WebSocketConnectionManager(Scoped):
    """The WebSockets of one conversation. One for each call; nothing in it is shared between calls.

    An async context manager: inside of the block sockets are opened ahead of need, and replaced in the background when
    they are used or lost. With `spares=1` there is always one that is hot, behind the one in use.

        async with WebSocketConnectionManager(config) as connections:
            await connections.connect()  # optional
            async with TTSManager(config, connections) as tts:
                ...
    """

    def __init__(self, config: TTSConfig, *, open_stream: OpenStream = open_stream) -> None:
        """Prepare a manager; it dials when its block is entered.

        Args:
            config: Where to, with which voice, key and deadlines.
            open_stream: Opens byte streams to the service, TLS included; another one serves tests.
        """
        self.config = config
        self.open_stream = open_stream
        self._nursery: trio.Nursery | None = None
        self._connections: dict[Connection, trio.CancelScope] = {}  # and what ends the task of each
        self._retiring: set[Connection] = set()
        self._waiting = 0
        self._changed = trio.Event()
        self._hurry = trio.Event()
        self._backoff = Backoff()
        self._last_failure: TTSError | None = None
        self._refusal: TTSError | None = None  # trying again is no help: dialling stops until the next explicit call
        self._refusal_raised = False
        self._dials = self._losses = self._keep_alives = 0

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        with single_error():
            async with trio.open_nursery() as self._nursery:
                self._replenish()
                try:
                    yield
                finally:
                    await self.close()  # noqa: ASYNC102 - shielded and bounded there

    def __repr__(self) -> str:
        if not self._entered:
            return "<WebSocketConnectionManager, not entered>"
        if self._nursery is None:
            return "<WebSocketConnectionManager, closed>"
        numbers = self.statistics()
        return f"<WebSocketConnectionManager, {numbers.hot} hot, {numbers.dialling} dialling, {numbers.in_use} in use>"

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections and what was done so far."""
        states = [connection.state for connection in self._connections]
        return ConnectionStatistics(
            hot=states.count("hot"),
            dialling=states.count("dialling"),
            in_use=states.count("in use"),
            dials=self._dials,
            losses=self._losses,
            keep_alives=self._keep_alives + sum(connection.keep_alives for connection in self._connections),
        )

    async def connect(self) -> Connection:
        """Wait until a connection is hot, and return it without taking it.

        Raises:
            TTSConnectionError: There is none within `connect_timeout`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed or was not entered.
        """
        await trio.lowlevel.checkpoint()
        self._require_open()
        connection = self._usable()
        if connection is None:
            return await self._wait_for_hot()
        self._refusal = None  # it was another connection's, and this is an explicit call
        self._replenish()
        return connection

    async def get_connection(self) -> Connection:
        """Take a hot connection. It belongs to the caller until it ends; another is dialled behind it at once.

        Raises:
            TTSConnectionError: There is none within `connect_timeout`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed or was not entered.
        """
        connection = await self.connect()
        connection.state = "in use"
        self._retiring.discard(connection)
        self._replenish()
        return connection

    async def close(self) -> None:
        """End the manager: sockets are closed, the idle ones with a goodbye, in `close_timeout` at most.

        Afterwards its methods raise RuntimeError. Closing twice is no error.
        """
        if self._nursery is None:
            await trio.lowlevel.checkpoint()
        self._nursery = None
        for connection, scope in self._connections.items():
            connection.close(TTSError("the connection manager was closed"))
            scope.cancel(reason="the connection manager is closed")  # ends a dial; an open socket is shielded
        self._announce()
        with trio.CancelScope(shield=True):  # bounded: a socket gives its peer close_timeout and no more
            while self._connections:
                await self._changed.wait()

    def _require_open(self) -> None:
        if self._nursery is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")

    def _usable(self) -> Connection | None:
        """The oldest hot connection, but one that is to be retired only where there is no other."""
        usable = [connection for connection in self._connections if connection.usable]
        return max(usable, key=lambda c: (c not in self._retiring, c.hot_for()), default=None)

    async def _wait_for_hot(self) -> Connection:
        if self._refusal is not None and self._refusal_raised:
            self._refusal = None
        self._waiting += 1
        self._hurry.set()
        self._hurry = trio.Event()
        self._replenish(at_once=True)
        try:
            with trio.move_on_after(self.config.connect_timeout):
                while True:
                    self._require_open()
                    if self._refusal is not None:
                        self._refusal_raised = True
                        raise self._refusal
                    connection = self._usable()
                    if connection is not None:
                        return connection
                    await self._changed.wait()
        finally:
            self._waiting -= 1
        timeout = self.config.connect_timeout
        raise TTSConnectionError(
            f"no connection within {timeout:g} s"
            + (f"; the last try failed: {self._last_failure}" if self._last_failure else "")
        ) from self._last_failure

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _replenish(self, *, at_once: bool = False) -> None:
        """Dial as many connections as are wanted and neither hot nor on their way, after a backoff or at once."""
        if self._nursery is None or self._refusal is not None:
            return
        for connection in self._connections:
            self._backoff.connection_is_up(connection.hot_for())
        states = [connection.state for connection in self._connections if connection not in self._retiring]
        spares = self.config.spares if "in use" in states else max(1, self.config.spares)
        for _ in range(max(spares, self._waiting) - states.count("hot") - states.count("dialling")):
            connection = Connection(self.config, self.open_stream, on_hot=self._on_hot, on_old=self._on_old)
            # A cancellation of the caller's block is heard by the caller, and by these tasks when he has left.
            self._connections[connection] = trio.CancelScope(shield=True)
            self._nursery.start_soon(self._serve, connection, 0.0 if at_once else self._backoff.wait())

    async def _serve(self, connection: Connection, delay: float) -> None:
        """The life of one connection, from its dialling to its replacement."""
        limit = dial_limit()
        try:
            with self._connections[connection]:
                with trio.move_on_after(delay):
                    await self._hurry.wait()  # an explicit call does not wait for a backoff
                await limit.acquire_on_behalf_of(connection)
                if self._refusal is not None:  # told to another dial meanwhile: this one would hear the same
                    return
                self._dials += 1
                await connection.run()
                self._connection_ended(connection)
        except TTSError as error:
            self._dial_failed(error)
        finally:
            _release(limit, connection)
            self._keep_alives += connection.keep_alives
            del self._connections[connection]
            self._retiring.discard(connection)
            self._replenish()
            self._announce()

    def _on_hot(self, connection: Connection) -> None:
        _release(dial_limit(), connection)
        if self._retiring:
            self._retiring.pop().close()
        self._announce()

    def _on_old(self, connection: Connection) -> None:
        """Replace a spare before the service or a middlebox does; it serves until the new one is hot."""
        self._retiring.add(connection)
        self._replenish()

    def _dial_failed(self, error: TTSError) -> None:
        logger.info("a dial failed: %s", error)
        self._backoff.dial_failed()
        self._last_failure = error
        if not error.retryable:
            self._refuse(error)

    def _connection_ended(self, connection: Connection) -> None:
        error = connection.error
        if error is None:
            self._backoff.succeeded()
            return
        self._backoff.connection_lost(connection.hot_for())
        logger.info("a connection was lost after %.1f s: %s", connection.hot_for(), error)
        self._losses += 1
        self._last_failure = error
        if not error.retryable:
            self._refuse(error, raised=connection.served)

    def _refuse(self, error: TTSError, *, raised: bool = False) -> None:
        self._refusal, self._refusal_raised = error, raised


def _release(limit: trio.CapacityLimiter, connection: Connection) -> None:
    if connection in limit.statistics().borrowers:
        limit.release_on_behalf_of(connection)
