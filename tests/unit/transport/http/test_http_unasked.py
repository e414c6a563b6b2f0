"""What a server sends over HTTP without being asked is heard by nobody: in memory, over TCP, and over TLS."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from tests.helpers import listen
from tests.helpers.raw_server import receive_request, serving
from tests.helpers.streams import Wrapped
from tts_trio import ProtocolError, TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.transport.http import HttpConnections
from tts_trio.wire.http import SpeechRequest


def answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: audio/pcm\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def sound(said: bytes) -> bytes:
    """What the server says to a request."""
    return b"\0" + said


def request(number: int) -> SpeechRequest:
    return SpeechRequest(path="/v1/text-to-speech/abc/stream", body=b'{"text":"number %02d"}' % number)


READ = 65536  # bytes: of as many one read takes at most, and TLS has a whole number of its records in them
LATE = ("an answer right behind", "an answer after a while", "an interim answer behind")
"""What may cross the next request where that follows at once: then nobody could tell."""
OTHER = answer(b"other words")
UNASKED: dict[str, Callable[[trio.abc.Stream, bytes], Awaitable[None]]] = {}


def unasked(name: str) -> Callable[[Callable[[trio.abc.Stream, bytes], Awaitable[None]]], None]:
    return partial(UNASKED.__setitem__, name)


@unasked("an answer in the same read")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)) + OTHER)


@unasked("a part of an answer in the same read")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)) + OTHER[:20])
    await trio.sleep(0.02)
    await stream.send_all(OTHER[20:])


@unasked("an answer right behind")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)))
    await stream.send_all(OTHER)


@unasked("an answer behind the end of a read")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    told = answer(sound(said))
    padding = b"x-padding: " + b"x" * (READ - len(told) - len("x-padding: \r\n")) + b"\r\n"
    told = told.replace(b"content-type", padding + b"content-type")
    assert len(told) == READ
    await stream.send_all(told + OTHER)


@unasked("an answer after a while")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)))
    await trio.sleep(0.005)
    await stream.send_all(OTHER)


@unasked("a blank line")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)) + b"\r\n")


@unasked("an interim answer behind")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)))
    await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")


@unasked("a FIN behind an answer")
async def _(stream: trio.abc.Stream, said: bytes) -> None:
    await stream.send_all(answer(sound(said)) + OTHER)
    await stream.aclose()


async def tell_more(stream: trio.abc.Stream, unasked: str, told: list[bytes]) -> None:
    """Answer each request by its own body, and say more than that; `told` are those for which all was said."""
    while True:
        said = await receive_request(stream)
        try:
            await UNASKED[unasked](stream, said)
        finally:
            told.append(said)


async def hear(connections: HttpConnections, asked: SpeechRequest) -> bytes:
    async with connections.stream(asked) as response:
        return b"".join([piece async for piece in response])


@pytest.mark.parametrize(
    ("unasked", "gap"),
    [(name, gap) for name in UNASKED for gap in (False, True) if gap or name not in LATE],
)
@pytest.mark.parametrize("over", ["memory", "TCP", "TLS"])
async def test_what_comes_behind_an_answer_is_heard_by_nobody(over: str, unasked: str, gap: bool) -> None:
    """P32: each request is answered by its own words, whatever the server says besides, and no task dies of it."""
    told: list[bytes] = []
    async with serving(over, partial(tell_more, unasked=unasked, told=told)) as (config, opener):
        async with HttpConnections(config, open_stream=opener) as connections:
            for number in range(4):
                assert await hear(connections, request(number)) == sound(request(number).body)
                while gap and len(told) <= number:  # noqa: ASYNC110 - a server tells nobody when it has said all
                    await trio.sleep(0.001)
                if gap:
                    await trio.testing.wait_all_tasks_blocked(0.002)  # so that what was said has been read


@pytest.mark.parametrize("over", ["memory", "TCP", "TLS"])
async def test_requests_that_wait_for_a_connection_get_none_that_said_more(over: str) -> None:
    """P32: a connection that goes from one request straight to the next is looked at, too."""
    script = partial(tell_more, unasked="an answer behind the end of a read", told=[])
    async with serving(over, script) as (config, opener):
        heard: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            heard[number] = await hear(connections, request(number))

        async with HttpConnections(config, open_stream=opener) as connections, trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(ask, number)
        assert heard == {number: sound(request(number).body) for number in range(12)}


@pytest.mark.parametrize("said", [OTHER, b"HTTP/1.1 100 Continue\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n"])
@pytest.mark.parametrize("over", ["memory", "TCP", "TLS"])
async def test_who_speaks_before_it_is_asked_is_not_asked(over: str, said: bytes) -> None:
    """P32: an answer that came before its request was sent is the answer to nothing."""
    asked: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(said)
        asked.append(await receive_request(stream))

    async with serving(over, script) as (config, opener):
        async with HttpConnections(config, open_stream=opener) as connections:
            for _ in range(3):
                with pytest.raises(ProtocolError, match="sent data before the request"):
                    await hear(connections, request(0))
            await trio.sleep(0.02)
    assert asked == []


@pytest.mark.parametrize("what", ["bytes", "FIN"])
@pytest.mark.parametrize("over", ["TCP", "TLS"])
async def test_what_lies_in_the_kernel_is_seen_before_the_request_is_written(over: str, what: str) -> None:
    """P32: nobody has read it yet, as the loop had no turn since it came, and the request goes over another one."""
    streams: list[trio.abc.Stream] = []
    asked: list[int] = []

    async def script(stream: trio.abc.Stream) -> None:
        streams.append(stream)
        number = len(streams)
        while True:
            said = await receive_request(stream)
            asked.append(number)
            await stream.send_all(answer(sound(said)))

    def tcp(stream: trio.abc.Stream) -> trio.SocketStream:
        found = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        assert isinstance(found, trio.SocketStream)
        return found

    async with serving(over, script) as (config, opener):
        async with HttpConnections(config, open_stream=opener) as connections:
            assert await hear(connections, request(0)) == sound(request(0).body)
            await trio.sleep(0.05)
            peer = tcp(streams[asked[0] - 1]).socket
            if what == "bytes":
                os.write(peer.fileno(), OTHER)
            else:
                peer.shutdown(socket.SHUT_WR)
            assert await hear(connections, request(1)) == sound(request(1).body)
    assert asked.count(asked[0]) == 1


async def test_an_interim_answer_costs_the_connection_and_not_the_answer() -> None:
    """P32: nobody asked for an interim answer, so what came with it is used, and its connection is not."""
    ports: list[object] = []

    async def script(stream: trio.abc.Stream) -> None:
        while True:
            said = await receive_request(stream)
            ports.append(stream)
            await stream.send_all(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(sound(said))
            )

    async with serving("memory", script) as (config, opener):
        async with HttpConnections(config, open_stream=opener) as connections:
            for number in range(3):
                assert await hear(connections, request(number)) == sound(request(number).body)
    assert len(set(map(id, ports))) == 3


@pytest.mark.parametrize("cached", [True, False], ids=["cache", "no cache"])
@pytest.mark.parametrize("over", ["TCP", "TLS"])
async def test_a_call_outlives_a_server_that_says_everything_twice(over: str, cached: bool) -> None:
    """P32: a static text is heard in its own sound, again from the cache too, and the conversation goes on."""
    texts = ["First of all, good morning.", "Во-вторых, доброе утро.", "Thirdly, nothing.", "Наконец, всё."]

    async def script(stream: trio.abc.Stream) -> None:
        while True:
            said = await receive_request(stream)
            number = next(i for i, text in enumerate(texts) if text.encode() in said)
            await stream.send_all(answer(bytes([number, 1]) * 8000) + answer(b"\xee\xee" * 8000))

    async with serving(over, script) as (config, opener):
        config = config if cached else config.evolve(audio_cache=None)

        async with (
            WebSocketConnectionManager(config, open_stream=opener) as connections,
            TTSManager(config, connections) as tts,
        ):
            for _ in range(2):
                for number, text in enumerate(texts):
                    async with tts.stream_static_text(text) as audio:
                        assert await listen(audio) == bytes([number, 1]) * 8000
                    assert audio.outcome is not None
                    assert audio.outcome.end == "finished"


class _Strange(Wrapped):
    """A stream that breaks, when it is idle, in a way that no stream should."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._received = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._received == 1:
            raise trio.BusyResourceError("another task is already reading this fd")
        self._received += 1
        return await self.stream.receive_some(max_bytes)


async def test_no_background_task_ends_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    """P32: what nobody foresaw in the task that watches a connection is logged, and costs that connection."""

    async def script(stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(answer(sound(await receive_request(stream))))

    async with serving("memory", script) as (config, opener):

        async def open_strange(config: TTSConfig) -> trio.abc.Stream:
            return _Strange(await opener(config))

        async with HttpConnections(config, open_stream=open_strange) as connections:
            for number in range(4):
                assert await hear(connections, request(number)) == sound(request(number).body)
                await trio.sleep(0.01)
    assert "BusyResourceError" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
