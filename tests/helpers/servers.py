"""The local server on a port, in a thread of its own: it goes on while the client's loop stands still."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio

from tts_trio.local_server import Behavior, ToneVoice, open_local_server


@contextmanager
def server_in_a_thread(behavior: Behavior, context: ssl.SSLContext | None = None) -> Generator[str]:
    """Serve for as long as the block runs, over TLS if there is a context; yields the base URL."""
    ready, urls, over = threading.Event(), list[str](), list[Any]()

    async def serve() -> None:
        async with open_local_server(behavior, voice=ToneVoice(), ssl_context=context) as server:
            stop = trio.Event()
            urls.append(server.base_url)
            over.append((trio.lowlevel.current_trio_token(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    ready.wait()
    try:
        yield urls[0]
    finally:
        [(token, stop)] = over
        token.run_sync_soon(stop.set)
        thread.join()
