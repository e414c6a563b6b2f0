"""What comes unasked on a WebSocket is heard by nobody; and a peer that closes oddly is typed, whatever it sends."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
from wsproto.utilities import LocalProtocolError

from tests.helpers import listen, make_config
from tests.helpers.socket_user import User
from tests.helpers.streams import Wrapped
from tts_trio import ProtocolError, TTSConfig, TTSConnectionError, TTSError, TTSManager, WebSocketConnectionManager
from tts_trio.local_server.memory import memory_connection
from tts_trio.transport.websocket import WebSocket
from tts_trio.wire import endpoint_for

TEXT = "Ваш заказ в пути."
WORDS = b"\x01\x02" * 8000
OTHER = b"\xee\xee" * 24000


def sound(audio: bytes, text: str | None, context: str | None = None, *, final: bool = False) -> str:
    """A message with sound; its times are those of the text."""
    ms = len(audio) // 32
    times = None
    if text is not None:
        each = ms // len(text)
        times = {
            "chars": list(text),
            "charStartTimesMs": [i * each for i in range(len(text))],
            "charDurationsMs": [each] * len(text),
        }
    return json.dumps(
        {
            "audio": base64.b64encode(audio).decode() if audio else None,
            "isFinal": final or None,
            "alignment": times,
            "normalizedAlignment": times,
            "contextId": context,
        }
    )


@attrs.define(eq=False)
class Peer:
    """The server's end of one WebSocket."""

    number: int
    stream: trio.abc.Stream
    wire: wsproto.WSConnection = attrs.field(factory=lambda: wsproto.WSConnection(wsproto.ConnectionType.SERVER))
    messages: list[dict[str, Any]] = attrs.field(factory=list)

    async def say(self, *messages: str) -> None:
        for message in messages:
            await self.stream.send_all(self.wire.send(TextMessage(message)))

    async def listen(self) -> dict[str, Any] | None:
        """The next message of the client; None at the end."""
        while not self.messages:
            data = await self.stream.receive_some()
            if not data:
                return None
            self.wire.receive_data(bytes(data))
            for event in self.wire.events():
                match event:
                    case Request():
                        await self.stream.send_all(self.wire.send(AcceptConnection()))
                    case Ping():
                        await self.stream.send_all(self.wire.send(event.response()))
                    case TextMessage():
                        self.messages.append(json.loads(event.data))
                    case CloseConnection():
                        return None
                    case _:
                        pass
        return self.messages.pop(0)

    async def idle(self, seconds: float) -> None:
        """Be there, and say nothing."""
        with trio.move_on_after(seconds):
            while await self.listen() is not None:
                pass

    async def listen_for_text(self) -> dict[str, Any] | None:
        """The next message with text to speak."""
        while (message := await self.listen()) is not None:
            if str(message.get("text", "")).strip():
                return message
        return None

    async def answer(self) -> None:
        """Speak a reply as it should be."""
        message = await self.listen_for_text()
        if message is not None:
            context = message.get("context_id")
            await self.say(sound(WORDS, TEXT, context), sound(b"", None, context, final=True))
            await trio.sleep(60)


Script = Callable[[Peer], Awaitable[None]]


def serve(nursery: trio.Nursery, script: Script) -> Callable[[TTSConfig], Awaitable[trio.abc.Stream]]:
    """Return what opens streams to a server that runs the script on each WebSocket; HTTP is never answered."""
    sockets = 0

    async def run(stream: trio.abc.Stream) -> None:
        nonlocal sockets
        data = await stream.receive_some()
        if not data.startswith(b"GET"):
            await trio.sleep_forever()
        peer = Peer(sockets, stream)
        sockets += 1
        peer.wire.receive_data(bytes(data))
        for event in peer.wire.events():
            assert isinstance(event, Request)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):  # the client has left
            await script(peer)
        await trio.aclose_forcefully(stream)

    async def open_stream(_config: TTSConfig) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = memory_connection()
        nursery.start_soon(run, server)
        return client

    return open_stream


async def accept(peer: Peer) -> None:
    await peer.stream.send_all(peer.wire.send(AcceptConnection()))


