"""The transport under httpx: requests over a pool of hot connections, whose failures are typed.

httpx's own pool drops idle connections after five seconds, finds out about dead ones by using them, and leaks when
requests are cancelled under trio.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpcore
import httpx
import trio

from tts_trio.config import TTSConfig
from tts_trio.errors import ProtocolError, ServiceTimeout, TTSConnectionError, TTSError
from tts_trio.http.pool import ConnectionPool, HttpConnection
from tts_trio.http.stream import WatchedStream

logger = logging.getLogger(__name__)

ON_CONNECTION = "tts_trio.on_connection"
"""The extension of a request that is an async function, called when there is an open connection for it."""

OUTLIVES = "tts_trio.outlives"
"""The extension of a request whose answer, once it has begun, may be read when the pool is closed."""

_SUSPICIOUS = 1.0  # seconds without an answer, after which the connections that were idle beside it are not trusted


class HotTransport(httpx.AsyncBaseTransport):
    """What `httpx.AsyncClient` sends requests by.

    A request takes a connection that is open already, or the next one to be. Nothing that it may be cancelled in does
    harm: its connection is closed at once then, and the pool dials another.
    """

    def __init__(self, config: TTSConfig, pool: ConnectionPool) -> None:
        self._config = config
        self._pool = pool
        self._where = urlsplit(config.base_url).netloc

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return when the head of its answer has come.

        Raises:
            TTSError: There is no connection, or no answer.
        """
        connection = self._pool.take_idle()
        if connection is not None:
            try:
                return await self._exchange(connection, request)
            except TTSConnectionError:
                if connection.stream.received or not connection.stream.ended:
                    raise
            # The peer had closed it while it was idle, and the news crossed the request: no answer had begun, so
            # asking again doubles nothing. Those that were idle beside it are no better.
            logger.debug("an idle connection to %s turned out closed; asking again over a new one", self._where)
            self._pool.distrust_idle()
        return await self._exchange(await self._pool.take_new(), request)

    async def _exchange(self, connection: HttpConnection, request: httpx.Request) -> httpx.Response:
        timeouts: dict[str, float] = {}
        sent = httpcore.Request(
            method=request.method,
            url=httpcore_url(request.url),
            headers=request.headers.raw,
            content=_Content(request.content),
            extensions={"timeout": timeouts},
        )
        connection.stream.received = 0
        began = trio.current_time()
        try:
            with self.typed_errors(connection.stream), trio.fail_after(self._config.reply_deadline):
                if (on_connection := request.extensions.get(ON_CONNECTION)) is not None:
                    await on_connection()
                answer = await connection.http.handle_async_request(sent)
            connection.outlives = request.extensions.get(OUTLIVES, False)
        except BaseException:
            if trio.current_time() - began >= _SUSPICIOUS:  # where a NAT forgot one idle flow, it forgot all
                self._pool.distrust_idle()
            with trio.move_on_after(self._config.close_timeout, shield=True):  # a bound, though it waits for nobody
                await self._pool.drop(connection, lost=connection.stream.ended)
            raise
        timeouts["read"] = self._config.stall_timeout  # from now on, for each read of the body
        body = _Body(self, self._pool, connection, answer)
        return httpx.Response(answer.status, headers=answer.headers, stream=body)

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
            cause = self._explain(error, stream).without(self._config.api_key)
            # What a peer sent that is no HTTP is in the message, without the key; in httpcore's error it is as it was.
            raise cause from (None if isinstance(cause, ProtocolError) else error)

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

    def __init__(
        self, transport: HotTransport, pool: ConnectionPool, connection: HttpConnection, answer: httpcore.Response
    ) -> None:
        self._transport = transport
        self._pool = pool
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
            await self._pool.give_back(self._connection)


def http_url(config: TTSConfig) -> httpx.URL:
    """Return `base_url` with the scheme of HTTP, which may have been given as that of WebSockets."""
    url = httpx.URL(config.base_url)
    return url.copy_with(scheme={"ws": "http", "wss": "https"}.get(url.scheme, url.scheme))


def httpcore_url(url: httpx.URL) -> httpcore.URL:
    """Return the same URL as httpcore wants it."""
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
