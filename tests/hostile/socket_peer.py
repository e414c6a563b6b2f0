"""How the hostile server speaks on a WebSocket."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
import wsproto
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.hostile.faults import Fault
from tests.hostile.rules import poison
from tests.hostile.voice import Style, final, frame, junk, odd_times, pieces, sound_of, times_of

if TYPE_CHECKING:
    from tests.hostile.peer import Asked, Peer

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
assert wsproto.__version__


def raw_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame of a WebSocket server."""
    first = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return first + b"\x7e" + len(payload).to_bytes(2) + payload
    return first + b"\x7f" + len(payload).to_bytes(8) + payload


async def upgrade(peer: Peer, asked: Asked) -> None:
    """Answer the handshake, and serve the WebSocket to its end."""
    server = peer.server
    fault, rng = server.draw("upgrade", peer.number, key=peer.key)
    accept = base64.b64encode(hashlib.sha1(asked.headers["sec-websocket-key"].encode() + _GUID).digest()).decode()
    head = f"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    behind = b""
    if fault is not None:
        match fault.name:
            case "refuse":
                status, headers = fault.how
                body = json.dumps({"detail": {"status": "whatever", "message": f"no: {status}"}}).encode()
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                length = "" if rng.random() < 0.3 or status in {204, 304} else f"content-length: {len(body)}\r\n"
                await peer.send(f"HTTP/1.1 {status} No\r\n{lines}{length}\r\n".encode())
                if length:
                    await peer.send(body)
                await peer.end("fin")
            case "say nothing":
                await peer.say_nothing()
            case "end":
                await peer.end(fault.how)
            case "wrong accept":
                head = head.replace(accept, base64.b64encode(b"x" * 20).decode())
            case "garbage":
                await peer.send(fault.how)
                await peer.say_nothing()
            case "head without end":
                await peer.send(head[:-2].encode())
                await peer.say_nothing()
            case _:
                behind = _at_once(peer, asked, fault, before=len(head))
    await peer.send(head.encode() + behind)
    await _Socket(peer, asked, rng).serve()


def _at_once(peer: Peer, asked: Asked, fault: Fault, *, before: int) -> bytes:
    match fault.how:
        case "poison":
            word = poison(3000 + peer.number)
            output_format = _format(asked)
            message = frame(sound_of(word, output_format), None, snake="dialogue" in asked.path)
            unasked = raw_frame(1, message.encode())
            peer.poisoned(word, peer.sent + before + len(unasked))
            return unasked
        case "final":
            return raw_frame(1, final(snake="dialogue" in asked.path).encode())
        case "error":
            return raw_frame(1, b'{"message":"busy","error":"system_busy","code":1008}')
        case "close":
            return raw_frame(8, (1011).to_bytes(2) + b"no")
        case _:
            return b"".join(
                raw_frame(
                    1 if isinstance(message, str) else 2, message.encode() if isinstance(message, str) else message
                )
                for message in junk(0)
            )


def _format(asked: Asked) -> str:
    return next(part[14:] for part in asked.path.partition("?")[2].split("&") if part.startswith("output_format="))


