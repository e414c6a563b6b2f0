"""`tts_trio.transport.http` over streams in memory and by the clock of the test."""

from __future__ import annotations

import gc
import logging
import ssl
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.streams import Wrapped
from tts_trio import Timeouts
from tts_trio.config.config import TTSConfig
from tts_trio.errors import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    ProtocolError,
    QuotaError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    TTSConnectionError,
    TTSError,
)
from tts_trio.local_server import Behavior, Fault, LocalServer, Requested, ToneVoice, read_tones
from tts_trio.local_server.memory import MemoryStream, memory_connection
from tts_trio.transport.http import HttpConnections
from tts_trio.transport.http.exchange import message_of
from tts_trio.transport.http.pool import ConnectionPool
from tts_trio.wire.http import SpeechRequest, stream_request

KEY = "sk_0123456789abcdef"
ENGLISH = "Good morning! How can I help?"
RUSSIAN = "Доброе утро! Чем могу помочь?"
REQUEST = SpeechRequest(path="/v1/text-to-speech/abc/stream?output_format=pcm_16000", body=b'{"text":"hello"}')
OK = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
DIAL = 0.3
LATENCY = Behavior().model_latency

Script = Callable[["PeerStream"], Awaitable[None]]


def make_config(**changes: Any) -> TTSConfig:
    values: dict[str, Any] = {"api_key": KEY, "voice_id": "abc", "base_url": "http://127.0.0.1"} | changes
    return TTSConfig(**values)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@attrs.define(eq=False)
class PeerStream:
    """The server's end of one connection."""

    stream: MemoryStream
    number: int
    requests: list[tuple[int, bytes]]

    async def request(self) -> bytes:
        """Receive one request."""
        data = b""
        while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < len(REQUEST.body):
            data += await self.receive()
        self.requests.append((self.number, data))
        return data

    async def receive(self) -> bytes:
        if data := await self.stream.receive_some():
            return data
        raise trio.BrokenResourceError

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until_gone(self) -> float:
        """Wait until the client closes, and say when that was."""
        while await self.stream.receive_some():
            pass
        return trio.current_time()


