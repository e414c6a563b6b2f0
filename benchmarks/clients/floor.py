"""The floor: the least code that works, on sockets that are open. It survives nothing.

`python -m benchmarks.clients.floor tokens` sends each piece of text as it comes, so that every one is spoken by itself;
with `sentences` a piece that ends in a mark completes a message.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

import h11
import trio
import wsproto
import wsproto.events as ws

from benchmarks.clients.on_trio import interruptible, run_on_trio
from benchmarks.clients.turn import Turn

QUERY = "model_id=eleven_flash_v2_5&output_format=pcm_16000&auto_mode=true&sync_alignment=true&inactivity_timeout=180"
_READ_BYTES = 65536
_SPARES = 2  # the socket of a turn is used up by it, and the next turn may come before there is another


class Socket:
    """One open WebSocket."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    async def open(self, host: str, path: str, key: str) -> None:
        """Upgrade, and say what comes first."""
        headers = [(b"xi-api-key", key.encode())]
        await self._stream.send_all(self._protocol.send(ws.Request(host=host, target=path, extra_headers=headers)))
        self._protocol.receive_data(await self._stream.receive_some(_READ_BYTES))
        assert isinstance(next(self._protocol.events()), ws.AcceptConnection)
        await self.send(" ")

    async def send(self, text: str) -> None:
        """Send a text."""
        await self._stream.send_all(self._protocol.send(ws.TextMessage(json.dumps({"text": text}))))

    async def listen(self, turn: Turn) -> None:
        """Hear all there is to hear."""
        message: list[str] = []
        while True:
            self._protocol.receive_data(await self._stream.receive_some(_READ_BYTES))
            for event in self._protocol.events():
                assert isinstance(event, ws.TextMessage), event
                message.append(event.data)
                if event.message_finished:
                    said = json.loads("".join(message))
                    message.clear()
                    if said.get("audio"):
                        turn.heard(base64.b64decode(said["audio"]))
                    elif said["isFinal"]:
                        return

    async def close(self) -> None:
        """Drop it."""
        await trio.aclose_forcefully(self._stream)


class Sender(Protocol):
    """What texts can be sent over."""

    async def send(self, text: str) -> None:
        """Send a text."""
        ...


async def feed(socket: Sender, turn: Turn) -> None:
    """Send the pieces of a turn as they come, or its sentences."""
    async for text in turn.pieces(trio.sleep) if sys.argv[1] == "tokens" else turn.sentences(trio.sleep):
        await socket.send(text)
    await socket.send("")


class Floor:
    """Open sockets, and what to do with them."""

    def __init__(self, base_url: str, voice: str) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port or 443
        self._voice = voice
        self._key = os.environ["ELEVENLABS_API_KEY"]
        self._context = ssl.create_default_context()
        self._sockets: list[Socket] = []
        self._http: trio.abc.Stream | None = None

    async def prepare(self) -> None:
        """Open what is missing."""
        while len(self._sockets) < _SPARES:
            await self._dial_websocket()
        if self._http is None:
            self._http = await self._dial()

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        if not self._sockets:
            await self._dial_websocket()
        async with interruptible(turn) as scope:
            turn.begin()
            socket = self._sockets.pop(0)
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(feed, socket, turn)
                    await socket.listen(turn)
                    turn.mark("ended")
            await socket.close()
            turn.mark("free")

    async def say(self, turn: Turn) -> None:
        """Speak a static text."""
        turn.begin()
        assert self._http is not None
        body = json.dumps({"text": turn.text, "model_id": "eleven_flash_v2_5"}).encode()
        head = (
            f"POST /v1/text-to-speech/{self._voice}/stream?output_format=pcm_16000&optimize_streaming_latency=4"
            f" HTTP/1.1\r\nHost: {self._host}\r\nxi-api-key: {self._key}\r\nContent-Type: application/json"
            f"\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self._http.send_all(head.encode() + body)
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="POST", target="/", headers=[("Host", "-")]))
        peer.send(h11.EndOfMessage())
        while not isinstance(event := peer.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                peer.receive_data(await self._http.receive_some(_READ_BYTES))
            elif isinstance(event, h11.Data):
                turn.heard(bytes(event.data))
        turn.mark("ended")
        turn.mark("free")

    async def close(self) -> None:
        """Drop everything."""
        for socket in self._sockets:
            await socket.close()
        if self._http is not None:
            await trio.aclose_forcefully(self._http)

    async def _dial(self) -> trio.abc.Stream:
        stream = trio.SSLStream(
            await trio.open_tcp_stream(self._host, self._port),
            self._context,
            server_hostname=self._host,
            https_compatible=True,
        )
        await stream.do_handshake()
        return stream

    async def _dial_websocket(self) -> None:
        socket = Socket(await self._dial())
        path = f"/v1/text-to-speech/{self._voice}/stream-input?{QUERY}"
        await socket.open(self._host, path, self._key)
        self._sockets.append(socket)


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Floor]:
    """Make one; it dials when it is told to."""
    floor = Floor(base_url, voice)
    try:
        yield floor
    finally:
        with trio.CancelScope(shield=True):
            await floor.close()


if __name__ == "__main__":
    run_on_trio(open_client)
