"""The transport under httpx: requests over a pool of hot connections.

httpx's own pool drops idle connections after five seconds, finds out about dead ones by using them, and leaks when
requests are cancelled under trio.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import httpx
import trio

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError
from tts_trio.transport.http.connection import HttpConnection
from tts_trio.transport.http.pool import ConnectionPool

logger = logging.getLogger(__name__)

ON_CONNECTION = "tts_trio.on_connection"
"""The extension of a request that is an async function, called when there is an open connection for it."""

OUTLIVES = "tts_trio.outlives"
"""The extension of a request whose answer, once it has begun, may be read when the pool is closed."""

_SUSPICIOUS = 1.0  # seconds without an answer, after which the connections that were idle beside it are retired


class HotTransport(httpx.AsyncBaseTransport):
    """The transport that `httpx.AsyncClient` sends requests over.

    A request takes a connection that is open, or waits for the next one. It may be cancelled anywhere: its connection
    is closed at once then, and the pool dials another.
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
        connection = self._pool.acquire_idle()
        if connection is not None:
            try:
                return await self._exchange(connection, request)
            except TTSConnectionError:
                if connection.asked and not connection.hung_up:
                    raise
            # The peer had closed it while it was idle, and the news crossed the request; or it sent what nobody had
            # asked for. No answer had begun, so asking again doubles nothing. Those that were idle beside it are no
            # better.
            logger.debug("an idle connection to %s turned out to be of no use; asking over a new one", self._where)
            self._pool.retire_idle()
        while True:
            connection = await self._pool.acquire_new()
            try:
                return await self._exchange(connection, request)
            except TTSConnectionError:
                if connection.asked or connection.fresh:
                    raise

    async def _exchange(self, connection: HttpConnection, request: httpx.Request) -> httpx.Response:
        began = trio.current_time()
        try:
            if (on_connection := request.extensions.get(ON_CONNECTION)) is not None:
                await on_connection()
            answer = await connection.ask(request)
        except BaseException:
            if trio.current_time() - began >= _SUSPICIOUS:  # where a NAT forgot one idle flow, it forgot all
                self._pool.retire_idle()
            with trio.CancelScope(shield=True):  # it waits for nobody
                await self._pool.drop(connection, lost=connection.stream.ended)
            raise
        connection.outlives = request.extensions.get(OUTLIVES, False)
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw_items(), stream=_Body(self._pool, connection)
        )


class _Body(httpx.AsyncByteStream):
    """The body of an answer, as it comes; its connection is free again, or closed, when this is closed."""

    def __init__(self, pool: ConnectionPool, connection: HttpConnection) -> None:
        self._pool = pool
        self._connection = connection
        self._closed = False

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._closed and (data := await self._connection.receive()):
            return data
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the body, at once wherever it is. Waits for nobody, so it is shielded."""
        if not self._closed:
            self._closed = True
            with trio.CancelScope(shield=True):
                await self._pool.release(self._connection)


def http_url(config: TTSConfig) -> httpx.URL:
    """Return `base_url` with the scheme of HTTP, which may have been given as that of WebSockets."""
    url = httpx.URL(config.base_url)
    return url.copy_with(scheme={"ws": "http", "wss": "https"}.get(url.scheme, url.scheme))