@attrs.define(eq=False)
class Peer:
    """A server of raw bytes, behind a dial that takes its time: every connection is served by `script`."""

    nursery: trio.Nursery
    script: Script
    dial_time: float = DIAL
    refusing: Exception | None = None
    dials: list[float] = attrs.field(factory=list)
    streams: list[MemoryStream] = attrs.field(factory=list)
    requests: list[tuple[int, bytes]] = attrs.field(factory=list)
    ended: list[int] = attrs.field(factory=list)

    async def open_stream(self, _config: TTSConfig) -> trio.abc.Stream:
        number = len(self.dials)
        self.dials.append(trio.current_time())
        await trio.sleep(self.dial_time)
        if self.refusing:
            raise self.refusing
        client, server = memory_connection()
        self.streams.append(client)
        self.nursery.start_soon(self._serve, PeerStream(server, number, self.requests))
        return client

    async def _serve(self, stream: PeerStream) -> None:
        try:
            await self.script(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            self.ended.append(stream.number)
            await trio.aclose_forcefully(stream.stream)


MakePeer = Callable[..., Peer]


@pytest.fixture
async def make_peer(nursery: trio.Nursery) -> MakePeer:
    return lambda script, **options: Peer(nursery, script, **options)


@attrs.define(eq=False)
class Service:
    """The local server in memory, behind a dial that takes its time."""

    server: LocalServer
    nursery: trio.Nursery
    dials: list[float] = attrs.field(factory=list)

    async def open_stream(self, _config: TTSConfig) -> trio.abc.Stream:
        self.dials.append(trio.current_time())
        await trio.sleep(DIAL)
        return self.server.connect(self.nursery)

    @property
    def requests(self) -> list[int]:
        return [record.connection for record in self.server.records if isinstance(record, Requested)]


@pytest.fixture
async def service(nursery: trio.Nursery) -> Service:
    return Service(LocalServer(Behavior(), voice=ToneVoice()), nursery)


@pytest.fixture(autouse=True)
def no_generator_is_left_to_the_collector() -> Iterator[None]:
    yield
    gc.collect(1)  # what trio warns about is an error then


async def hear(connections: HttpConnections, request: SpeechRequest = REQUEST) -> bytes:
    async with connections.stream(request) as response:
        return b"".join([piece async for piece in response])


async def fail(connections: HttpConnections, request: SpeechRequest = REQUEST) -> TTSError:
    """The error of a request, which is raised bare."""
    with pytest.raises(TTSError) as caught:
        await hear(connections, request)
    return caught.value


@asynccontextmanager
async def hot(config: TTSConfig, open_stream: Any) -> AsyncGenerator[HttpConnections]:
    """Connections of which the first is up."""
    async with HttpConnections(config, open_stream=open_stream) as connections:
        await trio.sleep(3 * DIAL)
        yield connections


async def speak_forever(peer: PeerStream) -> None:
    await peer.request()
    await peer.send(OK)
    for _ in range(600):  # a minute, which is far too long
        await peer.send(chunk(b"abc"))
        await trio.sleep(0.1)


async def speak(peer: PeerStream) -> None:
    while True:
        await peer.request()
        await peer.send(OK + chunk(b"abc") + END)


async def be_silent(peer: PeerStream) -> None:
    await peer.until_gone()


# --- hot


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
@pytest.mark.parametrize("gap", [0, 8, 60])
async def test_phrases_pay_no_dial_whatever_the_gap(
    autojump_clock: MockClock, service: Service, text: str, gap: float
) -> None:
    config = make_config()
    async with hot(config, service.open_stream) as connections:
        for _ in range(4):
            began = trio.current_time()
            async with connections.stream(stream_request(config, text)) as response:
                assert trio.current_time() - began == pytest.approx(LATENCY)
                assert response.status == 200
                assert response.headers["content-type"] == "audio/pcm"
                audio = b"".join([piece async for piece in response])
            assert read_tones(audio, "pcm_16000") == f" {text} "
            await trio.sleep(gap)
    assert len(service.dials) == 2  # the one used and its spare


async def test_the_first_phrase_waits_for_no_more_than_the_dial_under_way(
    autojump_clock: MockClock, service: Service
) -> None:
    config = make_config()
    async with HttpConnections(config, open_stream=service.open_stream) as connections:
        await trio.sleep(DIAL / 2)
        began = trio.current_time()
        async with connections.stream(stream_request(config, ENGLISH)):
            assert trio.current_time() - began == pytest.approx(DIAL / 2 + LATENCY)
        await trio.sleep(10)
        assert len(service.dials) == 2  # the second one became its spare


async def test_chunks_come_as_they_were_sent(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    sent = [b"x" * size for size in (8186, 1, 4300, 279, 65537)]

    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(OK)
        for data in sent:
            await trio.sleep(0.25)
            await peer.send(chunk(data))
        await trio.sleep(0.25)
        await peer.send(END)
        await peer.until_gone()

    heard: list[tuple[float, int]] = []
    async with hot(make_config(), make_peer(script).open_stream) as connections:
        began = trio.current_time()
        async with connections.stream(REQUEST) as response:
            heard.extend([(trio.current_time() - began, len(piece)) async for piece in response])
        assert trio.current_time() - began == pytest.approx(1.5)
    assert heard[:4] == [(pytest.approx(0.25 * i), len(data)) for i, data in enumerate(sent[:4], 1)]
    assert sum(size for _, size in heard[4:]) == 65537
    assert all(at == pytest.approx(1.25) for at, _ in heard[4:])


async def test_a_spare_stands_behind_a_connection_in_use(autojump_clock: MockClock, service: Service) -> None:
    config = make_config()
    async with hot(config, service.open_stream) as connections:
        async with connections.stream(stream_request(config, ENGLISH)) as first:
            await trio.sleep(DIAL)
            began = trio.current_time()
            async with connections.stream(stream_request(config, RUSSIAN)) as second:
                assert trio.current_time() - began == pytest.approx(LATENCY)
                heard = [b"".join([piece async for piece in answer]) for answer in (first, second)]
    assert [read_tones(audio, "pcm_16000").strip() for audio in heard] == [ENGLISH, RUSSIAN]


async def test_many_at_once_leave_no_more_than_are_wanted(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak)
    async with hot(make_config(), peer.open_stream) as connections:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(hear, connections)
        await trio.sleep(1)
        assert repr(connections) == "<HttpConnections, 2 idle, 0 in use>"
        assert len(peer.requests) == 8
        assert len(peer.ended) == len(peer.dials) - 2


@pytest.mark.parametrize(("spares", "idle"), [(0, 1), (1, 2), (3, 4)])
async def test_spares_are_as_many_as_configured(
    autojump_clock: MockClock, make_peer: MakePeer, spares: int, idle: int
) -> None:
    peer = make_peer(speak)
    async with HttpConnections(make_config(spares=spares), open_stream=peer.open_stream) as connections:
        await trio.sleep(4 * DIAL)
        assert len(peer.dials) == max(1, spares)
        await hear(connections)
        await trio.sleep(DIAL)
        assert len(peer.dials) == idle


async def test_a_connection_of_a_certain_age_is_replaced(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak)
    async with hot(make_config(spare_lifetime=100), peer.open_stream) as connections:
        await trio.sleep(350)
        assert peer.dials == [pytest.approx(i * (100 + DIAL)) for i in range(4)]
        assert peer.ended == [0, 1, 2]
        await hear(connections)
        assert [number for number, _ in peer.requests] == [3]


async def test_age_does_not_take_a_connection_from_who_uses_it(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await trio.sleep(2)
        await peer.send(OK + chunk(b"abc") + END)
        await peer.until_gone()

    peer = make_peer(script)
    async with HttpConnections(make_config(spare_lifetime=10), open_stream=peer.open_stream) as connections:
        await trio.sleep(DIAL + 9)
        assert await hear(connections) == b"abc"
    assert [number for number, _ in peer.requests] == [0]


async def test_a_connection_is_not_taken_in_the_moment_of_its_replacement(
    autojump_clock: MockClock, make_peer: MakePeer
) -> None:
    for _ in range(20):  # trio shuffles what happens at the same time
        peer = make_peer(speak, dial_time=0)
        async with HttpConnections(make_config(spare_lifetime=10), open_stream=peer.open_stream) as connections:
            await trio.sleep_until(trio.current_time() + 10)
            assert await hear(connections) == b"abc"


async def test_a_client_costs_no_tls_context(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    def build(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a TLS context is built")

    monkeypatch.setattr(ssl.SSLContext, "__new__", build)
    monkeypatch.setattr(httpx, "create_ssl_context", build)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with hot(make_config(), service.open_stream) as connections:
        assert await hear(connections, stream_request(make_config(), ENGLISH))


async def test_what_is_on_the_wire(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak)
    config = make_config(base_url="ws://127.0.0.1:8000/eleven/")
    async with hot(config, peer.open_stream) as connections:
        assert await hear(connections) == b"abc"
    [(_, sent)] = peer.requests
    head, _, body = sent.partition(b"\r\n\r\n")
    request_line, *headers = head.decode().lower().split("\r\n")
    assert request_line == "post /eleven/v1/text-to-speech/abc/stream?output_format=pcm_16000 http/1.1"
    expected = ["host: 127.0.0.1:8000", f"xi-api-key: {KEY}", "accept-encoding: identity", "user-agent: tts_trio"]
    assert set(expected) <= set(headers)
    assert body == REQUEST.body


# --- interrupted


async def test_interrupted_in_the_middle_the_next_phrase_is_hot(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    gone: list[float] = []

    async def script(peer: PeerStream) -> None:
        try:
            await speak_forever(peer)
        except trio.BrokenResourceError:
            gone.append(trio.current_time())

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        for _ in range(5):
            began = trio.current_time()
            async with connections.stream(REQUEST) as response:
                assert trio.current_time() == began
                async for _piece in response:
                    break
                await trio.sleep(0.55)
                left = trio.current_time()
            assert trio.current_time() == left
            await trio.sleep(0.1)
            assert len(gone) == len(peer.requests)  # the service saw it within one of its messages
            await trio.sleep(DIAL)
        assert [number for number, _ in peer.requests] == [0, 1, 2, 3, 4]
        assert len(peer.dials) == 6


@pytest.mark.parametrize("seconds", [0, 0.1, DIAL, DIAL + 0.1, DIAL + LATENCY, DIAL + LATENCY + 0.01, 1.2])
async def test_cancelled_at_any_stage(autojump_clock: MockClock, service: Service, seconds: float) -> None:
    config = make_config()
    async with HttpConnections(config, open_stream=service.open_stream) as connections:
        with trio.move_on_after(seconds) as scope:
            await hear(connections, stream_request(config, ENGLISH * 20))
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(seconds)
        await trio.sleep(2 * DIAL)
        dials = len(service.dials)
        began = trio.current_time()
        async with connections.stream(stream_request(config, RUSSIAN)) as response:
            assert trio.current_time() - began == pytest.approx(LATENCY)
            audio = b"".join([piece async for piece in response])
        assert read_tones(audio, "pcm_16000").strip() == RUSSIAN
        assert len(service.dials) <= dials + 1  # a spare behind it, and nothing on its own path


async def test_cancelled_while_the_request_is_half_written(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def script(peer: PeerStream) -> None:
        if peer.number == 0:
            await trio.sleep_forever()
        await speak(peer)

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        with trio.move_on_after(0.5) as scope:
            await hear(connections, SpeechRequest(path=REQUEST.path, body=b" " * 10**6))
        assert scope.cancelled_caught
        assert await hear(connections) == b"abc"


async def test_a_block_left_without_reading_drops_the_answer(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak_forever)
    async with hot(make_config(), peer.open_stream) as connections:
        async with connections.stream(REQUEST):
            pass
        await trio.sleep(0.2)
        assert peer.ended == [0]


@attrs.define(eq=False)
class Sticky(Wrapped):
    """A stream that would say a long goodbye, and whose reader does not notice when it is closed."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await trio.sleep_forever()

    async def aclose(self) -> None:
        try:
            await trio.sleep(60)
        finally:
            await trio.aclose_forcefully(self.stream)


async def test_closing_waits_for_no_goodbye_and_leaves_no_task(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(be_silent)

    async def open_stream(config: TTSConfig) -> trio.abc.Stream:
        return Sticky(await peer.open_stream(config))

    tasks = trio.lowlevel.current_statistics().tasks_living
    async with hot(make_config(spares=0), open_stream) as connections:
        running = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            began = trio.current_time()
            with trio.move_on_after(0.5) as scope:
                await hear(connections)
            assert scope.cancelled_caught
            assert trio.current_time() - began == pytest.approx(0.5)
            await trio.sleep(2 * DIAL)
        assert trio.lowlevel.current_statistics().tasks_living == running
        began = trio.current_time()
    assert trio.current_time() == began
    await wait_all_tasks_blocked()
    assert len(peer.ended) == len(peer.dials)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_the_callers_own_error_leaves_as_it_is(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with hot(make_config(), make_peer(speak_forever).open_stream) as connections:
            async with connections.stream(REQUEST) as response:
                async for _ in response:
                    raise ZeroDivisionError


async def test_a_request_cancelled_in_its_dial_leaves_the_connection_to_the_next(
    autojump_clock: MockClock,
    make_peer: MakePeer,
) -> None:
    peer = make_peer(speak)
    async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:
        with trio.move_on_after(0.1):
            await hear(connections)
        await trio.sleep(DIAL)
        began = trio.current_time()
        await hear(connections)
        assert trio.current_time() == began


# --- lost


@pytest.mark.parametrize("ending", ["eof", "reset", "unasked"])
async def test_the_end_of_an_idle_connection_is_seen_before_the_next_phrase(
    autojump_clock: MockClock, make_peer: MakePeer, ending: str
) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(OK + chunk(b"abc") + END)
        await trio.sleep(10)
        if ending == "reset":
            peer.stream.reset()
        elif ending == "unasked":
            await peer.send(answer("408 Request Timeout", "text/html", b"too slow"))
            await peer.until_gone()

    peer = make_peer(script)
    async with hot(make_config(spares=0), peer.open_stream) as connections:
        for expected in range(5):
            began = trio.current_time()
            assert await hear(connections) == b"abc"
            assert trio.current_time() == began
            assert peer.requests[-1][0] == expected
            await trio.sleep(10 + DIAL + 0.01)
        assert peer.dials == [0, *(pytest.approx(3 * DIAL + 10 + i * (10 + DIAL + 0.01)) for i in range(5))]


async def test_after_losses_dials_are_spaced_out(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def hang_up(_peer: PeerStream) -> None:
        await trio.lowlevel.checkpoint()

    peer = make_peer(hang_up, dial_time=0)
    async with HttpConnections(make_config(), open_stream=peer.open_stream):
        await trio.sleep(60)
    waits = [later - earlier for earlier, later in zip(peer.dials, peer.dials[1:], strict=False)]
    for wait, longest in zip(waits, [0.25, 0.5, 1, 2, *[4] * 99], strict=False):
        assert longest / 2 <= wait <= longest
    assert waits[5:]


async def test_a_request_waits_for_no_backoff(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak, dial_time=0, refusing=ConnectionRefusedError("refused"))
    async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:
        await trio.sleep(60)
        began = trio.current_time()
        error = await fail(connections)
        assert isinstance(error, TTSConnectionError)
        assert str(error) == "no connection to 127.0.0.1: refused"
        assert trio.current_time() == began
        peer.refusing = None
        await trio.sleep(0.01)  # what is opened in the moment of a failure may have been opened before it
        began = trio.current_time()
        assert await hear(connections) == b"abc"
        assert trio.current_time() == began
        await trio.sleep(10)
        async with connections.stream(REQUEST):
            await wait_all_tasks_blocked()
            assert peer.dials[-1] == trio.current_time()  # the outage is forgotten


async def test_a_connection_that_the_service_wants_closed_is_replaced(
    autojump_clock: MockClock, make_peer: MakePeer
) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(answer("200 OK", "audio/pcm", b"abc", "connection: close"))
        await peer.until_gone()

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        for _ in range(3):
            began = trio.current_time()
            assert await hear(connections) == b"abc"
            assert trio.current_time() == began
            await trio.sleep(2 * DIAL)
    assert [number for number, _ in peer.requests] == [0, 1, 2]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_request_that_crossed_the_idle_close_is_sent_once_more(
    autojump_clock: MockClock, make_peer: MakePeer, *, reset: bool
) -> None:
    async def script(peer: PeerStream) -> None:
        if peer.number > 1:  # dialed for the retry; of 0 and 1 one is used and the other is its spare
            await speak(peer)
        await peer.request()
        if reset:
            peer.stream.reset()

    peer = make_peer(script)
    async with hot(make_config(spares=2), peer.open_stream) as connections:
        began = trio.current_time()
        assert await hear(connections) == b"abc"
        assert trio.current_time() - began == pytest.approx(DIAL)
        assert sorted(peer.ended) == [0, 1]
    assert len(peer.requests) == 2
    assert peer.requests[0][1] == peer.requests[1][1]


async def test_a_request_is_sent_once_more_and_not_twice_more(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        error = await fail(connections)
    assert isinstance(error, TTSConnectionError)
    assert "lost while waiting for the answer" in str(error)
    assert len(peer.requests) == 2


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", OK, OK + b"2\r\na", OK + chunk(b"a")])
@pytest.mark.parametrize("reset", [False, True])
async def test_nothing_is_sent_again_after_the_first_byte_of_an_answer(
    autojump_clock: MockClock, make_peer: MakePeer, begun: bytes, *, reset: bool
) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(begun)
        await trio.sleep(0.1)
        if reset:
            peer.stream.reset()

    peer = make_peer(script)
    heard = b""
    async with hot(make_config(), peer.open_stream) as connections:
        with pytest.raises(TTSConnectionError, match="lost while reading the answer"):
            async with connections.stream(REQUEST) as response:
                async for piece in response:
                    heard += piece
        await trio.sleep(1)
    assert heard == (b"a" if b"a" in begun[len(OK) :] else b"")
    assert len(peer.requests) == 1


async def test_a_request_over_a_connection_of_its_own_is_not_sent_again(
    autojump_clock: MockClock, make_peer: MakePeer
) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()

    peer = make_peer(script)
    async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:
        assert isinstance(await fail(connections), TTSConnectionError)
    assert len(peer.requests) == 1


async def test_beside_a_connection_that_fell_silent_none_is_trusted(
    autojump_clock: MockClock, make_peer: MakePeer
) -> None:
    async def script(peer: PeerStream) -> None:
        await (be_silent(peer) if peer.number < 3 else speak(peer))

    peer = make_peer(script)
    async with hot(make_config(spares=2), peer.open_stream) as connections:
        with trio.move_on_after(2) as scope:
            await hear(connections)
        assert scope.cancelled_caught
        began = trio.current_time()
        with trio.fail_after(1):
            assert await hear(connections) == b"abc"
        assert trio.current_time() - began <= DIAL


# --- errors, typed


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
@pytest.mark.parametrize(
    ("behavior", "kind", "code"),
    [
        ({"api_keys": ("another",)}, AuthenticationError, "invalid_api_key"),
        ({"voices": ("another",)}, ConfigurationError, "voice_not_found"),
        ({"quota": 1}, QuotaError, "quota_exceeded"),
        ({"forbidden_formats": ("pcm_16000",)}, ConfigurationError, "output_format_not_allowed"),
    ],
)
async def test_refusals_of_the_service(
    autojump_clock: MockClock, service: Service, text: str, behavior: dict[str, Any], kind: type[TTSError], code: str
) -> None:
    service.server.behavior = Behavior(**behavior)
    config = make_config()
    async with hot(config, service.open_stream) as connections:
        error = await fail(connections, stream_request(config, text))
        assert type(error) is kind
        assert error.code == code
        assert error.status is not None
        assert error.trace_id
        service.server.behavior = Behavior()
        assert await hear(connections, stream_request(config, text))
    assert service.requests == [1, 1]  # one attempt each, over the same connection


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (Fault("status", "answer", 401), AuthenticationError, 401),
        (Fault("status", "answer", 429), ServiceUnavailableError, 429),
        (Fault("status", "answer", 500), ServiceUnavailableError, 500),
        (Fault("status", "answer", 503), ServiceUnavailableError, 503),
        (Fault("until_eof", "answer", 401), AuthenticationError, 401),
        (Fault("error_200", "answer"), ServiceUnavailableError, 200),
        (Fault("content_type", "answer"), ProtocolError, 200),
        (Fault("garbage", "answer"), ProtocolError, None),
        (Fault("reset", "answer"), TTSConnectionError, None),
        (Fault("eof", "answer"), TTSConnectionError, None),
        (Fault("freeze", "answer"), ServiceTimeoutError, None),
        (Fault("delay", "answer"), ServiceTimeoutError, None),
        (Fault("reset", "audio", frame=1), TTSConnectionError, None),
        (Fault("eof", "audio", frame=1), TTSConnectionError, None),
        (Fault("cut", "audio", frame=1), TTSConnectionError, None),
        (Fault("freeze", "audio", frame=1), ServiceTimeoutError, None),
        (Fault("garbage", "audio", frame=1), ProtocolError, None),
        (Fault("eof", "final"), TTSConnectionError, None),
        (Fault("freeze", "final"), ServiceTimeoutError, None),
    ],
    ids=lambda value: f"{value.action} at {value.at} {value.value or ''}" if isinstance(value, Fault) else None,
)
async def test_faults_are_typed_and_leave_healthy_connections(
    autojump_clock: MockClock, service: Service, fault: Fault, kind: type[TTSError], status: int | None
) -> None:
    service.server.behavior = Behavior(faults=(fault,))
    config = make_config()
    async with hot(config, service.open_stream) as connections:
        began = trio.current_time()
        error = await fail(connections, stream_request(config, RUSSIAN))
        assert type(error) is kind
        assert error.status == status
        assert trio.current_time() - began <= config.timeouts.reply + config.timeouts.stall
        service.server.behavior = Behavior()
        await trio.sleep(10)
        began = trio.current_time()
        async with connections.stream(stream_request(config, RUSSIAN)) as response:
            assert trio.current_time() - began == pytest.approx(LATENCY)
            audio = b"".join([piece async for piece in response])
        assert read_tones(audio, "pcm_16000").strip() == RUSSIAN


async def test_429_says_which_kind_and_when(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    body = b'{"detail":{"type":"rate_limit_error","code":"concurrent_limit_exceeded","message":"Too many"}}'

    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(answer("429 Too Many", "application/json", body, "retry-after: 7", "x-trace-id: trace"))
        await peer.until_gone()

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        error = await fail(connections)
    assert isinstance(error, ConcurrencyError)
    assert (error.message, error.retry_after, error.trace_id) == ("Too many", 7.0, "trace")
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "302 Found"])
async def test_statuses_nobody_expects(autojump_clock: MockClock, make_peer: MakePeer, status: str) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 {status}\r\nlocation: http://127.0.0.1/elsewhere\r\n\r\n".encode())
        await peer.until_gone()

    async with hot(make_config(), make_peer(script).open_stream) as connections:
        error = await fail(connections)
    assert type(error) is ProtocolError
    assert error.status == int(status[:3])


async def test_a_refusal_that_never_ends_is_read_for_a_second(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 401 No\r\ncontent-length: 1000\r\n\r\nInvalid API key")
        await peer.until_gone()

    async with hot(make_config(), make_peer(script).open_stream) as connections:
        began = trio.current_time()
        error = await fail(connections)
        assert isinstance(error, AuthenticationError)
        assert error.message == "Invalid API key"
        assert trio.current_time() - began == pytest.approx(1)


async def test_a_refusal_without_end_is_read_in_part(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    sent = 0

    async def script(peer: PeerStream) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n")
        while sent < 2 * 10**6:  # far too much
            await peer.send(chunk(b"x" * 10_000))
            sent += 10_000

    peer = make_peer(script)
    async with hot(make_config(), peer.open_stream) as connections:
        assert isinstance(await fail(connections), ServiceUnavailableError)
        await wait_all_tasks_blocked()
    assert sent < 10**6
    assert 0 in peer.ended


# --- deadlines


async def test_a_dial_is_given_up_at_its_deadline(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak, dial_time=1000)
    async with HttpConnections(make_config(timeouts=Timeouts(connect=2)), open_stream=peer.open_stream) as connections:
        await trio.sleep(1)
        error = await fail(connections)
        assert trio.current_time() == pytest.approx(3)
    assert type(error) is TTSConnectionError
    assert str(error) == "no connection to 127.0.0.1 within 2 s (still connecting)"


async def test_the_failure_of_anothers_dial_is_not_ours(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak, dial_time=1000)
    async with HttpConnections(make_config(timeouts=Timeouts(connect=2)), open_stream=peer.open_stream) as connections:
        with trio.move_on_after(0.5):
            await hear(connections)  # leaves a dial behind that fails at 2 s
        await trio.sleep(0.5)
        peer.dial_time = 1.5
        assert await hear(connections) == b"abc"
        assert trio.current_time() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("script", "step"),
    [(be_silent, "waiting for the answer"), (speak_forever, "reading the answer"), (None, "sending the request")],
)
async def test_an_answer_is_awaited_until_its_deadline(
    autojump_clock: MockClock, make_peer: MakePeer, script: Script | None, step: str
) -> None:
    async def trickle(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(60):
            await trio.sleep(1)
            await peer.send(b"x: y\r\n")

    async def deaf(_peer: PeerStream) -> None:
        await trio.sleep_forever()

    request = SpeechRequest(path=REQUEST.path, body=b" " * 10**6) if script is None else REQUEST
    chosen = deaf if script is None else trickle if script is speak_forever else script
    async with hot(make_config(timeouts=Timeouts(reply=4)), make_peer(chosen).open_stream) as connections:
        began = trio.current_time()
        error = await fail(connections, request)
        assert trio.current_time() - began == pytest.approx(4)
    assert type(error) is ServiceTimeoutError
    assert str(error) == f"no answer from 127.0.0.1 within 4 s (timeouts.reply, still {step})"


async def test_an_answer_may_not_stall_but_its_reader_may(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    async def script(peer: PeerStream) -> None:
        await peer.request()
        await peer.send(OK)
        for _ in range(3):
            await trio.sleep(2.9)
            await peer.send(chunk(b"a"))
        await peer.until_gone()

    heard: list[float] = []
    async with hot(make_config(timeouts=Timeouts(stall=3)), make_peer(script).open_stream) as connections:
        began = trio.current_time()
        with pytest.raises(ServiceTimeoutError, match=r"127\.0\.0\.1 sent nothing for 3 s"):
            async with connections.stream(REQUEST) as response:
                async for _ in response:
                    heard.append(trio.current_time() - began)
                    if len(heard) == 1:
                        await trio.sleep(100)
        assert heard == [pytest.approx(2.9), pytest.approx(102.9), pytest.approx(102.9)]
        assert trio.current_time() - began == pytest.approx(105.9)


# --- the block


async def test_leaving_closes_everything_at_once(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak_forever)
    errors: list[TTSError] = []
    async with trio.open_nursery() as nursery:
        async with hot(make_config(), peer.open_stream) as connections:

            async def interrupted() -> None:
                errors.append(await fail(connections))

            nursery.start_soon(interrupted)
            await trio.sleep(1)
            began = trio.current_time()
        assert trio.current_time() == began
        assert repr(connections) == "<HttpConnections, closed>"
    assert [type(error) for error in errors] == [TTSConnectionError]
    await trio.sleep(0.2)
    assert sorted(peer.ended) == [0, 1]
    with pytest.raises(RuntimeError, match="closed"):
        await hear(connections)
    with pytest.raises(RuntimeError, match="make a new one"):
        async with connections:
            pass


async def test_who_waits_for_a_connection_is_told_of_the_close(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak, dial_time=1000)
    errors: list[TTSError] = []
    async with trio.open_nursery() as nursery:
        async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:

            async def waits() -> None:
                errors.append(await fail(connections))

            nursery.start_soon(waits)
            await trio.sleep(1)
    assert [str(error) for error in errors] == ["the HTTP connections were closed"]
    assert trio.current_time() == pytest.approx(1)


async def test_nothing_is_dialed_for_a_request_behind_the_close(make_peer: MakePeer) -> None:
    peer = make_peer(speak)
    async with trio.open_nursery() as nursery:
        pool = ConnectionPool(make_config(), peer.open_stream, nursery)
        pool.close()
        with pytest.raises(TTSConnectionError, match="the HTTP connections were closed"):
            await pool.acquire_new()
        assert not nursery.child_tasks


async def test_leaving_under_cancellation_closes_everything_too(autojump_clock: MockClock, make_peer: MakePeer) -> None:
    peer = make_peer(speak_forever)
    with trio.move_on_after(1) as scope:
        async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:
            await hear(connections)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1)
    await trio.sleep(0.2)
    assert sorted(peer.ended) == [0, 1]


async def test_leaving_closes_everything_whatever_the_loop_does_meanwhile(
    autojump_clock: MockClock, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing needs no time of its own, so that none is left open where the loop stands still between two of them."""
    aclose = MemoryStream.aclose

    async def stand_still_and_close(stream: MemoryStream) -> None:
        autojump_clock.jump(1)
        await aclose(stream)

    peer = make_peer(speak)
    async with hot(make_config(spares=3), peer.open_stream):
        await trio.sleep(2 * DIAL)
        assert len(peer.streams) == 3
        monkeypatch.setattr(MemoryStream, "aclose", stand_still_and_close)
    for stream in peer.streams:
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")


async def test_outside_of_the_block_it_is_a_mistake(autojump_clock: MockClock, service: Service) -> None:
    connections = HttpConnections(make_config(), open_stream=service.open_stream)
    assert repr(connections) == "<HttpConnections, not entered>"
    with pytest.raises(RuntimeError, match="async with"):
        await hear(connections)


# --- the key


async def test_the_key_is_nowhere_but_in_its_header(
    autojump_clock: MockClock, make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = f'{{"detail":{{"status":"invalid_api_key","message":"The key {KEY} is bad"}}}}'.encode()

    async def script(peer: PeerStream) -> None:
        await peer.request()
        match peer.number:
            case 0:
                await peer.send(OK + chunk(b"abc") + END)
                await peer.request()
                await peer.send(answer("401 No", "application/json", refusal))
            case 1:
                await peer.send(OK + b"zz\r\n")
            case 2:
                await peer.send(f"HTTP/1.1 200 OK\r\nYou sent {KEY}\r\n\r\n".encode())
            case _:
                pass

    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    peer = make_peer(script)
    async with hot(make_config(spares=0), peer.open_stream) as connections:
        async with connections.stream(REQUEST) as response:
            shown += [repr(response), repr(connections)]
            assert [piece async for piece in response] == [b"abc"]
        for _ in range(4):
            error = await fail(connections)
            shown += [str(error), repr(error), *traceback.format_exception(error)]
            await trio.sleep(5)
        peer.refusing = OSError(f"no route for {KEY}")
        shown.append(str(await fail(connections)))
    assert len(peer.requests) >= 4
    assert KEY.encode() in peer.requests[0][1]
    assert "[secret]" in "".join(shown)
    assert KEY not in "".join(shown)
    assert caplog.records
    assert KEY not in caplog.text


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
def test_a_request_is_read_as_it_was_meant(text: str) -> None:
    """P28: the head is prepared once, for one service and one key; a server finds both, and the whole text."""
    for base_url, root, host, key in (
        ("https://one.example", "", b"one.example", b"first-key"),
        ("https://one.example", "", b"one.example", b"second-key"),
        ("wss://two.example:8443/eleven/", "/eleven", b"two.example:8443", b"first-key"),
    ):
        config = make_config(base_url=base_url, api_key=key.decode())
        for voice in ("abc", "xyz"):
            request = stream_request(config.evolve(voice_id=voice), text)
            server = h11.Connection(h11.SERVER)
            server.receive_data(message_of(config, request))
            asked, body, end = (server.next_event() for _ in range(3))
            assert isinstance(asked, h11.Request)
            assert isinstance(body, h11.Data)
            assert isinstance(end, h11.EndOfMessage)
            assert bytes(body.data) == request.body
            assert asked.target.decode() == root + request.path
            headers = dict(asked.headers)
            assert (asked.method, headers[b"host"], headers[b"xi-api-key"]) == (b"POST", host, key)
            assert headers[b"content-type"] == b"application/json"


async def test_an_unexpected_error_of_a_dial_is_logged_and_typed(
    autojump_clock: MockClock, make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    peer = make_peer(speak, refusing=ZeroDivisionError("oh"))
    async with HttpConnections(make_config(), open_stream=peer.open_stream) as connections:
        error = await fail(connections)
    assert type(error) is TTSConnectionError
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "dialing 127.0.0.1 failed" in caplog.text
