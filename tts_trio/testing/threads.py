"""The local server on a port, served in a thread of its own: for programs that are not on trio."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import trio

from tts_trio.local_server import Behavior, LocalServer, ToneVoice, open_local_server


@contextmanager
def server_in_a_thread(
    behavior: Behavior | None = None, *, ssl_context: ssl.SSLContext | None = None
) -> Generator[LocalServer]:
    """Serve at 127.0.0.1 with the tone voice, for as long as the block runs.

    The server goes on while the caller's thread, or its loop, stands still. Any thread may set its `behavior` and read
    its `records`.

    Args:
        behavior: What the server does otherwise than by default.
        ssl_context: The server's TLS context; None: no TLS.

    Yields:
        The server. Its `base_url` is the URL for clients.
    """
    listening = Future[tuple[LocalServer, trio.lowlevel.TrioToken, trio.CancelScope]]()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with open_local_server(behavior, voice=ToneVoice(), ssl_context=ssl_context) as server:
                listening.set_result((server, trio.lowlevel.current_trio_token(), scope))
                await trio.sleep_forever()

    with ThreadPoolExecutor(1, "tts_trio local server") as pool:  # and not anyio's portal, for callers that are on trio
        running = pool.submit(trio.run, serve)
        either: list[Future[Any]] = [running, listening]
        wait(either, return_when=FIRST_COMPLETED)
        if not listening.done():
            running.result()  # raises what kept it from listening
        server, token, scope = listening.result()
        try:
            yield server
        finally:
            token.run_sync_soon(scope.cancel)
            running.result()
