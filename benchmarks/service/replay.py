"""The service for hundreds of calls: replies in real time, a message every so many milliseconds, made beforehand.

The local server says a second or so in each message, and makes each of them when it is due. Here every message is the
same length, and one that was made for a call serves all others, so that the service takes a small part of its core and
is not what is measured. It answers `stream-input` and `multi-stream-input`, and survives nothing.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import trio
from wsproto.utilities import generate_accept_token

CHARACTERS_A_SECOND = 16
_MODEL_LATENCY = 0.075
_READ_BYTES = 65536
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


@attrs.frozen
class Shape:
    """How the sound of a format comes.

    Attributes:
        message_ms: Milliseconds of sound in a message.
        bytes_a_second: Of the sound.
    """

    message_ms: int
    bytes_a_second: int


SHAPES = {"pcm_16000": Shape(250, 32000), "ulaw_8000": Shape(20, 8000)}


@lru_cache(maxsize=4096)
def message(shape: Shape, characters: str, start_ms: int) -> str:
    """Return a message with sound, in which these characters are said; the first one begins `start_ms` after it."""
    times = {
        "charStartTimesMs": [start_ms + round(at * 1000 / CHARACTERS_A_SECOND) for at in range(len(characters))],
        "charDurationsMs": [round(1000 / CHARACTERS_A_SECOND)] * len(characters),
        "chars": list(characters),
    }
    sound = random.Random(characters).randbytes(shape.bytes_a_second * shape.message_ms // 1000)
    fields = {"audio": base64.b64encode(sound).decode(), "isFinal": None}
    return json.dumps(fields | {"normalizedAlignment": times, "alignment": times})


FINAL = json.dumps({"audio": None, "isFinal": True, "normalizedAlignment": None, "alignment": None})


class _Context:
    """One reply: the text of it that came, and whether that is all."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self._changed = trio.Event()

    def add(self, text: str, *, ended: bool) -> None:
        self.text = (self.text + text).lstrip()
        self.ended = self.ended or ended
        self._changed.set()
        self._changed = trio.Event()

    async def reach(self, characters: int) -> bool:
        """Wait for so many characters, or for the end; tell whether anything is left to be said beyond `characters`."""
        while len(self.text) < characters and not self.ended:
            await self._changed.wait()
        return not self.ended or characters <= len(self.text.rstrip())


class _Socket:
    """One connection, after its request."""

    def __init__(self, stream: trio.abc.Stream, path: str, note: Callable[..., None]) -> None:
        url = urlsplit(path)
        self._stream = stream
        self._note = note
        self._voice = url.path.split("/")[3]
        self._several = url.path.endswith("/multi-stream-input")
        self._shape = SHAPES[parse_qs(url.query)["output_format"][0]]
        self._contexts: dict[str | None, _Context] = {}
        self._sending = trio.Lock()

    async def run(self, received: bytearray) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                for opcode, payload in _frames(received):
                    if opcode == _CLOSE:
                        await self._send(_CLOSE, payload)
                        nursery.cancel_scope.cancel()
                        return
                    if opcode == _PING:
                        await self._send(_PONG, payload)
                    elif opcode == _TEXT:
                        self._take(json.loads(payload), nursery)
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    nursery.cancel_scope.cancel()
                    return
                received += data

    def _take(self, message: dict[str, Any], nursery: trio.Nursery) -> None:
        name = message.get("context_id") if self._several else None
        text = message.get("text") or ""
        ended = bool(message.get("close_context")) if self._several else not text
        if text.strip() and name not in self._contexts:
            self._contexts[name] = _Context()
            nursery.start_soon(self._speak, name, self._contexts[name])
        if name in self._contexts:
            self._contexts[name].add(text, ended=ended)

    async def _speak(self, name: str | None, context: _Context) -> None:
        shape = self._shape
        began = trio.current_time() + _MODEL_LATENCY
        named = f', "contextId": {json.dumps(name)}}}' if self._several else "}"
        said = 0
        for number in itertools.count():
            end = (number + 1) * shape.message_ms * CHARACTERS_A_SECOND // 1000
            left = await context.reach(end)
            text = context.text.rstrip() if context.ended else context.text
            if not left and number * shape.message_ms * CHARACTERS_A_SECOND >= 1000 * len(text):
                break
            await trio.sleep_until(began + number * shape.message_ms / 1000)
            start_ms = round(said * 1000 / CHARACTERS_A_SECOND) - number * shape.message_ms
            content = message(shape, text[said:end], max(0, start_ms))
            size = shape.bytes_a_second * shape.message_ms // 1000
            await self._send(_TEXT, (content[:-1] + named).encode(), kind="audio", size=size)
            said = min(end, len(text))
        del self._contexts[name]
        await self._send(_TEXT, (FINAL[:-1] + named).encode(), kind="final", size=0)
        if not self._several:
            await self._send(_CLOSE, (1000).to_bytes(2))

    async def _send(self, opcode: int, payload: bytes, **event: Any) -> None:
        data = frame(payload, opcode)
        async with self._sending:
            if event:
                self._note(at=time.perf_counter(), voice=self._voice, **event)
            await self._stream.send_all(data)


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return a frame of the service."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2) + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8) + payload


def _frames(received: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames of a client out of what was received; none of theirs is in fragments."""
    frames: list[tuple[int, bytes]] = []
    while len(received) >= 2:
        size, at = received[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(received[2:at])
        if len(received) < at + 4 + size:
            break
        mask, masked = received[at : at + 4], received[at + 4 : at + 4 + size]
        key = (mask * (size // 4 + 1))[:size]
        frames.append((received[0] & 0x0F, (int.from_bytes(masked) ^ int.from_bytes(key)).to_bytes(size)))
        del received[: at + 4 + size]
    return frames


async def replay(stream: trio.abc.Stream, note: Callable[..., None]) -> None:
    """Serve a connection. `note` is called with what `benchmarks.timing` calls an event, and its voice."""
    received = bytearray()
    try:
        while b"\r\n\r\n" not in received:
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                return
            received += data
        at = time.perf_counter()
        head, _, rest = bytes(received).partition(b"\r\n\r\n")
        request, *lines = head.decode().split("\r\n")
        path = request.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        note(at=at, voice=path.split("/")[3], kind="request")
        accept = generate_accept_token(headers["sec-websocket-key"].encode()).decode()
        await stream.send_all(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        await _Socket(stream, path, note).run(bytearray(rest))
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client is gone
    finally:
        await trio.aclose_forcefully(stream)
