"""A bare loop on trio-websocket: what the library itself costs. It does what the floor does, and no more."""

from __future__ import annotations

import base64
import json
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
import trio_websocket

from benchmarks.clients.floor import QUERY, feed
from benchmarks.clients.on_trio import run_on_trio
from benchmarks.clients.turn import Turn


class Bare:
    """One open WebSocket, for one turn."""

    def __init__(self, base_url: str, voice: str, nursery: trio.Nursery) -> None:
        self._url = f"{base_url.replace('https', 'wss', 1)}/v1/text-to-speech/{voice}/stream-input?{QUERY}"
        self._nursery = nursery
        self._context = ssl.create_default_context()
        self._socket: trio_websocket.WebSocketConnection | None = None

    async def prepare(self) -> None:
        """Open it."""
        self._socket = await trio_websocket.connect_websocket_url(
            self._nursery,
            self._url,
            ssl_context=self._context,
            extra_headers=[(b"xi-api-key", os.environ["ELEVENLABS_API_KEY"].encode())],
            max_message_size=2**24,
            receive_buffer_size=65536,
        )
        await self.send(" ")

    async def send(self, text: str) -> None:
        """Send a text."""
        assert self._socket is not None
        await self._socket.send_message(json.dumps({"text": text}))

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        if self._socket is None:
            await self.prepare()
        assert self._socket is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, self, turn)
            while not (said := json.loads(await self._socket.get_message())).get("isFinal"):
                turn.heard(base64.b64decode(said["audio"]))
        turn.mark("ended")
        await self._socket.aclose()
        self._socket = None


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Bare]:
    """Make one; it dials when it is told to."""
    async with trio.open_nursery() as nursery:
        yield Bare(base_url, voice, nursery)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_on_trio(open_client)
