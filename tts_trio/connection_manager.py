"""Keeps hot sockets for one conversation: dials them ahead of need, and replaces those that are used or lost."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import AsyncGenerator, Awaitable

import attrs
import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import spare_connections
from tts_trio.config.validators import require
from tts_trio.errors import ConcurrencyError, TTSConnectionError, TTSError, unexpected
from tts_trio.limits.limiter import learn_from
from tts_trio.speech.telemetry import telemetry_for
from tts_trio.transport.connection import Connection
from tts_trio.transport.dialing import DialBackoff, DialTurn
from tts_trio.transport.hot_socket import HotSocket, SocketState
from tts_trio.transport.streams import OpenStream, open_stream
from tts_trio.transport.timers import Countdown
from tts_trio.wire import endpoint_for

logger = logging.getLogger(__name__)


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
        self._nursery: trio.Nursery | None = None
        self._endpoint = endpoint_for(config)
        self._sockets: dict[HotSocket, trio.CancelScope] = {}  # each with the scope around its task
        self._waiting = 0  # callers that wait for a hot socket
        self._changed = trio.Event()
        self._dial_now = trio.Event()
        self._backoff = DialBackoff()
        self._last_failure: TTSError | None = None
        self._failures = 0  # dials that failed
        self._down_since = math.inf  # when the first of the dials failed that failed since the last success
        self._permanent_error: TTSError | None = None  # stops the dialing until the next explicit call
        self._permanent_error_raised = False  # whether a caller has got this error
        self._dials = self._losses = self._keep_alives = 0

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        self._telemetry = telemetry_for(self.config)
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
        return f"<WebSocketConnectionManager, {numbers.hot} hot, {numbers.dialing} dialing, {numbers.in_use} in use>"

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections, and the counts since the beginning."""
        return ConnectionStatistics(
            hot=sum(socket.usable for socket in self._sockets),
            dialing=sum(socket.state is SocketState.DIALING for socket in self._sockets),
            in_use=sum(socket.slots.utterances for socket in self._sockets),
            dials=self._dials,
            losses=self._losses,
            keep_alives=self._keep_alives + sum(socket.keep_alives for socket in self._sockets),
        )

    @trio.lowlevel.enable_ki_protection
    async def connect(self) -> None:
        """Wait until a connection is hot. This is optional: the first utterance waits too.

        Raises:
            TTSConnectionError: There was no connection within `timeouts.connect`; another call tries again.
            TTSError: A retry cannot help: a wrong API key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed, or was not entered.
        """
        await self._hot_socket()

    @asynccontextmanager
    async def get_connection(self) -> AsyncGenerator[Connection]:
        """Wait for a hot connection, and hold it until the block ends; it raises what `connect` does.

        It is for tools that write the frames of an utterance themselves. `TTSManager` acquires its own connections.
        """
        connection = await self._acquire()
        try:
            yield connection
        finally:
            connection.close()

    @trio.lowlevel.enable_ki_protection
    async def _acquire(self) -> Connection:
        socket = await self._hot_socket()
        connection = socket.acquire()
        self._replenish()
        self._probe_spares()
        return connection

    @trio.lowlevel.enable_ki_protection
    async def close(self) -> None:
        """Close all sockets, those that are idle with the closing handshake, within `timeouts.close`.

        Afterwards the methods raise RuntimeError. A second `close` does nothing.
        """
        if self._nursery is None:
            await trio.lowlevel.checkpoint()
        self._nursery = None
        for socket, scope in self._sockets.items():
            socket.close(TTSError("the connection manager was closed"))
            scope.cancel(reason="the connection manager is closed")  # ends a dial; an open socket is shielded
        self._announce()
        with trio.CancelScope(shield=True):  # bounded: no socket waits for its peer longer than timeouts.close
            while self._sockets:
                await self._changed.wait()

    def _require_open(self) -> None:
        if self._nursery is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")

    async def _hot_socket(self) -> HotSocket:
        """Wait for a socket that can take an utterance. The caller must acquire it before its next checkpoint."""
        await trio.lowlevel.checkpoint()
        self._require_open()
        socket = self._oldest_usable()
        if socket is None:
            return await self._wait_for_hot()
        self._permanent_error = None  # this explicit call begins the dialing again
        self._replenish()
        return socket

    def _oldest_usable(self) -> HotSocket | None:
        """Return the oldest socket that can take an utterance; an aging one only if there is no other."""
        usable = [socket for socket in self._sockets if socket.usable]
        return max(usable, key=lambda s: (s.state is not SocketState.AGING, s.hot_for()), default=None)

    async def _wait_for_hot(self) -> HotSocket:
        if self._permanent_error is not None and self._permanent_error_raised:
            self._permanent_error = None
        self._waiting += 1
        self._dial_now.set()
        self._dial_now = trio.Event()
        self._replenish(at_once=True)
        timeout, failures = self.config.timeouts.connect, self._failures
        countdown = Countdown(timeout)
        try:
            while True:
                self._require_open()
                if self._permanent_error is not None:
                    self._permanent_error_raised = True
                    raise copy.copy(self._permanent_error) from self._permanent_error.__cause__
                socket = self._oldest_usable()
                if socket is not None:
                    return socket  # with no checkpoint in between, at which another call could acquire it
                if self._failures > failures and self._is_down():
                    assert self._last_failure is not None
                    raise copy.copy(self._last_failure) from self._last_failure.__cause__
                if not await countdown.wait(self._changed):
                    break
        finally:
            self._waiting -= 1
        raise TTSConnectionError(
            f"no connection within {timeout:g} s (timeouts.connect)"
            + (f"; the last dial failed: {self._last_failure}" if self._last_failure else "")
        ) from self._last_failure and self._last_failure.__cause__

    def _is_down(self) -> bool:
        """Whether all dials have failed for `timeouts.connect` and none goes on, so that waiting cannot help."""
        away = trio.current_time() - self._down_since >= self.config.timeouts.connect
        return away and not any(s.state is SocketState.DIALING and s.began < math.inf for s in self._sockets)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _replenish(self, *, at_once: bool = False) -> None:
        """Dial as many sockets as are wanted and neither ready nor being dialed, after a backoff or at once."""
        if self._nursery is None or self._permanent_error is not None:
            return
        for socket in self._sockets:
            self._backoff.connection_is_up(socket.hot_since)
        for _ in range(self._wanted() - self._coming()):
            socket = HotSocket(
                self.config, self.open_stream, on_hot=self._on_hot, on_slot=self._on_slot, on_old=self._on_old
            )
            # A cancellation around the manager's block reaches these tasks only when the block has been left.
            self._sockets[socket] = trio.CancelScope(shield=True)
            self._nursery.start_soon(self._serve, socket, 0.0 if at_once else self._backoff.wait())

    def _wanted(self) -> int:
        """Return how many sockets should be ready for the next utterance: the spares, or one for each waiting caller.

        While no socket is open it is at most one, so that a wrong key or a service that is down costs one dial a time.
        """
        spares = spare_connections(self.config)
        ready = self._endpoint.sockets_to_keep(
            spares, speaking=any(socket.slots.utterances for socket in self._sockets)
        )
        wanted = max(ready, math.ceil(self._waiting / self._endpoint.contexts))
        return wanted if any(socket.is_open for socket in self._sockets) else min(wanted, 1)

    def _ready(self) -> int:
        """Return how many sockets can take an utterance and do not age."""
        return sum(s.usable and s.state is not SocketState.AGING for s in self._sockets)

    def _coming(self) -> int:
        """Return how many sockets are ready, or are being dialed."""
        return self._ready() + sum(s.state is SocketState.DIALING for s in self._sockets)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, socket: HotSocket, delay: float) -> None:
        """Run one socket, from its dial until it is lost or closed."""
        turn: DialTurn | None = None
        try:
            with self._sockets[socket]:
                if delay:
                    with trio.move_on_after(delay):
                        await self._dial_now.wait()  # an explicit call ends the backoff
                else:
                    await trio.lowlevel.checkpoint()  # a block that is cancelled while it is entered dials nothing
                turn = await DialTurn.wait(self.config.base_url)
                if self._permanent_error is not None:  # another dial got it meanwhile, and this one would get it too
                    return
                self._dials += 1
                await socket.run(turn)
                self._socket_ended(socket)
        except TTSError as error:
            self._telemetry.dial_ended(trio.current_time() - socket.began, error)
            self._dial_failed(error)
        except Exception as error:
            logger.exception("the task of a connection failed")
            self._dial_failed(unexpected("connection", error))
        finally:
            if turn is not None:
                turn.end()
            self._keep_alives += socket.keep_alives
            del self._sockets[socket]
            self._on_slot()

    def _on_hot(self, socket: HotSocket) -> None:
        self._down_since = math.inf
        self._telemetry.dial_ended(trio.current_time() - socket.began)
        old = next((s for s in self._sockets if s.state is SocketState.AGING and s.usable), None)
        if old is not None:
            old.close()
        self._on_slot()

    def _on_slot(self) -> None:
        """Dial missing sockets and wake waiting callers: a socket has gained or lost room for an utterance."""
        self._replenish()
        self._announce()

    def _on_old(self, socket: HotSocket) -> None:
        """Replace a spare before the service or a middlebox closes it. It can be used until the new one is hot."""
        if self._ready() >= self._wanted():
            socket.close()
        else:
            self._replenish()

    def _dial_failed(self, error: TTSError) -> None:
        logger.info("a dial failed: %s", error)
        self._failures += 1
        self._down_since = min(self._down_since, trio.current_time())
        self._backoff.dial_failed()
        self._last_failure = error
        if isinstance(error, ConcurrencyError) and self.config.limiter is not None:
            learn_from(error, self.config.limiter)
        if not error.retryable:
            self._stop_dialing(error)

    def _socket_ended(self, socket: HotSocket) -> None:
        error = socket.error
        if error is None:
            self._backoff.connection_works(socket.hot_since)
            return
        self._backoff.connection_lost(socket.hot_since)
        self._probe_spares()
        logger.info("a connection was lost after %.1f s: %s", socket.hot_for(), error)
        self._losses += 1
        self._telemetry.socket_lost(error)
        self._last_failure = error
        if not error.retryable:
            self._stop_dialing(error, raised=socket.slots.served)

    def _probe_spares(self) -> None:
        """Probe the hot sockets: what cuts the socket in use often cuts its spare too."""
        for socket in self._sockets:
            if socket.usable:
                socket.probe()

    def _stop_dialing(self, error: TTSError, *, raised: bool = False) -> None:
        self._permanent_error, self._permanent_error_raised = error, raised


def acquire_connection(connections: WebSocketConnectionManager) -> Awaitable[Connection]:
    """Acquire a hot connection for an utterance, whose driver closes it. It raises what `get_connection` does."""
    return connections._acquire()  # pyright: ignore[reportPrivateUsage] - users call `get_connection`
