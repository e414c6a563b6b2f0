"""The floor of many calls: asyncio, TLS on the descriptor, frames written and read by hand, and `json`.

It does what a call in service needs, and no more: while a reply is spoken it dials the socket of the next one, and it
pings every open socket and keeps it alive. It survives nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from benchmarks.clients.turn import Turn
from benchmarks.clients.worker import run_on_asyncio

QUERY = (
    f"model_id=eleven_flash_v2_5&output_format={os.environ.get('ELEVENLABS_OUTPUT_FORMAT', 'pcm_16000')}"
    "&auto_mode=true&sync_alignment=true&inactivity_timeout=180"
)
SOCKETS = 2  # the one of the next reply, and a spare
STAY_SECONDS = 10.0
_READ_BYTES = 65536
TEXT, PING, PONG = 0x1, 0x9, 0xA


def request(host: str, path: str, key: str) -> bytes:
    """Return the request of a WebSocket."""
    nonce = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\nxi-api-key: {key}\r\n\r\n"
    ).encode()


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a client."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2)
    mask = os.urandom(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head + mask + (int.from_bytes(payload) ^ key).to_bytes(size)


class Socket:
    """One open WebSocket."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._received = bytearray()
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._stay: asyncio.TimerHandle | None = None

    async def open(self, host: str, path: str, key: str) -> None:
        """Shake hands, upgrade, and say what comes first."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            except ssl.SSLWantWriteError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
        self._tls.send(request(host, path, key))
        while b"\r\n\r\n" not in self._received:
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
            try:
                self._received += self._tls.recv(_READ_BYTES)
            except ssl.SSLWantReadError:  # a ticket
                continue
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self._received[:] = rest
        self._loop.add_reader(self._tls, self._read)
        self.send(" ")
        self._stay = self._loop.call_later(STAY_SECONDS, self._keep)

    async def _ready(self, watch: Callable[..., object], unwatch: Callable[..., object]) -> None:
        ready = self._loop.create_future()
        watch(self._tls, lambda: ready.done() or ready.set_result(None))
        await ready
        unwatch(self._tls)

    def send(self, text: str) -> None:
        """Send a text."""
        self._frame(TEXT, json.dumps({"text": text}).encode())

    def _keep(self) -> None:
        self._frame(PING, b"ping")
        self.send(" ")
        self._stay = self._loop.call_later(STAY_SECONDS, self._keep)

    def _frame(self, opcode: int, payload: bytes) -> None:
        self._tls.send(client_frame(opcode, payload))

    def _read(self) -> None:
        received = self._received
        try:
            received += (data := self._tls.recv(_READ_BYTES))
            while self._tls.pending():
                received += self._tls.recv(_READ_BYTES)
        except ssl.SSLWantReadError:
            return
        if not data:
            self._loop.remove_reader(self._tls)
            return
        at = 0
        while len(received) >= at + 2:
            size, begin = received[at + 1], at + 2
            if size >= 126:
                begin = at + (4 if size == 126 else 10)
                size = int.from_bytes(received[at + 2 : begin])
            if len(received) < begin + size:
                break
            if received[at] & 0x0F == TEXT:
                self._messages.append(bytes(received[begin : begin + size]))
            elif received[at] & 0x0F == PING:
                self._frame(PONG, bytes(received[begin : begin + size]))
            at = begin + size
        del received[:at]
        if self._messages and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def listen(self, turn: Turn) -> None:
        """Hear all there is to hear."""
        while True:
            while not self._messages:
                self._waiter = self._loop.create_future()
                await self._waiter
            said = json.loads(self._messages.popleft())
            if said["audio"]:
                turn.heard(base64.b64decode(said["audio"]))
            elif said["isFinal"]:
                return

    def close(self) -> None:
        """Drop it."""
        if self._stay is not None:
            self._stay.cancel()
        self._loop.remove_reader(self._tls)
        self._tls.close()


class Floor:
    """The sockets of a call."""

    def __init__(self, base_url: str, voice: str, context: ssl.SSLContext) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port or 443
        self._path = f"/v1/text-to-speech/{voice}/stream-input?{QUERY}"
        self._key = os.environ["ELEVENLABS_API_KEY"]
        self._context = context
        self._sockets: list[Socket] = []
        self._dial: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Open what is missing."""
        while len(self._sockets) < SOCKETS:
            await self._open()

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        used = self._sockets.pop(0)
        self._dial = asyncio.create_task(self._open())
        feed = asyncio.create_task(self._feed(used, turn))
        await used.listen(turn)
        turn.mark("ended")
        await feed
        used.close()

    @staticmethod
    async def _feed(used: Socket, turn: Turn) -> None:
        async for sentence in turn.sentences(asyncio.sleep):
            used.send(sentence)
        used.send("")

    async def close(self) -> None:
        """Drop everything."""
        if self._dial is not None:
            await self._dial
        for each in self._sockets:
            each.close()

    async def _open(self) -> None:
        tcp = socket.socket()
        tcp.settimeout(0)
        await asyncio.get_running_loop().sock_connect(tcp, (self._host, self._port))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = self._context.wrap_socket(tcp, server_hostname=self._host, do_handshake_on_connect=False)
        opened = Socket(tls)
        await opened.open(self._host, self._path, self._key)
        self._sockets.append(opened)


_CONTEXT = ssl.create_default_context()


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Floor]:
    """Make one; it dials when it is told to."""
    floor = Floor(base_url, voice, _CONTEXT)
    try:
        yield floor
    finally:
        await floor.close()


if __name__ == "__main__":
    run_on_asyncio(open_client)