class _Socket:
    """A WebSocket."""

    def __init__(self, peer: Peer, asked: Asked, rng: random.Random) -> None:
        self.peer = peer
        self.rng = rng
        self.output_format = _format(asked)
        self.dialogue = "text-to-dialogue" in asked.path
        self.single = "multi" not in asked.path
        self.timed = "sync_alignment=true" in asked.path
        self._websocket = Connection(ConnectionType.SERVER)
        self._contexts: dict[Any, trio.MemorySendChannel[str | None]] = {}
        self._over: list[Any] = []
        self._begun = trio.Event()
        self._deaf = False
        self._utterances = 0

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._be_idle)
            while True:
                data = await self.peer.receive()
                if self._deaf:
                    await trio.sleep_forever()
                try:
                    self._websocket.receive_data(data)
                    events = list(self._websocket.events())
                except RemoteProtocolError:
                    await self.peer.end("fin")
                for event in events:
                    await self._take(event, nursery)

    async def send(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        opcode = 1 if isinstance(message, str) else 2
        if self.rng.random() < 0.1 and len(data) > 100:
            middle = self.rng.randrange(len(data))
            await self.peer.send(raw_frame(opcode, data[:middle], fin=False) + raw_frame(0, data[middle:]))
        else:
            await self.peer.send(raw_frame(opcode, data))

    async def close(self, code: int, reason: str = "because") -> None:
        await self.peer.send(raw_frame(8, code.to_bytes(2) + reason.encode()))
        await trio.sleep(0.1)
        await self.peer.end("fin")

    async def _take(self, event: Any, nursery: trio.Nursery) -> None:
        match event:
            case Ping():
                await self.peer.send(raw_frame(10, bytes(event.payload)))
            case CloseConnection():
                await self.peer.send(raw_frame(8, event.code.to_bytes(2)))
                await self.peer.end("fin")
            case TextMessage():
                await self._take_frame(json.loads(event.data), nursery)
            case Message() | BytesMessage():
                pass

    async def _take_frame(self, message: dict[str, Any], nursery: trio.Nursery) -> None:
        context = None if self.single else message.get("context_id")
        if message.get("close_socket"):
            await self.close(1000, "")
        text = message.get("text", "")
        if self.dialogue:
            text = "".join(each["text"] for each in message.get("inputs", []))
        complete = (self.single and message.get("text") == "") or message.get("close_context")
        if not text.strip() and not complete:
            return
        if not self._begun.is_set():
            self._begun.set()
            self.peer.asks()
        if complete and not text.strip() and context not in self._contexts:
            await self.send(final(context=context, snake=self.dialogue))
            return
        if context not in self._contexts:
            self._contexts[context], phrases = trio.open_memory_channel[str | None](math.inf)
            self._utterances += 1
            nursery.start_soon(self._speak, context, phrases, self._utterances)
        if text.strip():
            self.peer.server.note(f"connection {self.peer.number}, context {context}: {self.peer.key} says {text!r}")
            self._contexts[context].send_nowait(text)
        if complete:
            self._contexts[context].send_nowait(None)

    async def _speak(self, context: Any, phrases: trio.MemoryReceiveChannel[str | None], number: int) -> None:
        fault, rng = self.peer.server.draw("speech", self.peer.number, number, key=self.peer.key)
        times = rng.choice(("first", "each")) if self.timed else "none"
        if self.dialogue and times == "first":
            times = "each"
        style = Style.drawn(rng, times)
        count = 0
        behind = fault is not None and fault.name == "behind"
        thinks = self.peer.server.faults.thinks(self.peer.number, number)
        async for phrase in phrases:
            if phrase is None:
                break
            if count == 0:
                await trio.sleep(thinks)
            if not self.timed:
                self.peer.server.untimed.append(phrase)
            if fault is not None and count == fault.phrase:
                await _Trouble(self, context, phrase, style, fault, rng).make()
                fault = None
            else:
                await self.say(context, phrase, style)
            count += 1
        else:
            return
        self._over.append(context)
        if self.single:
            await self.send(final(snake=False))
            if behind:
                word = poison(6000 + self.peer.number)
                await self.send(frame(sound_of(word, self.output_format), times_of(word), snake=False))
                await self.send(final(snake=False))
            await trio.sleep(0.03)
            await self.close(1000, "")
        await self.send(final(context=context, snake=self.dialogue))

    async def say(
        self, context: Any, phrase: str, style: Style, *, part: float = 1.0, times: Callable[..., Any] | None = None
    ) -> None:
        """Send the clip of a phrase, or a part of it."""
        messages = pieces(phrase, self.output_format, style)
        for audio, right in messages[: round(part * len(messages))]:
            await self.send(
                frame(audio, right if times is None else times(right), context=context, snake=self.dialogue)
            )
            if style.pause:
                await trio.sleep(style.pause)

    async def _be_idle(self) -> None:
        """Say something before anything was asked."""
        fault, _ = self.peer.server.draw("idle", self.peer.number, key=self.peer.key)
        if fault is None:
            return
        with trio.move_on_after(fault.delay):
            await self._begun.wait()
        if self._begun.is_set():  # maybe in the turn in which the time came: from now on it would be an answer
            return
        match fault.name:
            case "speak":
                word = poison(4000 + self.peer.number)
                self.peer.poisoned(word, math.inf)  # while it waits to be sent
                context = None if self.single else self.rng.choice(("1", "2", None))
                await self.send(
                    frame(sound_of(word, self.output_format), times_of(word), context=context, snake=self.dialogue)
                )
                self.peer.poisoned(word, self.peer.sent)
            case "final":
                await self.send(final(context=None if self.single else "1", snake=self.dialogue))
            case "error":
                await self.send(json.dumps({"message": "no", "error": fault.how, "code": 1008}))
            case "close":
                await self.close(fault.how)
            case "end":
                await self.peer.end(fault.how)
            case "junk":
                for message in junk(0):
                    await self.send(message)
            case "raw":
                await self.peer.send(fault.how)
            case _:
                self._deaf = True


class _Trouble:
    """What goes wrong with one phrase."""

    def __init__(
        self, socket: _Socket, context: Any, phrase: str, style: Style, fault: Fault, rng: random.Random
    ) -> None:
        self.socket = socket
        self.peer = socket.peer
        self.context = context
        self.phrase = phrase
        self.style = style
        self.fault = fault
        self.rng = rng

    async def make(self) -> None:
        fault, socket = self.fault, self.socket
        partly = min(fault.part, 0.9)
        match fault.name:
            case "early final":
                await self._whole_times(partly)
                await self._final()
                await trio.sleep_forever()
            case "final alone":
                await self._final()
                await trio.sleep_forever()
            case "end":
                await socket.say(self.context, self.phrase, self.style, part=fault.part)
                if fault.how == "half a frame":
                    await self.peer.send(b"\x81\x7e\x10\x00{")
                await self.peer.end("reset" if fault.how == "reset" else "fin")
            case "close":
                await socket.say(self.context, self.phrase, self.style, part=fault.part)
                await socket.close(fault.how)
            case "stop":
                await socket.say(self.context, self.phrase, self.style, part=fault.part)
                socket._deaf = fault.how == "deaf"
                await trio.sleep_forever()
            case "endless":
                await self._go_on()
            case "junk":
                for message in junk(int(not socket.single)):
                    await socket.send(message)
                await self._say()
            case "odd times":
                self.peer.server.untimed.append(self.phrase)
                await socket.say(
                    self.context,
                    self.phrase,
                    self.style,
                    times=lambda right: right and odd_times("".join(right["chars"]), fault.how),
                )
            case "no times":
                self.peer.server.untimed.append(self.phrase)
                await socket.say(self.context, self.phrase, self.style, times=lambda _: None)
            case "others' context" if not socket.single:
                word = poison(5000 + self.peer.number)
                for other in ("nobody's", 7, ["1"], "", *[str(int(over)) for over in socket._over[-1:]]):
                    await socket.send(
                        frame(sound_of(word, socket.output_format), None, context=other, snake=socket.dialogue)
                    )
                    await socket.send(final(context=other, snake=socket.dialogue))
                await self._say()
            case "error":
                await self._complain()
            case "behind":
                await self._say()
                await self._go_behind()
            case "lose a piece":
                await self._lose_a_piece()
            case "raw":
                await socket.say(self.context, self.phrase, self.style, part=fault.part)
                await self.peer.send(fault.how)
                await trio.sleep_forever()
            case "be slow":
                await trio.sleep(fault.delay)
                await self._say()
            case _:
                await self._say()

    async def _say(self) -> None:
        await self.socket.say(self.context, self.phrase, self.style)

    async def _final(self) -> None:
        await self.socket.send(final(context=self.context, snake=self.socket.dialogue))

    async def _whole_times(self, part: float) -> None:
        """Send the times of the whole phrase, and a part of its sound: some of its letters are missing."""
        letters = len(self.phrase.rstrip(" .,!?—")) - 4
        sound = b""
        if self.socket.timed and letters > 0:
            letters = min(letters, round(0.7 * len(self.phrase)))  # a dialogue's times are longer than its sound
            sound = sound_of(self.phrase[: round(part * letters)], self.socket.output_format)
        if sound:
            await self.socket.send(
                frame(sound, times_of(self.phrase), context=self.context, snake=self.socket.dialogue)
            )

    async def _go_on(self) -> None:
        await self._say()
        how, socket = self.fault.how, self.socket
        if how == "times":
            self.peer.server.lied.add(self.peer.key)
        if how == "flood":
            self.peer.server.flooded.add(self.peer.key)
        data, pause = {
            "flood": (b"\1\1" * 8000, 0.0),
            "byte": (b"\1", 0.03),
            "sample": (b"\1\1", 0.03),
            "little": (b"\1\1" * 8, 0.03),
        }.get(how, (b"", 0.03))
        for count in range(10**9):
            if how == "pings":
                await self.peer.send(raw_frame(9, b"x"))
            elif how == "junk":
                await socket.send('{"audio":"","isFinal":false}')
            else:
                times = times_of(self.phrase) if how == "times" else None
                audio = data if how != "times" else b"\1\1"
                await socket.send(frame(audio, times, context=self.context, snake=socket.dialogue))
            await trio.sleep(pause if count else 0)

    async def _complain(self) -> None:
        socket, code = self.socket, self.fault.how
        await socket.say(self.context, self.phrase, self.style, part=self.fault.part)
        error: dict[str, Any] = {"message": "no", "error": code, "code": 1008}
        if code == "odd":
            error = {"message": {"a": 1}, "error": ["x"], "code": "1008", "param": 5}
        if not socket.single and self.rng.random() < 0.6:
            error["context_id" if socket.dialogue else "contextId"] = self.context
        await socket.send(json.dumps(error))
        if self.rng.random() < 0.5:
            await trio.sleep_forever()
        await trio.sleep(self.fault.delay)
        await socket.close(1008, "no")

    async def _go_behind(self) -> None:
        """Send more behind the final."""
        socket, how = self.socket, self.fault.how
        word = poison(6000 + self.peer.number)
        if not socket.single:  # there the context is not closed before its end was asked for
            await self._final()
        if how in {"audio", "both"} and not socket.single:
            await socket.send(
                frame(sound_of(word, socket.output_format), times_of(word), context=self.context, snake=socket.dialogue)
            )
        if how in {"final", "both"} and not socket.single:
            await self._final()
        if how == "error":
            await socket.send(json.dumps({"message": "no", "error": "system_busy", "code": 1008}))

    async def _lose_a_piece(self) -> None:
        """Leave the end of a phrase out; where it was in the middle, nobody could tell what was lost."""
        socket = self.socket
        size = max(4, len(self.phrase) // 3)
        if not socket.timed or socket.dialogue or len(self.phrase) < 3 * size:
            await self._say()
            return
        for audio, times in pieces(self.phrase, socket.output_format, Style("first", size, 0, 0.0))[:2]:
            await socket.send(frame(audio, times, context=self.context, snake=socket.dialogue))
        if self.fault.how == "base64":
            await socket.send(json.dumps({"audio": "%%%", "contextId": self.context}))
        elif self.fault.how == "json":
            await socket.send('{"audio": "')
