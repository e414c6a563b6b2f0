"""How the hostile server answers a request for a static text."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING

import attrs
import trio

from tests.hostile.faults import Fault
from tests.hostile.rules import poison
from tests.hostile.voice import Style, line, pieces, sound_of

if TYPE_CHECKING:
    from tests.hostile.peer import Asked, Peer

_TYPES = {"pcm": "audio/pcm", "ulaw": "audio/ulaw"}
_DRIPS = {"flood": (b"\1\1\1", 0.03), "byte": (b"\1", 0.03), "sample": (b"\1\1", 0.03), "little": (b"\1\1" * 8, 0.03)}
_SOON_OVER = 9  # characters: a flood behind them is as long as they may sound before the listener waits for it
_PAGE = b"<html><title>Log in</title><body>" + b"x" * 300 + b"</body></html>"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode()


def _whole(text: str, output_format: str, content_type: str) -> bytes:
    """A whole answer, in one piece."""
    body = sound_of(text, output_format)
    return _head(200, {"content-type": content_type, "content-length": str(len(body))}) + body


async def speak_unasked(peer: Peer, fault: Fault) -> None:
    """Say something on a connection on which nothing was asked."""
    match fault.name:
        case "end":
            await peer.end(fault.how)
        case "deaf":
            await trio.sleep(30)
        case "raw":
            await peer.send(fault.how)
        case _:
            word = poison(1000 + peer.number)
            await peer.send_unasked(word, _whole(word * 2, peer.server.unasked_format, "audio/pcm"))


async def answer(peer: Peer, asked: Asked, number: int) -> None:
    """Answer a request, or do something else."""
    server = peer.server
    query = asked.path.partition("?")[2]
    output_format = next(part[14:] for part in query.split("&") if part.startswith("output_format="))
    parsed = json.loads(asked.body)
    text = parsed["text"] if "text" in parsed else parsed["inputs"][0]["text"]
    timed = "with-timestamps" in asked.path
    server.requests += 1
    request = server.requests
    fault, rng = server.draw("answer", request, key=peer.key)
    await trio.sleep(server.faults.thinks(request))
    server.note(f"connection {peer.number}: {peer.key} asks for {text!r}{' with times' if timed else ''}")
    content_type = "application/json" if timed else _TYPES[output_format.partition("_")[0]]
    style = Style.drawn(rng, rng.choice(("first", "each")))
    body = [line(*piece) if timed else piece[0] for piece in pieces(text, output_format, style)]
    if rng.random() < 0.5:  # as chunks of other sizes, and without pauses, for one may hold the smallest part of a clip
        whole = b"".join(body)
        size = rng.choice((1001, 5000))
        body = [whole[at : at + size] for at in range(0, len(whole), size)]
        style = attrs.evolve(style, pause=0.0)
    headers = {"content-type": content_type, "request-id": f"r{request}", "character-cost": str(len(text))}
    chunked = rng.random() < 0.7
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(sum(map(len, body)))}
    reply = _Reply(peer, rng, style, body, chunked=chunked)
    if fault is None:
        await peer.send(_head(200, headers | framing))
        await reply.send_all()
        return
    await _answer_badly(reply, fault, headers, framing, text, output_format, timed=timed)


class _Reply:
    """A body on its way."""

    def __init__(self, peer: Peer, rng: random.Random, style: Style, body: list[bytes], *, chunked: bool) -> None:
        self.peer = peer
        self.rng = rng
        self.body = body
        self._style = style
        self._chunked = chunked

    def framed(self, data: bytes) -> bytes:
        return _chunk(data) if self._chunked else data

    @property
    def last(self) -> bytes:
        return b"0\r\n\r\n" if self._chunked else b""

    async def send_all(self) -> None:
        await self.send_part(1.0)
        if self.last:
            await self.peer.send(self.last)

    async def send_part(self, part: float) -> None:
        for data in self.body[: round(part * len(self.body))]:
            await self.peer.send(self.framed(data))
            if self._style.pause:
                await trio.sleep(self._style.pause)


async def _answer_badly(
    reply: _Reply,
    fault: Fault,
    headers: dict[str, str],
    framing: dict[str, str],
    text: str,
    output_format: str,
    *,
    timed: bool,
) -> None:
    peer = reply.peer
    begin = _head(200, headers | framing)
    partly = min(fault.part, 0.9)
    match fault.name:
        case "refuse":
            await _refuse(reply, fault)
        case "second answer":
            await _answer_twice(reply, fault, begin, output_format, headers["content-type"])
        case "end":
            await peer.send(begin)
            await reply.send_part(partly)
            await peer.end(fault.how)
        case "stop":
            await peer.send(begin)
            await reply.send_part(partly)
            await peer.say_nothing()
        case "endless":
            await _go_on(reply, fault, headers, text, timed=timed)
        case "page":
            page = fault.how.encode("latin-1") + b" " * 10
            headers["content-type"] = reply.rng.choice((headers["content-type"], headers["content-type"], "text/html"))
            await peer.send(_head(200, headers | {"content-length": str(len(page))}) + page)
        case "headers":
            await _send_odd_head(reply, fault, headers, framing)
        case "length":
            await _send_wrong_length(reply, fault, headers)
        case "nothing":
            await peer.send(_head(200, headers | {"content-length": str(len(fault.how))}) + fault.how)
        case "chunk":
            await peer.send(_head(200, headers | {"transfer-encoding": "chunked"}))
            await peer.send(_chunk(b"".join(reply.body[: round(partly * len(reply.body))])) + fault.how)
            await peer.say_nothing()
        case "interim":
            await peer.send(_head(fault.how, {}) + begin)
            await reply.send_all()
        case "garbage":
            await peer.send(fault.how)
            await peer.say_nothing()
        case "head without end":
            for _ in range(200):
                await peer.send(b"HTTP/1.1 200 OK\r\nx: " if not _ else b"y" * 1000)
            await peer.say_nothing()
        case "early":  # it is whole by its framing, and has a tenth of what the text takes: nothing, or one sample
            await peer.send(_head(200, headers | {"content-length": "2"}) + b"\1\1")
        case "hang up behind":
            if fault.how == "close":
                begin = _head(200, headers | framing | {"connection": "close"})
            await peer.send(begin)
            await reply.send_all()
            await peer.end("reset" if fault.how == "reset" else "fin")
        case "line" if timed:
            await _send_bad_line(reply, fault, begin)
        case _:
            await trio.sleep(fault.delay)
            await peer.send(begin)
            await reply.send_all()


async def _refuse(reply: _Reply, fault: Fault) -> None:
    status, headers = fault.how
    detail = {"detail": {"status": "whatever", "message": f"no: {status}"}}
    body = json.dumps(detail).encode() if reply.rng.random() < 0.7 else _PAGE
    if status in {204, 304}:
        body = b""
    headers = {"content-type": "application/json", "content-length": str(len(body))} | headers
    if status in {204, 304}:
        del headers["content-length"]
    await reply.peer.send(_head(status, headers) + body)


async def _answer_twice(reply: _Reply, fault: Fault, begin: bytes, output_format: str, content_type: str) -> None:
    """Send a second answer behind the first, or other bytes."""
    peer = reply.peer
    word = poison(2000 + peer.server.requests)
    behind = _whole(word * 2, output_format, content_type)
    if fault.how == "bytes":
        behind = b"\1\2\3\4"
    elif fault.how == "blank":
        behind = b"\r\n"
    await peer.send(begin)
    if fault.how == "later":
        await reply.send_all()
        await trio.sleep(fault.delay)
        await peer.send_unasked(word, behind)
    else:
        await reply.send_part(1.0)
        await peer.send_unasked(word, behind, before=reply.last)


async def _go_on(reply: _Reply, fault: Fault, headers: dict[str, str], text: str, *, timed: bool) -> None:
    """Send audio without end."""
    peer = reply.peer
    await peer.send(_head(200, headers | {"transfer-encoding": "chunked"}))
    await peer.send(_chunk(b"".join(reply.body)))
    floods = fault.how == "flood" and len(text) < _SOON_OVER
    data, pause = (b"\1\1" * 8000, 0.0) if floods else _DRIPS[fault.how]
    if floods:
        peer.server.flooded.add(text)
    while True:
        await peer.send(_chunk(line(data, None) if timed else data))
        await trio.sleep(pause)


async def _send_odd_head(reply: _Reply, fault: Fault, headers: dict[str, str], framing: dict[str, str]) -> None:
    """A head that is no answer to what was asked."""
    peer = reply.peer
    status, other = (
        (206, {"content-range": "bytes 0-99/200"}),
        (200, {"content-encoding": "gzip"}),
        (200, {"content-encoding": "br"}),
        (200, {"content-type": "text/plain"}),
        (200, {"content-type": ""}),
        (201, {}),
        (202, {}),
        (200, {"content-encoding": "gzip", "content-type": "text/html"}),
    )[fault.how]
    body = b"".join(reply.body)
    if "content-encoding" in other:
        body = gzip.compress(body, 1)
    await peer.send(_head(status, headers | other | {"content-length": str(len(body))}) + body)


async def _send_wrong_length(reply: _Reply, fault: Fault, headers: dict[str, str]) -> None:
    peer = reply.peer
    body = b"".join(reply.body)
    match fault.how:
        case "longer":
            await peer.send(_head(200, headers | {"content-length": str(len(body) + 100)}) + body)
            await peer.end("fin")
        case "unknown":
            await peer.send(_head(200, headers) + body[: len(body) // 2])
            await peer.end("fin")
        case "both":
            both = {"content-length": str(len(body) // 2), "transfer-encoding": "chunked"}
            await peer.send(_head(200, headers | both) + _chunk(body) + b"0\r\n\r\n")
        case _:
            await peer.send(_head(200, headers | {"content-length": "-5"}) + body)
            await peer.end("fin")


async def _send_bad_line(reply: _Reply, fault: Fault, begin: bytes) -> None:
    bad = {
        "json": b'{"audio_base64": \n',
        "base64": b'{"audio_base64": "%%%"}\n',
        "list": b"[1, 2]\n",
        "detail": b'{"detail": {"status": "system_busy", "message": "no"}}\n',
        "times": b'{"audio_base64": null, "alignment": {"characters": 5}}\n',
    }[fault.how]
    reply.body = [b"".join(reply.body)]
    lines = reply.body[0].splitlines(keepends=True)
    lines.insert(round(fault.part * len(lines)), bad)
    body = b"".join(lines)
    head = begin.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    kept = {
        n: v for n, _, v in (h.partition(": ") for h in head[1:]) if n not in {"content-length", "transfer-encoding"}
    }
    await reply.peer.send(_head(200, kept | {"content-length": str(len(body))}) + body)
