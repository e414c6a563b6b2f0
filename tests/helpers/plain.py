"""A plain client for the tests of the local server: wsproto and h11 on a stream, and nothing of tts_trio's."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import attrs
import h11
import trio
import wsproto
import wsproto.events as ws

from tts_trio.local_server import Behavior, Fault, LocalServer, ToneVoice, read_tones

KEY = "sk_test"
VOICE = "JBFqnCBsd6RMkjVDRZzb"
ENGLISH = "The morning train to Glasgow leaves from platform nine."
RUSSIAN = "Утренний поезд отправляется с девятого пути."


@attrs.frozen
class Heard:
    """What a server's connection gave, and when: a parsed message, a Close, or how TCP ended."""

    at: float
    message: Any = None
    close: tuple[int, str] | None = None
    end: str = ""
    ping: bytes | None = None

    @property
    def kind(self) -> str:
        if self.end:
            return self.end
        if self.close:
            return f"close {self.close[0]}"
        if self.ping is not None:
            return "ping"
        if not isinstance(self.message, dict):
            return "strange"
        if "error" in self.message:
            return "error"
        if self.message.get("is_final_audio_for_turn"):
            return "turn"
        final = self.message.get("isFinal") or self.message.get("is_final")
        return "final" if final else "audio" if self.message.get("audio") else "other"

    @property
    def context(self) -> str | None:
        return self.message.get("contextId", self.message.get("context_id")) if isinstance(self.message, dict) else None

    @property
    def audio(self) -> bytes:
        return base64.b64decode(self.message["audio"])


class PlainSocket:
    """A WebSocket client that does what it is told, and answers pings and Closes unless told not to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.rejection: tuple[int, Mapping[str, str], Any] | None = None
        self.headers: dict[str, str] = {}
        self.answers = True
        self._heard: list[Heard] = []
        self._text = ""

    async def upgrade(self, path: str, headers: Mapping[str, str]) -> None:
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = ws.Request(host="local", target=path, extra_headers=encoded)
        await self.stream.send_all(self.protocol.send(request))
        while not self.headers and self.rejection is None:
            event = await self._next_event()
            match event:
                case ws.AcceptConnection():
                    self.headers = {name.decode(): value.decode() for name, value in event.extra_headers}
                case ws.RejectConnection():
                    body = b""
                    data = await self._next_event()
                    while isinstance(data, ws.RejectData):
                        body += data.data
                        if data.body_finished:
                            break
                        data = await self._next_event()
                    self.rejection = (event.status_code, dict(event.headers), json.loads(body or b"null"))

    async def send(self, message: object) -> None:
        """Send one text frame; a str goes as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        await self.stream.send_all(self.protocol.send(ws.TextMessage(text)))

    async def say(self, *texts: str, **fields: Any) -> None:
        """Send the init frame, texts, and the end marker."""
        await self.send({"text": " ", **fields})
        for text in texts:
            await self.send({"text": text})
        await self.send({"text": ""})

    async def hear(self) -> Heard:
        """Wait for what comes next."""
        while True:
            await trio.lowlevel.checkpoint()
            event = await self._next_event()
            now = trio.current_time()
            match event:
                case str():
                    return Heard(now, end=event)
                case ws.TextMessage():
                    self._text += event.data
                    if event.message_finished:
                        text, self._text = self._text, ""
                        try:
                            return Heard(now, json.loads(text))
                        except ValueError:
                            return Heard(now, text)
                case ws.BytesMessage():
                    return Heard(now, bytes(event.data))
                case ws.Ping():
                    if self.answers:
                        await self.stream.send_all(self.protocol.send(event.response()))
                    return Heard(now, ping=bytes(event.payload))
                case ws.CloseConnection():
                    if self.answers and self.protocol.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                        await self.stream.send_all(self.protocol.send(event.response()))
                    return Heard(now, close=(event.code, event.reason or ""))
                case _:
                    pass

    async def hear_all(self) -> list[Heard]:
        """Hear until TCP ends."""
        heard = [await self.hear()]
        while not heard[-1].end:
            heard.append(await self.hear())
        return heard

    async def hear_until(self, deadline: float) -> list[Heard]:
        """Hear until a time."""
        heard: list[Heard] = []
        with trio.move_on_at(deadline):
            while not heard or not heard[-1].end:
                heard.append(await self.hear())
        return heard

    async def _next_event(self) -> Any:
        while True:
            await trio.lowlevel.checkpoint()
            for event in self.protocol.events():
                return event
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return "reset"
            if not data:
                return "eof"
            self.protocol.receive_data(bytes(data))


