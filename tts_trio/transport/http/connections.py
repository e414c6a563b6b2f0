"""`HttpConnections`: asks over connections that are already open, and streams the answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache

import httpx
import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.errors.redaction import redact_headers
from tts_trio.transport.http.answer import SpeechResponse
from tts_trio.transport.http.pool import ConnectionPool, open_pool
from tts_trio.transport.http.transport import ON_CONNECTION, OUTLIVES, HotTransport, http_url
from tts_trio.transport.streams import USER_AGENT, OpenStream, open_stream
from tts_trio.wire.http import SpeechRequest


class HttpConnections(SingleUse):
    """The hot HTTP connections of one conversation.

    An async context manager: inside of its block connections are opened ahead of need, one and then `config.spares`
    behind those in use, and replaced in the background when they are lost, or dropped by an interruption. Leaving the
    block closes all of them at once.

        async with HttpConnections(config) as connections:
            async with connections.stream(stream_request(config, "Good morning!")) as response:
                async for chunk in response:
                    ...
    """

    def __init__(self, config: TTSConfig, *, open_stream: OpenStream = open_stream) -> None:
        """Prepare the connections; the first is dialed when the block is entered.

        Args:
            config: The host, the key, the timeouts and the number of spares.
            open_stream: A function that opens byte streams to the service, TLS included; tests give another one.
        """
        self._config = config
        self._open_stream = open_stream
        self._pool: ConnectionPool | None = None
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        self._headers = {
            "xi-api-key": self._config.api_key,
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "content-type": "application/json",
        }
        self._base_url = str(http_url(self._config)).rstrip("/")
        async with open_pool(self._config, self._open_stream) as self._pool:
            transport = HotTransport(self._config, self._pool)
            # With a transport of its own and without trust_env, the client builds no TLS context, which would block
            # the loop for 139 ms. The transport keeps the timeouts.
            client = httpx.AsyncClient(transport=transport, trust_env=False, timeout=None)  # noqa: S113
            async with client as self._client:
                try:
                    yield
                finally:
                    self._client = self._pool = None

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<HttpConnections, {'not entered' if not self._entered else 'closed'}>"
        return f"<HttpConnections, {self._pool.idle} idle, {self._pool.in_use} in use>"

    @property
    def closed(self) -> bool:
        """Whether the block was left, or not entered."""
        return self._client is None

    @asynccontextmanager
    async def stream(
        self,
        request: SpeechRequest,
        on_connection: Callable[[], Awaitable[None]] | None = None,
        *,
        outlives: bool = False,
    ) -> AsyncGenerator[SpeechResponse]:
        """Send a request, and give its answer as it comes. Leaving the block before its end drops the answer.

        A request whose connection turns out to have been closed by the service while idle is sent once more, over a
        new one; nothing else is retried.

        Args:
            request: The request to send.
            on_connection: A function that is awaited when there is an open connection, before the request is sent.
            outlives: Whether an answer that has begun goes on when the block of these connections is left.

        Yields:
            The answer, whose head has come: a success that brings audio.

        Raises:
            TTSError: The service refused or answered something else, there is no connection (`timeouts.connect`), or
                no answer (`timeouts.reply`); from the iteration also: the answer broke off, or nothing came for
                `timeouts.stall`.
            RuntimeError: The block was left, or not entered.
        """
        client = self._client
        if client is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        extensions = {ON_CONNECTION: on_connection, OUTLIVES: outlives}
        url = _parsed(self._base_url + request.path)
        sent = httpx.Request("POST", url, headers=self._headers, content=request.body, extensions=extensions)
        asking = _asking.set(True)
        try:
            response = await client.send(sent, stream=True)
        finally:
            _asking.reset(asking)
        chunks = response.aiter_raw()
        try:
            headers = redact_headers(response.headers)
            answer = SpeechResponse(response.status_code, headers, request.timed, chunks)
            await answer.check()
            yield answer
        finally:
            # Closing waits for nobody, and makes the generators under `chunks` run to their ends; left in the middle
            # they would be ended by the garbage collector, with a warning.
            with trio.CancelScope(shield=True), suppress(TTSError, httpx.StreamClosed):
                await response.aclose()
                async for _ in chunks:
                    pass


_asking = ContextVar("tts_trio is asking", default=False)


def _is_logged(record: logging.LogRecord) -> bool:
    """Tell whether a line of httpx's is logged; httpx logs each request at INFO, with its URL.

    The requests of this library are logged only where the application gave httpx's logger a level. The requests of
    other users of httpx are not affected.
    """
    return not _asking.get() or record.levelno >= logging.WARNING or _httpx_logger.level != logging.NOTSET


_httpx_logger = logging.getLogger("httpx")
_httpx_logger.addFilter(_is_logged)


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Parse a URL: of those there is one for each voice and format, and it takes as long as to write the request."""
    return httpx.URL(url)
