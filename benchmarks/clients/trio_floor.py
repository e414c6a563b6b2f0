"""The floor of many calls on trio: our own TLS stream and frames, and above them what `asyncio_floor` does by hand.

What it costs more than that is trio's share. What the library costs more than this is its own.
"""

from __future__ import annotations

import base64
import json
import math
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import trio

from benchmarks.clients.asyncio_floor import PING, QUERY, SOCKETS, STAY_SECONDS, TEXT, client_frame, request
from benchmarks.clients.on_trio import run_on_trio
from benchmarks.clients.turn import Turn
from tts_trio.transport.frames import Frames
from tts_trio.transport.tls_stream import TLSStream

_READ_BYTES = 65536
_CONTEXT = ssl.create_default_context()


class Socket:
    """One open WebSocket, read by a task of its own, as is everything that is to answer pings."""

    def __init__(self, stream: TLSStream, nursery: trio.Nursery) -> None:
        self._stream = stream
        self._nursery = nursery
        self._frames = Frames(2**24)
        self._heard, self.heard = trio.open_memory_channel[bytes](math.inf)
        self._sending = trio.Lock()

    async def open(self, host: str, path: str, key: str) -> None:
        """Upgrade, and say what comes first."""
        await self._stream.send_all(request(host, path, key))
        head = b""
        while b"\r\n\r\n" not in head:
            data = await self._stream.receive_some(_READ_BYTES)
            head += data
            list(self._frames.cut(data))
        assert head.startswith(b"HTTP/1.1 101"), head
        await self.send(" ")
        self._nursery.start_soon(self._read)
        self._nursery.start_soon(self._stay)

    async def send(self, text: str) -> None:
        """Send a text."""
        await self._frame(TEXT, json.dumps({"text": text}).encode())

    async def _frame(self, opcode: int, payload: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(client_frame(opcode, payload))

    async def _stay(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while True:
                await trio.sleep(STAY_SECONDS)
                await self._frame(PING, b"ping")
                await self.send(" ")

    async def _read(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError), self._heard:
            while data := await self._stream.receive_some(_READ_BYTES):
                for message in self._frames.cut(data):
                    if isinstance(message, str):
                        said = json.loads(message)
                        if said["audio"]:
                            self._heard.send_nowait(base64.b64decode(said["audio"]))
                        elif said["isFinal"]:
                            return

    async def close(self) -> None:
        """Drop it."""
        await trio.aclose_forcefully(self._stream)


class Floor:
    """The sockets of a call."""

    def __init__(self, base_url: str, voice: str, nursery: trio.Nursery) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port or 443
        self._path = f"/v1/text-to-speech/{voice}/stream-input?{QUERY}"
        self._nursery = nursery
        self._sockets: list[Socket] = []

    async def prepare(self) -> None:
        """Open what is missing."""
        while len(self._sockets) < SOCKETS:
            await self._open()

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        used = self._sockets.pop(0)
        self._nursery.start_soon(self._open)
        self._nursery.start_soon(self._feed, used, turn)
        async for audio in used.heard:
            turn.heard(audio)
        turn.mark("ended")
        await used.close()

    @staticmethod
    async def _feed(used: Socket, turn: Turn) -> None:
        async for sentence in turn.sentences(trio.sleep):
            await used.send(sentence)
        await used.send("")

    async def _open(self) -> None:
        tcp = await trio.open_tcp_stream(self._host, self._port)
        opened = Socket(await TLSStream.open(tcp, _CONTEXT, self._host, self._port), self._nursery)
        await opened.open(self._host, self._path, os.environ["ELEVENLABS_API_KEY"])
        self._sockets.append(opened)


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Floor]:
    """Make one; it dials when it is told to."""
    async with trio.open_nursery() as nursery:
        yield Floor(base_url, voice, nursery)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_on_trio(open_client)