def of(heard: list[Heard], context: str | None) -> list[Heard]:
    """The messages of one context."""
    return [item for item in heard if isinstance(item.message, dict) and item.context == context]


def kinds(heard: list[Heard]) -> list[str]:
    return [item.kind for item in heard]


def tones(heard: list[Heard], sample_rate: int = 16000) -> str:
    """Read what ToneVoice said in these messages."""
    return read_tones(b"".join(item.audio for item in heard if item.kind == "audio"), f"pcm_{sample_rate}")


@attrs.frozen
class Reply:
    """An HTTP answer: its pieces with their times, and whether it came to its end."""

    at: float
    status: int
    headers: Mapping[str, str]
    parts: list[tuple[float, bytes]]
    complete: bool

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class PlainHTTP:
    """An HTTP/1.1 client on one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def call(self, method: str, target: str, body: bytes = b"", **headers: str) -> Reply | None:
        """Send a request; None if no answer came."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        fields = {"host": "local", "xi-api-key": KEY, "content-length": str(len(body)), **headers}
        head = h11.Request(method=method, target=target, headers=[(k, v) for k, v in fields.items() if v])
        for event in (head, h11.Data(body), h11.EndOfMessage()):
            await self.stream.send_all(self.http.send(event) or b"")
        answer = await self._next()
        if not isinstance(answer, h11.Response):
            return None
        at = trio.current_time()
        names = {name.decode(): value.decode() for name, value in answer.headers}
        parts: list[tuple[float, bytes]] = []
        while isinstance(event := await self._next(), h11.Data):
            parts.append((trio.current_time(), bytes(event.data)))
        return Reply(at, answer.status_code, names, parts, isinstance(event, h11.EndOfMessage))

    async def speak(self, text: str, form: str = "/stream", *, voice: str = VOICE, **options: Any) -> Reply | None:
        """Call a text-to-speech endpoint; `query` is its query, `headers` are its headers, the rest is its body."""
        query = urlencode({"output_format": "pcm_16000", **options.pop("query", {})})
        headers = options.pop("headers", {})
        body = json.dumps({"text": text, "model_id": "eleven_flash_v2_5", **options}).encode()
        return await self.call("POST", f"/v1/text-to-speech/{voice}{form}?{query}", body, **headers)

    async def _next(self) -> Any:
        while True:
            await trio.lowlevel.checkpoint()
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                return error
            if event is not h11.NEED_DATA:
                return event
            try:
                self.http.receive_data(bytes(await self.stream.receive_some()))
            except trio.BrokenResourceError:
                return "reset"


class Town:
    """A server in memory, and its clients."""

    def __init__(self, server: LocalServer, nursery: trio.Nursery) -> None:
        self.server = server
        self.nursery = nursery

    async def socket(
        self, endpoint: str = "stream-input", *, key: str | None = KEY, voice: str = VOICE, **query: Any
    ) -> PlainSocket:
        """Open a text-to-speech socket."""
        defaults = {"model_id": "eleven_flash_v2_5", "output_format": "pcm_16000"}
        return await self._socket(f"text-to-speech/{voice}/{endpoint}", key, {**defaults, **query})

    async def dialogue(
        self, endpoint: str = "multi-stream-input", *, key: str | None = KEY, **query: Any
    ) -> PlainSocket:
        """Open a text-to-dialogue socket."""
        defaults = {"model_id": "eleven_v4_turbo", "output_format": "pcm_16000"}
        return await self._socket(f"text-to-dialogue/{endpoint}", key, {**defaults, **query})

    async def _socket(self, path: str, key: str | None, query: Mapping[str, Any]) -> PlainSocket:
        socket = PlainSocket(self.server.connect(self.nursery))
        await socket.upgrade(f"/v1/{path}?{urlencode(query)}", {} if key is None else {"xi-api-key": key})
        return socket

    def http(self) -> PlainHTTP:
        """Connect for HTTP."""
        return PlainHTTP(self.server.connect(self.nursery))


@asynccontextmanager
async def town(*faults: Fault, **behavior: Any) -> AsyncGenerator[Town]:
    """Serve in memory with the tone voice."""
    async with trio.open_nursery() as nursery:
        yield Town(LocalServer(Behavior(faults=faults, **behavior), voice=ToneVoice()), nursery)
        nursery.cancel_scope.cancel()