UNASKED: dict[str, Callable[[str | None], str]] = {
    "sound with its words": lambda context: sound(OTHER, "Чужие слова.", context),
    "much sound without times": lambda context: sound(OTHER, None, context),
    "a final": lambda context: sound(b"", None, context, final=True),
    "sound, and a final": lambda context: sound(OTHER, "Чужие слова.", context, final=True),
}


async def hear(
    opener: Callable[[TTSConfig], Awaitable[trio.abc.Stream]], wait: float, **changes: Any
) -> tuple[bytes, Any]:
    """What is heard of a reply, and what became of the connections."""
    config = make_config(**changes)
    async with WebSocketConnectionManager(config, open_stream=opener) as connections:
        async with TTSManager(config, connections) as tts:
            await connections.connect()
            await trio.sleep(wait)
            async with tts.speak([TEXT]) as audio:
                heard = await listen(audio)
            assert audio.outcome is not None
            assert audio.outcome.end == "finished"
            return heard, connections.statistics()


@pytest.mark.parametrize("over", ["stream-input", "multi-stream-input"])
@pytest.mark.parametrize("context", [None, "1", "other"])
@pytest.mark.parametrize("unasked", UNASKED)
async def test_what_comes_on_an_idle_connection_is_heard_by_nobody(
    autojump_clock: trio.testing.MockClock, unasked: str, over: str, context: str | None
) -> None:
    """P32: and the connection is replaced."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if peer.number == 0:
            await peer.idle(1)
            await peer.say(UNASKED[unasked](context))
        await peer.answer()

    async with trio.open_nursery() as nursery:
        heard, statistics = await hear(serve(nursery, script), 3, endpoint=over)
        nursery.cancel_scope.cancel()
    assert heard == WORDS
    assert statistics.losses == 1


@pytest.mark.parametrize("unasked", UNASKED)
async def test_what_comes_on_a_connection_that_was_given_back_is_heard_by_nobody(
    autojump_clock: trio.testing.MockClock, unasked: str
) -> None:
    """P32: an utterance had it, sent no text over it, and left it to the next one."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if peer.number == 0:
            await peer.idle(2)
            await peer.say(UNASKED[unasked](None))
        await peer.answer()

    async with trio.open_nursery() as nursery:
        opener = serve(nursery, script)
        async with WebSocketConnectionManager(make_config(), open_stream=opener) as connections:
            async with TTSManager(make_config(), connections) as tts:
                async with tts.start_llm_stream():
                    await trio.sleep(1)
                assert connections.statistics().hot == 2
                await trio.sleep(2)
                assert (connections.statistics().hot, connections.statistics().losses) == (1, 1)
                async with tts.speak([TEXT]) as audio:
                    assert await listen(audio) == WORDS
        nursery.cancel_scope.cancel()


async def test_sound_that_comes_before_the_text_is_not_that_of_the_text(autojump_clock: trio.testing.MockClock) -> None:
    """P32: on a connection that was taken, and has sent no text yet."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if peer.number == 0:
            await peer.idle(2)
            await peer.say(sound(OTHER, "Чужие слова."))
        await peer.answer()

    async def say_later() -> Any:
        await trio.sleep(3)
        yield TEXT

    config = make_config()
    async with trio.open_nursery() as nursery:
        opener = serve(nursery, script)
        async with WebSocketConnectionManager(config, open_stream=opener) as connections:
            async with TTSManager(config, connections) as tts, tts.speak(say_later()) as audio:
                assert await listen(audio) == WORDS
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("over", "context", "opcode"),
    [("multi-stream-input", "1", 1), ("stream-input", None, 9)],
    ids=["that begins the context", "a ping"],
)
async def test_sound_that_comes_before_the_text_is_written_is_not_that_of_the_text(
    autojump_clock: trio.testing.MockClock, over: str, context: str | None, opcode: int
) -> None:
    """P32: the text was sent, and waits until a frame before it has left."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if trio.current_time() < 1:
            await peer.idle(2.1)
            await peer.say(sound(OTHER, "Чужие слова.", context))
        await peer.answer()

    class Stream(Wrapped):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            if 1 < trio.current_time() < 2.5 and data[0] & 0xF == opcode:
                await trio.sleep_until(2.5)
            await super().send_all(data)

    async with trio.open_nursery() as nursery:
        open_stream = serve(nursery, script)

        async def opener(config: TTSConfig) -> trio.abc.Stream:
            return Stream(await open_stream(config))

        heard, _ = await hear(opener, 2, endpoint=over, ping_interval=1.5)
        nursery.cancel_scope.cancel()
    assert heard == WORDS


