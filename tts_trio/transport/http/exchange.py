"""One request over a pool of hot connections: httpx says what is sent, h11 reads what comes.

httpx's own pool drops idle connections after five seconds, finds out about dead ones by using them, and leaks when
requests are cancelled under trio. Its client costs a request more than all of the rest does. So httpx makes the head of
a request once for each voice, and what is sent of it later is a copy.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache

import h11
import httpx
import trio

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError
from tts_trio.transport.http.connection import HttpConnection
from tts_trio.transport.http.pool import ConnectionPool
from tts_trio.transport.streams import USER_AGENT
from tts_trio.wire.http import SpeechRequest

logger = logging.getLogger(__name__)

_SUSPICIOUS = 1.0  # seconds without an answer, after which the connections that were idle beside it are retired


@lru_cache(maxsize=64)
def _head(method: str, base_url: str, path: str, api_key: str) -> bytes:
    """Return the head of a request, without the length of its body."""
    url = httpx.URL(base_url.rstrip("/") + path)
    headers = {
        "xi-api-key": api_key,
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
    }
    if method == "POST":
        headers["content-type"] = "application/json"
    request = httpx.Request(method, url, headers=headers)
    request.headers.pop("content-length", None)
    head = h11.Request(method=request.method, target=url.raw_path, headers=request.headers.raw)
    return (h11.Connection(h11.CLIENT).send(head) or b"").removesuffix(b"\r\n")


def message_of(config: TTSConfig, request: SpeechRequest) -> bytes:
    """Return what is sent for a request: its head and its body, for one write."""
    if not request.body:
        return _head("GET", config.base_url, request.path, config.api_key) + b"\r\n"
    head = _head("POST", config.base_url, request.path, config.api_key)
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(request.body), request.body)


async def ask(
    pool: ConnectionPool, message: bytes, on_connection: Callable[[], Awaitable[None]] | None = None
) -> tuple[HttpConnection, h11.Response]:
    """Send a request, and return when the head of its answer has come.

    A request takes a connection that is open, or waits for the next one. It may be cancelled anywhere: its connection
    is closed at once then, and the pool dials another.

    Args:
        pool: The connections.
        message: What is sent.
        on_connection: A function that is awaited when there is an open connection, before the request is sent.

    Returns:
        The connection, which the caller has to release, and the head of the answer.

    Raises:
        TTSError: There is no connection, or no answer.
    """
    connection = pool.acquire_idle()
    if connection is not None:
        try:
            return connection, await _exchange(pool, connection, message, on_connection)
        except TTSConnectionError:
            if connection.asked and not connection.hung_up:
                raise
        # The peer had closed the idle connection, which crossed the request on its way, or had sent data before the
        # request. No answer had begun, so asking again doubles nothing. Those that were idle beside it are no better.
        logger.debug("an idle connection to %s turned out to be of no use; asking over a new one", pool.where)
        pool.retire_idle()
    while True:
        connection = await pool.acquire_new()
        try:
            return connection, await _exchange(pool, connection, message, on_connection)
        except TTSConnectionError:
            if connection.asked or connection.fresh:
                raise


async def _exchange(
    pool: ConnectionPool,
    connection: HttpConnection,
    message: bytes,
    on_connection: Callable[[], Awaitable[None]] | None,
) -> h11.Response:
    began = trio.current_time()
    try:
        if on_connection is not None:
            await on_connection()
        return await connection.ask(message)
    except BaseException:
        if trio.current_time() - began >= _SUSPICIOUS:  # where a NAT forgot one idle flow, it forgot all
            pool.retire_idle()
        with trio.CancelScope(shield=True):  # it does not wait for the peer
            await pool.drop(connection, lost=connection.stream.ended)
        raise
