"""Hot HTTP/1.1 connections under httpx: opened ahead of need, watched while idle, replaced when lost or interrupted.

httpx's own pool drops idle connections after five seconds, finds out about dead ones by using them, and leaks when
requests are cancelled under trio. This transport keeps a few of httpcore's connections instead.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import attrs
import httpcore
import httpx
import trio

from tts_trio.config import TTSConfig
from tts_trio.errors import ProtocolError, ServiceTimeout, TTSConnectionError, TTSError
from tts_trio.http_stream import WatchedStream
from tts_trio.transport import OpenStream, single_error

logger = logging.getLogger(__name__)

_FIRST_BACKOFF = 0.25  # seconds, before jitter; it doubles from failure to failure
_LONGEST_BACKOFF = 4.0
_STABLE = 5.0  # seconds: a connection lost sooner than that is a failure of the service, and is followed by backoff
_SUSPICIOUS = 1.0  # seconds without an answer, after which the connections that were idle beside it are not trusted


@attrs.define(eq=False)
class _Connection:
    """One HTTP/1.1 connection; `stream` and `http` are the same one, seen by trio and by HTTP."""

    stream: WatchedStream
    http: httpcore.AsyncHTTP11Connection
    opened: float = attrs.field(factory=trio.current_time)
    watch: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # of the task that watches it while it is idle


class HotTransport(httpx.AsyncBaseTransport):
    """What `httpx.AsyncClient` sends requests by; made by `open_transport`.

    A request takes a connection that is open already, or the next one to be. Nothing that it may be cancelled in does
    harm: its connection is closed at once then, and another is dialled in the background.
    """

    def __init__(self, config: TTSConfig, open_stream: OpenStream, nursery: trio.Nursery) -> None:
        self._config = config
        self._open_stream = open_stream
        self._nursery = nursery
        self._where = urlsplit(config.base_url).netloc
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []  # the one used last is the last
        self._dialled_on_demand = 0
        self._given, self._wanted = trio.open_memory_channel[_Connection | TTSError](0)
        self._changed = trio.Event()
        self._failures = 0  # in a row
        self._closed = False

    def __repr__(self) -> str:
        idle = len(self._idle)
        return f"<HotTransport, {idle} idle, {len(self._connections) - idle} in use>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return when the head of its answer has come.

        Raises:
            TTSError: There is no connection, or no answer.
        """
        connection = self._take()
        if connection is not None:
            try:
                return await self._exchange(connection, request)
            except TTSConnectionError:
                if connection.stream.received or not connection.stream.ended:
                    raise
            # The peer had closed it while it was idle, and the news crossed the request: no answer had begun, so
            # asking again doubles nothing. Those that were idle beside it are no better.
            logger.debug("an idle connection to %s turned out closed; asking again over a new one", self._where)
            self._distrust_idle()
        return await self._exchange(await self._dialled(), request)

    async def keep_warm(self) -> None:
        """Dial whenever there are too few idle connections; never ends."""
        while True:
            while self._enough():
                await self._changed.wait()
            await trio.sleep(self._backoff())
            if self._enough():
                continue
            try:
                await self._offer(await self._dial())
            except TTSError as error:
                logger.info("%s", error)

    def close(self) -> None:
        """Open nothing any more; whoever waits for a connection is told so."""
        self._closed = True
        self._given.close()

    async def drop_all(self) -> None:
        """Close all connections now; whoever waits for an answer is told so."""
        for connection in list(self._connections):
            await self._drop(connection)

    # --- one request

    async def _exchange(self, connection: _Connection, request: httpx.Request) -> httpx.Response:
        timeouts: dict[str, float] = {}
        sent = httpcore.Request(
            method=request.method,
            url=_httpcore_url(request.url),
            headers=request.headers.raw,
            content=_Content(await request.aread()),
            extensions={"timeout": timeouts},
        )
        began = trio.current_time()
        try:
            with self.typed_errors(connection.stream), trio.fail_after(self._config.reply_deadline):
                answer = await connection.http.handle_async_request(sent)
        except BaseException:
            if trio.current_time() - began >= _SUSPICIOUS:  # where a NAT forgot one idle flow, it forgot all
                self._distrust_idle()
            with trio.move_on_after(self._config.close_timeout, shield=True):  # a bound, though it waits for nobody
                await self._drop(connection, lost=connection.stream.ended)
            raise
        self._failures = 0
        timeouts["read"] = self._config.stall_timeout  # from now on, for each read of the body
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(self, connection, answer))

    @contextmanager
    def typed_errors(self, stream: WatchedStream) -> Generator[None]:
        """Raise what goes wrong with a request as a `TTSError` that says how far it had come."""
        try:
            yield
        except (
            trio.TooSlowError,
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
        ) as error:
            raise self._explain(error, stream).without(self._config.api_key) from error

    def _explain(self, error: Exception, stream: WatchedStream) -> TTSError:
        match error:
            case trio.TooSlowError():
                deadline = self._config.reply_deadline
                return ServiceTimeout(f"no answer from {self._where} within {deadline:g} s (still {stream.step})")
            case httpcore.TimeoutException():
                return ServiceTimeout(
                    f"nothing from {self._where} for {self._config.stall_timeout:g} s in the middle of its answer"
                )
            case httpcore.ProtocolError() if not stream.ended:
                return ProtocolError(f"{self._where} does not answer as an HTTP server: {error}")
            case _:
                return TTSConnectionError(f"the connection to {self._where} was lost while {stream.step}")

    async def take_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read to its end; close it if it was not."""
        if connection.http.is_idle():
            await self._offer(connection)
        else:
            await self._drop(connection, lost=connection.stream.ended)

    # --- the connections

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            self._announce()
            if not connection.watch.cancel_called:
                connection.watch.deadline = math.inf
                connection.stream.received = 0
                return connection
        return None

    async def _dialled(self) -> _Connection:
        """Wait for the next connection that is opened, or becomes free; one is dialled now, without any backoff."""
        if not self._closed:
            self._dialled_on_demand += 1
            self._nursery.start_soon(self._dial_on_demand)
        try:
            given = await self._wanted.receive()
        except trio.EndOfChannel:
            raise TTSConnectionError("the HTTP connections were closed") from None
        if isinstance(given, TTSError):
            raise given
        return given

    async def _dial_on_demand(self) -> None:
        try:
            connection = await self._dial()
        except TTSError as error:
            self._dialled_on_demand -= 1
            # There are as many such dials as requests that wait, or more; the error is for one that is left without.
            if self._waiting() > self._dialled_on_demand:
                self._given.send_nowait(error)
            self._announce()
        else:
            self._dialled_on_demand -= 1
            await self._offer(connection)

    async def _dial(self) -> _Connection:
        try:
            with trio.fail_after(self._config.connect_timeout):
                stream = WatchedStream(await self._open_stream(self._config))
        except Exception as error:  # noqa: BLE001 - sorted by _explain_dial; what it does not know is logged there
            self._failures += 1
            cause = self._explain_dial(error).without(self._config.api_key)
            raise cause from (None if cause is error else error)
        origin = _httpcore_url(http_url(self._config)).origin
        connection = _Connection(stream, httpcore.AsyncHTTP11Connection(origin, stream))
        self._connections.add(connection)
        return connection

    def _explain_dial(self, error: Exception) -> TTSError:
        match error:
            case TTSError():
                return error
            case trio.TooSlowError():
                timeout = self._config.connect_timeout
                return TTSConnectionError(f"no connection to {self._where} within {timeout:g} s (still connecting)")
            case OSError() | trio.BrokenResourceError():
                return TTSConnectionError(f"no connection to {self._where}: {error.__cause__ or error}")
            case _:
                logger.error("dialling %s failed", self._where, exc_info=error)
                return TTSConnectionError(f"the connection to {self._where} failed: {type(error).__name__}")

    async def _offer(self, connection: _Connection) -> None:
        """Give an open connection to the request that waits longest, or keep it, or close what is too many."""
        if self._waiting():
            connection.stream.received = 0
            self._given.send_nowait(connection)
        elif self._closed or len(self._idle) > self._config.spares:  # one to use, and those behind it, are there
            await self._drop(connection)
        else:
            connection.watch = trio.CancelScope(deadline=trio.current_time() + self._config.spare_lifetime)
            connection.stream.expect_nothing()
            self._idle.append(connection)
            self._nursery.start_soon(self._watch, connection, connection.watch)
        self._announce()

    async def _watch(self, connection: _Connection, scope: trio.CancelScope) -> None:
        """Wait for the end of an idle connection, or for the beginning of the answer to what it was taken for."""
        with scope:
            await connection.stream.watch()
        if connection in self._idle:  # nobody took it, so the peer says goodbye, or speaks out of turn
            await self._drop(connection, lost=not scope.cancel_called)
        elif scope.cancel_called:
            await self._drop(connection)

    def _distrust_idle(self) -> None:
        for connection in self._idle:
            connection.watch.cancel(reason="a connection that was idle beside it was dead")
        self._idle.clear()

    async def _drop(self, connection: _Connection, *, lost: bool = False) -> None:
        """Close a connection now. It waits for nobody, and is closed also where this is cancelled."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        connection.watch.cancel(reason="the connection is closed")
        if connection in self._idle:
            self._idle.remove(connection)
        young = trio.current_time() - connection.opened < _STABLE
        self._failures = self._failures + 1 if lost and young else 0
        self._announce()
        await connection.stream.aclose()

    def _backoff(self) -> float:
        """Seconds to wait before the next dial: none after a success, else doubling, with jitter."""
        if not self._failures:
            return 0.0
        return min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (self._failures - 1)) * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def _waiting(self) -> int:
        return self._wanted.statistics().tasks_waiting_receive

    def _enough(self) -> bool:
        in_use = len(self._connections) > len(self._idle)
        coming = self._dialled_on_demand - self._waiting()
        return len(self._idle) + coming >= (self._config.spares if in_use else max(1, self._config.spares))

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Content:
    """The body of a request. Not a generator, which a cancelled write would leave to the garbage collector."""

    def __init__(self, data: bytes) -> None:
        self._pieces = iter([data])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes; its connection is free again, or closed, when this is closed."""

    def __init__(self, transport: HotTransport, connection: _Connection, answer: httpcore.Response) -> None:
        self._transport = transport
        self._connection = connection
        self._answer = answer
        self._chunks = answer.aiter_stream()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with self._transport.typed_errors(self._connection.stream):
            return await anext(self._chunks)

    async def aclose(self) -> None:
        """End the body, at once wherever it is. Waits for nobody, so it is shielded."""
        with trio.CancelScope(shield=True):
            await self._answer.aclose()
            await self._transport.take_back(self._connection)


@asynccontextmanager
async def open_transport(config: TTSConfig, open_stream: OpenStream) -> AsyncGenerator[HotTransport]:
    """Keep connections hot for as long as the block runs.

    Args:
        config: Where to, with which deadlines and how many `spares`.
        open_stream: Opens byte streams to the service, TLS included.

    Yields:
        The transport, for `httpx.AsyncClient`.
    """
    with single_error():
        async with trio.open_nursery() as nursery:
            transport = HotTransport(config, open_stream, nursery)
            nursery.start_soon(transport.keep_warm)
            try:
                yield transport
            finally:
                transport.close()
                nursery.cancel_scope.cancel(reason="the HTTP connections are closed")
                with trio.move_on_after(config.close_timeout, shield=True):
                    await transport.drop_all()


def http_url(config: TTSConfig) -> httpx.URL:
    """Return `base_url` with the scheme of HTTP, which may have been given as that of WebSockets."""
    url = httpx.URL(config.base_url)
    return url.copy_with(scheme={"ws": "http", "wss": "https"}.get(url.scheme, url.scheme))


def _httpcore_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