async def test_what_came_before_the_text_was_written_is_told_from_what_came_behind_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """P32: a message is handed on a turn after its bytes came, and the text may have been written by then."""
    config = make_config()
    endpoint = endpoint_for(config)
    written: list[int] = []

    async def script(peer: Peer) -> None:
        await accept(peer)
        await peer.idle(1)
        await peer.say(sound(OTHER, "Чужие слова."))
        await peer.listen_for_text()
        await peer.say(sound(WORDS, TEXT))
        await peer.idle(60)

    async def call(opener: Callable[[TTSConfig], Awaitable[trio.abc.Stream]]) -> None:
        class Stream(Wrapped):
            async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
                data = await super().receive_some(max_bytes)
                if b'"audio"' in data:
                    websocket.send(endpoint.text(None, f"{TEXT} "))  # written in a later turn
                return data

        async def open_stream(config: TTSConfig) -> trio.abc.Stream:
            return Stream(await opener(config))

        websocket = WebSocket(config, endpoint.path(), open_stream)
        user = User(endpoint.begin(None), act=lambda _: written.append(websocket.written))
        with trio.move_on_after(5):
            await user.run(websocket, config.base_url)

    async with trio.open_nursery() as nursery:
        opener = serve(nursery, script)
        for _ in range(20):  # which of two tasks of a turn runs first is drawn by lot
            await call(opener)
        nursery.cancel_scope.cancel()
    assert written == [1, 2] * 20  # the first is the one that begins the socket


@pytest.mark.parametrize("clip", [sound(b"\0" * 3200, " "), sound(b"\0" * 3200, None)], ids=["timed", "without times"])
async def test_the_silence_of_a_blank_is_no_reason_to_leave(autojump_clock: trio.testing.MockClock, clip: str) -> None:
    """P11: the service may answer the frames that begin a connection, and keep it, by a moment of silence."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        await peer.idle(1)
        await peer.say(clip)
        await peer.answer()

    async with trio.open_nursery() as nursery:
        heard, statistics = await hear(serve(nursery, script), 3)
        nursery.cancel_scope.cancel()
    assert heard == WORDS
    assert statistics.losses == 0


async def test_an_error_of_an_utterance_that_never_was_costs_its_socket(autojump_clock: trio.testing.MockClock) -> None:
    """P32: nobody knows what it means, so nothing is said over that socket any more."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if peer.number == 0:
            await peer.idle(1)
            await peer.say(json.dumps({"error": "system_busy", "message": "no", "contextId": "another"}))
        await peer.answer()

    async with trio.open_nursery() as nursery:
        heard, statistics = await hear(serve(nursery, script), 3, endpoint="multi-stream-input")
        nursery.cancel_scope.cancel()
    assert heard == WORDS
    assert statistics.losses == 1


def frame(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, len(payload)]) + payload


CODES = [*range(1000, 1017), 0, 1, 999, 1100, 2999, 3000, 3999, 4000, 4999, 5000, 32768, 65535]
CLOSES: dict[str, bytes] = {f"code {code}": frame(8, code.to_bytes(2, "big") + "конец".encode()) for code in CODES}
CLOSES |= {
    "no code": frame(8, b""),
    "half a code": frame(8, b"\x03"),
    "a reason that is no text": frame(8, b"\x03\xe8\xff\xfe"),
    "a close, and sound": frame(8, b"\x03\xe8") + frame(1, b"{}"),
    "a close in parts": bytes([8, 2]) + b"\x03\xe8",
    "an unknown kind of frame": frame(3, b""),
    "a reserved bit": b"\xf1\x00",
    "a masked frame": b"\x81\x80\0\0\0\0",
    "text that is none": frame(1, b"\xff\xfe"),
    "a continuation of nothing": frame(0, b"x"),
    "a long ping": b"\x89\x7e\x00\xff" + b"x" * 255,
    "a pong that nobody asked for": frame(10, b"hello") + frame(8, b""),
    "a second answer": b"HTTP/1.1 200 OK\r\n\r\n",
    "nothing": b"",
}


