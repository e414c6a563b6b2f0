"""A server of raw bytes: in memory, over TCP, and over TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from tests.helpers import API_KEY
from tests.helpers.tls import certificates
from tts_trio import TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.local_server.memory import memory_connection
from tts_trio.transport.streams import OpenStream, open_stream

Script = Callable[[trio.abc.Stream], Awaitable[None]]


async def receive_request(stream: trio.abc.Stream) -> bytes:
    """The body of the next request; it is JSON, in one piece with its head."""
    data = b""
    while not data.endswith(b"}"):
        received = await stream.receive_some()
        if not received:
            raise trio.BrokenResourceError
        data += received
    return data.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def serving(over: str, script: Script) -> AsyncGenerator[tuple[TTSConfig, OpenStream]]:
    """A server of raw bytes; yields a configuration, and what opens streams to it."""

    async def serve(stream: trio.abc.Stream) -> None:
        try:
            await script(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:

        async def open_in_memory(_config: TTSConfig) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            client, server = memory_connection()
            nursery.start_soon(serve, server)
            return client

        config, opener = TTSConfig(api_key=API_KEY, voice_id="abc", base_url="http://127.0.0.1"), open_in_memory
        if over != "memory":
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            where = f"127.0.0.1:{listener.socket.getsockname()[1]}"
            accepting: trio.abc.Listener[trio.abc.Stream] = listener
            config, opener = config.evolve(base_url=f"http://{where}"), open_stream
            if over == "TLS":
                tls = certificates()
                accepting = trio.SSLListener(listener, tls.server, https_compatible=True)
                config = config.evolve(base_url=f"https://{where}", ssl_context=tls.client)
            nursery.start_soon(trio.serve_listeners, serve, [accepting])
        yield config, opener
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def answering(config: TTSConfig, answer: Script) -> AsyncGenerator[tuple[TTSManager, list[float]]]:
    """Yield a manager whose requests over HTTP are answered by a function, and the times at which they came."""
    asked: list[float] = []

    async def script(stream: trio.abc.Stream) -> None:
        while True:  # a WebSocket, which asks for nothing, waits here
            await receive_request(stream)
            asked.append(trio.current_time())
            await answer(stream)

    async with serving("memory", script) as (_, opener):
        connections = WebSocketConnectionManager(config, open_stream=opener)
        async with connections, TTSManager(config, connections) as tts:
            yield tts, asked
