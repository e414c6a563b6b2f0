"""`HttpConnections`: asks over connections that are already open, and streams the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx
import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.errors.redaction import redact_headers
from tts_trio.transport.http.answer import Body, SpeechResponse
from tts_trio.transport.http.exchange import ask, message_of
from tts_trio.transport.http.pool import ConnectionPool
from tts_trio.transport.streams import OpenStream, open_stream
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

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        with single_error:
            async with trio.open_nursery() as nursery:
                self._pool = pool = ConnectionPool(self._config, self._open_stream, nursery)
                pool.replenish()
                try:
                    yield
                finally:
                    self._pool = None
                    pool.close()
                    nursery.cancel_scope.cancel(reason="the HTTP connections are closed")
                    with trio.CancelScope(shield=True):  # it does not wait for the peer
                        await pool.drop_all()

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<HttpConnections, {'not entered' if not self._entered else 'closed'}>"
        return f"<HttpConnections, {self._pool.idle} idle, {self._pool.in_use} in use>"

    @property
    def idle(self) -> int:
        """How many connections are open and not in use."""
        return 0 if self._pool is None else self._pool.idle

    @property
    def closed(self) -> bool:
        """Whether the block was left, or not entered."""
        return self._pool is None

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
        pool = self._pool
        if pool is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        asked = trio.current_time()
        connection, head = await ask(pool, message_of(self._config, request), on_connection)
        connection.outlives = outlives
        body = Body(connection)
        try:
            headers = redact_headers(dict(httpx.Headers(head.headers.raw_items()).items()))
            answer = SpeechResponse(head.status_code, headers, connection.opened > asked, request.timed, body)
            await answer.check()
            yield answer
        finally:
            body.close()
            with trio.CancelScope(shield=True):  # it does not wait for the peer
                await pool.release(connection)