BROKEN = {
    "code 1002",
    "code 1003",
    "code 1007",
    "code 1009",
    "code 1010",
    *(name for name in CLOSES if "code" not in name),
}


@pytest.mark.parametrize("when", ["idle", "speaking"])
@pytest.mark.parametrize("close", CLOSES)
async def test_however_it_is_closed_it_is_typed(
    autojump_clock: trio.testing.MockClock, close: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """P25, P32: every code of the registry, and none of it; the next connection speaks."""

    async def script(peer: Peer) -> None:
        await accept(peer)
        if peer.number == 0:
            await (peer.idle(1) if when == "idle" else peer.listen_for_text())
            await peer.stream.send_all(CLOSES[close])
            await trio.sleep(0.1)
        else:
            await peer.answer()

    async with trio.open_nursery() as nursery:
        opener = serve(nursery, script)
        async with WebSocketConnectionManager(make_config(), open_stream=opener) as connections:
            async with TTSManager(make_config(), connections) as tts:
                await connections.connect()
                await trio.sleep(3)
                for _ in range(2):
                    try:
                        async with tts.speak([TEXT]) as audio:
                            assert await listen(audio) == WORDS
                        break
                    except ProtocolError:  # the peer, or what came, broke the protocol
                        assert close in BROKEN
                assert connections.statistics().losses == 1
        nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_it_may_be_lost_in_the_turn_in_which_it_is_written(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """P25: the dial fails by one error of the tree, though its reader and its writer fail at once."""

    class Stream(Wrapped):
        written = trio.Event()
        turns = 0  # until it fails to write

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            if data[0] & 0x80:  # a frame
                self.written.set()
                for _ in range(self.turns):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                raise trio.BrokenResourceError
            await super().send_all(data)

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            data = await super().receive_some(max_bytes)
            if not data.startswith(b"HTTP"):
                await self.written.wait()
            return data

    async def opener(config: TTSConfig) -> trio.abc.Stream:
        Stream.written = trio.Event()
        return Stream(await open_stream(config))

    async with trio.open_nursery() as nursery:
        open_stream = serve(nursery, accept)
        for turns in range(10):
            Stream.turns = turns
            async with WebSocketConnectionManager(make_config(), open_stream=opener) as connections:
                with pytest.raises(TTSConnectionError):
                    await connections.connect()
        nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


STRANGE_ANSWERS = [
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: no\r\n\r\n",
    b"HTTP/1.1 101 \r\nupgrade: h2c\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 99 No\r\n\r\n",
    b"HTTP/1.1 1000 No\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 401 \xff\xfe\r\n\xff: \xfe\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"\x00" * 100,
    b"\x81\x02{}",
    b"\x88\x02\x03\xe8",
    b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n",
    b"X" * 70_000,
    b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
]


@pytest.mark.parametrize("told", STRANGE_ANSWERS, ids=lambda told: repr(told[:40]))
@pytest.mark.parametrize("hangs_up", [True, False])
async def test_however_the_upgrade_is_answered_it_is_typed(
    autojump_clock: trio.testing.MockClock, told: bytes, hangs_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """P25: within `timeouts.connect`, and by no exception of the libraries below."""

    async def script(peer: Peer) -> None:
        await peer.stream.send_all(told)
        if not hangs_up:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        opener = serve(nursery, script)
        async with WebSocketConnectionManager(make_config(), open_stream=opener) as connections:
            with pytest.raises(TTSError):
                await connections.connect()
            assert trio.current_time() <= 5.1
        nursery.cancel_scope.cancel()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
