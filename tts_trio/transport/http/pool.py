"""Hot HTTP/1.1 connections: opened ahead of need, watched while idle, replaced when lost or interrupted."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVarTuple, Unpack
from urllib.parse import urlsplit

import trio

from tts_trio._nurseries import telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import spare_connections
from tts_trio.errors import TTSConnectionError, TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.transport.dialing import DialBackoff, DialTurn
from tts_trio.transport.http.connection import HttpConnection
from tts_trio.transport.http.stream import WatchedStream
from tts_trio.transport.streams import OpenStream, dial_failed
from tts_trio.transport.timers import fail_after

logger = guarded_logger(__name__)

_CLOSED = "the HTTP connections were closed"

Args = TypeVarTuple("Args")

Channel: TypeAlias = (
    "tuple[trio.MemorySendChannel[HttpConnection | TTSError], trio.MemoryReceiveChannel[HttpConnection | TTSError]]"
)


class ConnectionPool:
    """The connections of one conversation to one service.

    Whoever acquires one gives it back by `release`, or closes it by `drop`, at any moment. What is missing then is
    dialed in the background.

    A connection is in one of three places: in use (in `_connections` only), idle (in `_idle`, too), or on its way to a
    request that waits (in the channel). `_offer` is where each of them comes through.

    Attributes:
        where: The service's host and port.
    """

    def __init__(self, config: TTSConfig, open_stream: OpenStream, nursery: trio.Nursery) -> None:
        self._config = config
        self._spares = spare_connections(config)
        self._open_stream = open_stream
        self._nursery = nursery
        self.where = urlsplit(config.base_url).netloc
        self._connections: set[HttpConnection] = set()
        self._idle: list[HttpConnection] = []  # the one used last is the last
        self._dialed_on_demand = 0
        self._channel: Channel | None = None  # to requests that wait; None: none ever has
        self._dials_ahead = False  # whether a task does
        self._backoff = DialBackoff()
        self._permanent_error = False  # no retry can succeed, so dialing stops until the next request
        self._closed = False

    @property
    def idle(self) -> int:
        """How many connections are open and not in use."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return len(self._connections) - len(self._idle)

    def acquire_idle(self) -> HttpConnection | None:
        """Return the idle connection that was used last; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            self.replenish()
            if not connection.watch.cancel_called:
                connection.watch.deadline = math.inf
                return connection
        return None

    async def acquire_new(self) -> HttpConnection:
        """Wait for the next connection that is opened or becomes free; one is dialed now, whatever the backoff.

        Raises:
            TTSConnectionError: It could not be opened, within `timeouts.connect`.
        """
        self._permanent_error = False
        if self._closed:
            raise TTSConnectionError(_CLOSED)
        self._dialed_on_demand += 1
        self._nursery.start_soon(self._guarded, self._dial_on_demand)
        self._channel = self._channel or trio.open_memory_channel[HttpConnection | TTSError](0)
        _, waiters = self._channel
        handed: HttpConnection | TTSError | None = None
        try:
            async with fail_after(self._config.timeouts.connect):
                handed = await waiters.receive()
        except trio.EndOfChannel:
            raise TTSConnectionError(_CLOSED) from None
        except trio.TooSlowError as error:  # its dial waits for other dials of this process, or is too slow itself
            raise self._explain(error) from None
        except BaseException:
            if isinstance(handed, HttpConnection):  # leaving the block is a checkpoint, where it may be cancelled
                with trio.move_on_after(self._config.timeouts.close, shield=True):
                    await self.drop(handed)
            raise
        if isinstance(handed, TTSError):
            raise handed
        return handed

    async def release(self, connection: HttpConnection) -> None:
        """Keep a connection whose answer was read to its end, and nothing else came; close any other."""
        self._backoff.connection_works(connection.opened)
        if connection.reusable:
            connection.renew()
            await self._offer(connection)
        else:
            await self.drop(connection, lost=connection.stream.ended)

    async def drop(self, connection: HttpConnection, *, lost: bool = False) -> None:
        """Close a connection now, without waiting for the peer, and even where this is cancelled.

        Args:
            connection: A connection of this pool, in use or idle or dropped already.
            lost: Whether the service, or the way there, ended it.
        """
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        connection.watch.cancel(reason="the connection is closed")
        if connection in self._idle:
            self._idle.remove(connection)
        if lost:
            self._backoff.connection_lost(connection.opened)
        else:
            self._backoff.connection_works(connection.opened)
        self.replenish()
        await connection.stream.aclose()

    def retire_idle(self) -> None:
        """Close all idle connections, and dial others: another one was dead, and these may be so, too."""
        for connection in self._idle:
            connection.watch.cancel(reason="a connection that was idle beside it was dead")
        self._idle.clear()

    def replenish(self) -> None:
        """Dial, in the background, until there are enough idle connections."""
        if not (self._closed or self._dials_ahead or self._enough()):
            self._dials_ahead = True
            self._nursery.start_soon(self._dial_ahead)

    def close(self) -> None:
        """Open no more connections; every request that waits for one fails."""
        self._closed = True
        if self._channel is not None:
            self._channel[0].close()

    async def drop_all(self) -> None:
        """Close all connections now, and fail their requests, except those whose answer may outlive the pool."""
        for connection in list(self._connections):
            if not connection.outlives:
                await self.drop(connection)

    @trio.lowlevel.enable_ki_protection
    async def _guarded(self, task: Callable[[Unpack[Args]], Awaitable[None]], *args: *Args) -> None:
        """Run a background task. An unexpected exception is logged; it never ends the conversation."""
        try:
            await task(*args)
        except Exception:
            logger.exception("a task of the HTTP connections to %s failed", self.where)
            self._backoff.dial_failed()

    @trio.lowlevel.enable_ki_protection
    async def _dial_ahead(self) -> None:
        while not self._enough():
            await self._guarded(self._warm_up)
        self._dials_ahead = False

    async def _warm_up(self) -> None:
        await trio.sleep(self._backoff.wait())
        if self._enough():
            return
        try:
            connection = await self._dial()
        except TTSError as error:
            logger.info("%s", error)
        else:
            await self._offer(connection)

    async def _dial_on_demand(self) -> None:
        try:
            connection = await self._dial()
        except TTSError as error:
            self._dialed_on_demand -= 1
            # There are as many such dials as requests that wait, or more; the error is for one that is left without.
            if self._waiting() > self._dialed_on_demand:
                self._hand(error)
            self.replenish()
        else:
            self._dialed_on_demand -= 1
            await self._offer(connection)

    async def _dial(self) -> HttpConnection:
        try:
            stream = WatchedStream(await self._open())
        except Exception as error:  # noqa: BLE001 - sorted by _explain; what it does not know is logged there
            self._backoff.dial_failed()
            cause = self._explain(error)
            self._permanent_error = not cause.retryable
            raise cause from (cause.__cause__ or telling_cause(error))
        connection = HttpConnection(stream, self._config)
        self._connections.add(connection)
        return connection

    async def _open(self) -> trio.abc.Stream:
        turn = await DialTurn.wait(self._config.base_url)
        try:
            with turn.limited(self._config.timeouts.connect, self._nursery):
                return await self._open_stream(self._config)
        finally:
            turn.end()

    def _explain(self, error: Exception) -> TTSError:
        """Sort what broke a dial into the tree of errors."""
        match error:
            case TTSError():
                return error
            case trio.TooSlowError():
                timeout = self._config.timeouts.connect
                return TTSConnectionError(f"no connection to {self.where} within {timeout:g} s (still connecting)")
            case OSError() | trio.BrokenResourceError():
                return dial_failed(self._config, self.where, error)
            case _:
                logger.error("dialing %s failed", self.where, exc_info=error)
                return unexpected(f"connection to {self.where}", error)

    # How a connection finds its request. Each that was opened, or became free, comes here, and goes on in the same turn
    # of the loop, so that none can be counted twice:
    #
    # 1. To the request that waits longest, if one does. It does not matter which dial was made for which request: a
    #    connection that becomes free earlier serves it, and the dial that was made for it brings the next one.
    # 2. To the idle ones, if there are too few: one to use, and the spares behind it.
    # 3. Else it is closed.
    #
    # In 1 and 2 a task begins to read from it now, and goes on until the request is sent. This is how the end of an
    # idle connection is noticed, and anything that the peer sends unasked, which would be taken for the answer. Nobody
    # may cancel that read once there is a request, so acquiring a connection only takes away the deadline of its scope:
    # the read gets the first bytes of the answer (`WatchedStream`).
    #
    # Until a connection is acquired its scope has a deadline: when it is too old. Where its scope is cancelled, by that
    # or by `retire_idle`, the connection is closed; `drop` cancels the scope of one that it has closed already.

    async def _offer(self, connection: HttpConnection) -> None:
        """Hand an open connection to the request that waits longest, or keep it, or close what is too many."""
        waiting = self._waiting()
        if self._closed or (not waiting and len(self._idle) > self._spares):  # one to use, and those behind it
            await self.drop(connection)
        else:
            connection.stream.expect_nothing()
            connection.watch = trio.CancelScope()
            self._nursery.start_soon(self._guarded, self._watch, connection, connection.watch)
            if waiting:
                self._hand(connection)
            else:
                connection.fresh = False
                connection.watch.deadline = trio.current_time() + self._config.spare_lifetime
                self._idle.append(connection)
        self.replenish()

    async def _watch(self, connection: HttpConnection, scope: trio.CancelScope) -> None:
        """Wait for the end of an idle connection, or for the beginning of the answer to what it was taken for."""
        try:
            with scope:
                await connection.stream.watch()
        except Exception:
            logger.exception("a connection to %s failed with an unexpected exception", self.where)
        if connection in self._idle:  # not acquired: the peer closed it, or sent data before a request
            await self.drop(connection, lost=not scope.cancel_called)
        elif scope.cancel_called:
            await self.drop(connection)

    def _waiting(self) -> int:
        return 0 if self._channel is None else self._channel[1].statistics().tasks_waiting_receive

    def _hand(self, handed: HttpConnection | TTSError) -> None:
        """Hand it to the request that waits longest, of which there is one."""
        assert self._channel is not None
        self._channel[0].send_nowait(handed)

    def _enough(self) -> bool:
        coming = self._dialed_on_demand - self._waiting()
        return self._permanent_error or self.idle + coming >= (self._spares if self.in_use else max(1, self._spares))
