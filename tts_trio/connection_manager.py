"""Keeps hot sockets for one conversation: for its own voice, and for those that single replies have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable

import attrs
import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.validators import require
from tts_trio.speech.telemetry import telemetry_for
from tts_trio.transport.connection import Connection
from tts_trio.transport.socket_pool import SocketPool
from tts_trio.transport.streams import OpenStream, open_stream
from tts_trio.transport.surroundings import Counts, Surroundings
from tts_trio.wire import endpoint_for
from tts_trio.wire.endpoint import Endpoint

_MOST_OTHERS = 3  # kinds of sockets that are kept hot besides that of the configuration


@attrs.frozen
class ConnectionStatistics:
    """The state of a `WebSocketConnectionManager`, and its counts since the beginning.

    Attributes:
        hot: The number of sockets that can take an utterance now.
        dialing: The number of sockets that are being dialed, or will be after a backoff.
        in_use: The number of utterances that are spoken over the sockets now.
        dials: The number of dials that were begun.
        losses: The number of sockets that were lost after they had become hot.
        keep_alives: The number of keep-alive frames that were sent.
    """

    hot: int
    dialing: int
    in_use: int
    dials: int
    losses: int
    keep_alives: int


class WebSocketConnectionManager(SingleUse):
    """The WebSockets of one conversation: make one manager for each call. An async context manager.

    Inside of the block it dials sockets ahead of need, and replaces them in the background when they are used or lost.
    With `spares=1` there is always a hot socket behind the one in use. With an endpoint whose sockets carry several
    utterances at once, the conversation stays on one socket as long as this one has room.

        async with WebSocketConnectionManager(config) as connections:
            await connections.connect()  # optional
            async with TTSManager(config, connections) as tts:
                ...
    """

    def __init__(self, config: TTSConfig, *, open_stream: OpenStream = open_stream) -> None:
        """Prepare a manager; it dials when its block is entered.

        Args:
            config: The host, the voice, the API key and the timeouts.
            open_stream: The function that opens byte streams to the service, TLS included. Tests pass another one.

        Raises:
            TypeError: `config` is not a `TTSConfig`.
        """
        require("config", config, TTSConfig)
        self.config = config
        self.open_stream = open_stream
        self._surroundings: Surroundings | None = None
        self._own_endpoint = endpoint_for(config)
        self._pools: dict[str, SocketPool] = {}  # by their kinds, the least recently used first
        self._closing: tuple[SocketPool, ...] = ()  # those of them that others took the place of
        self._counts = Counts()

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        with single_error:
            async with trio.open_nursery() as nursery:
                self._surroundings = Surroundings(
                    nursery,
                    self.open_stream,
                    self._counts,
                    check_open=self._require_open,
                    telemetry=telemetry_for(self.config),
                    slot_changed=self._drop_least_used,
                )
                self._pool_for(self._own_endpoint).replenish()
                try:
                    yield
                finally:
                    await self.close()  # noqa: ASYNC102 - shielded and bounded there

    def __repr__(self) -> str:
        if not self._entered:
            return "<WebSocketConnectionManager, not entered>"
        if self._surroundings is None:
            return "<WebSocketConnectionManager, closed>"
        numbers = self.statistics()
        return f"<WebSocketConnectionManager, {numbers.hot} hot, {numbers.dialing} dialing, {numbers.in_use} in use>"

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections, and the counts since the beginning."""
        pools = [*self._pools.values(), *self._closing]
        return ConnectionStatistics(
            hot=sum(pool.hot for pool in pools),
            dialing=sum(pool.dialing for pool in pools),
            in_use=sum(pool.in_use for pool in pools),
            dials=self._counts.dials,
            losses=self._counts.losses,
            keep_alives=self._counts.keep_alives + sum(socket.keep_alives for pool in pools for socket in pool.sockets),
        )

    @trio.lowlevel.enable_ki_protection
    async def connect(self) -> None:
        """Wait until a connection is hot. This is optional: the first utterance waits too.

        Raises:
            TTSConnectionError: There was no connection within `timeouts.connect`; another call tries again.
            TTSError: A retry cannot help: a wrong API key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed, or was not entered.
        """
        await self._pool_for(self._own_endpoint).connect()

    @asynccontextmanager
    async def get_connection(self) -> AsyncGenerator[Connection]:
        """Wait for a hot connection, and hold it until the block ends; it raises what `connect` does.

        It is for tools that write the frames of an utterance themselves. `TTSManager` acquires its own connections.
        """
        connection = await self._acquire(self.config)
        try:
            yield connection
        finally:
            connection.close()

    def _acquire(self, config: TTSConfig) -> Awaitable[Connection]:
        endpoint = self._own_endpoint if config is self.config else endpoint_for(config)
        return self._pool_for(endpoint).acquire(endpoint)

    def _pool_for(self, endpoint: Endpoint) -> SocketPool:
        """Return the sockets of the endpoint's kind, which are the most recently used ones now."""
        self._require_open()
        assert self._surroundings is not None
        kind = endpoint.kind
        self._pools[kind] = pool = self._pools.pop(kind, None) or SocketPool(endpoint, self._surroundings)
        self._drop_least_used()
        return pool

    def _drop_least_used(self) -> None:
        """Close the sockets of the kinds that were not used for the longest time, if there are too many kinds.

        Those in use are kept until they are free, and so is the kind that was used last.
        """
        if len(self._pools) <= 1 + _MOST_OTHERS:
            return
        self._closing = tuple(pool for pool in self._closing if pool.sockets)
        for kind, pool in list(self._pools.items())[:-1]:
            if len(self._pools) == 1 + _MOST_OTHERS:
                return
            if kind != self._own_endpoint.kind and not pool.needed:
                del self._pools[kind]
                pool.close()
                self._closing += (pool,)

    @trio.lowlevel.enable_ki_protection
    async def close(self) -> None:
        """Close all sockets, those that are idle with the closing handshake, within `timeouts.close`.

        Afterwards the methods raise RuntimeError. A second `close` does nothing.
        """
        if self._surroundings is None:
            await trio.lowlevel.checkpoint()
        self._surroundings = None
        for pool in self._pools.values():
            pool.close()
        with trio.CancelScope(shield=True):  # bounded: no socket waits for its peer longer than timeouts.close
            for pool in (*self._pools.values(), *self._closing):
                await pool.wait_closed()
        self._pools.clear()  # which hold this manager: no cycle is left to the garbage collector
        self._closing = ()

    def _require_open(self) -> None:
        if self._surroundings is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")


def acquire_connection(
    connections: WebSocketConnectionManager, config: TTSConfig | None = None
) -> Awaitable[Connection]:
    """Acquire a hot connection for an utterance, whose driver closes it. It raises what `get_connection` does.

    Args:
        connections: The connection manager.
        config: The configuration of the utterance; None: the connection manager's.
    """
    return connections._acquire(config or connections.config)  # pyright: ignore[reportPrivateUsage] - see `get_connection`


def acquire_spare(connections: WebSocketConnectionManager, config: TTSConfig, beside: Connection) -> Connection | None:
    """Acquire a second connection for an utterance, on another socket if there is one; None if none is free at once."""
    endpoint = endpoint_for(config)
    pool = connections._pools.get(endpoint.kind)  # pyright: ignore[reportPrivateUsage] - as above
    return None if pool is None else pool.acquire_spare(endpoint, beside)


def expect_connection(connections: WebSocketConnectionManager, config: TTSConfig) -> None:
    """Dial what an utterance of this configuration will need, unless it is hot already. It does not wait.

    Raises:
        RuntimeError: The manager is closed, or was not entered.
    """
    connections._pool_for(endpoint_for(config)).expect()  # pyright: ignore[reportPrivateUsage] - users call `TTSManager.expect`
