"""Audio without an end: neither a drop at a time nor a flood keeps an utterance alive, or fills the memory."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import pytest
import trio
import wsproto
import wsproto.events as ws
from wsproto.utilities import LocalProtocolError

from tests.helpers import TEXTS, listen, make_config
from tts_trio import (
    ProtocolError,
    ServiceTimeoutError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.config.audio_clock import most_bytes
from tts_trio.local_server.memory import memory_connection
from tts_trio.speech.segment import Segment
from tts_trio.speech.utterance import Utterance
from tts_trio.transport import framing
from tts_trio.wire.events import AudioReceived

every_language = pytest.mark.parametrize("language", TEXTS)

SendAudio: TypeAlias = Callable[[bytes], Awaitable[None]]
Pour: TypeAlias = Callable[[SendAudio], Awaitable[None]]


class Hose:
    """A server that answers every text by what `pour` sends."""

    def __init__(self, nursery: trio.Nursery, pour: Pour) -> None:
        self._nursery = nursery
        self._pour = pour
        self.open = 0
        self.sent = 0
        self.writing = trio.Lock()

    async def connect(self, config: TTSConfig) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = memory_connection()
        self._nursery.start_soon(self._serve, server)
        return client

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.open += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
            async with stream:
                first = await stream.receive_some()
                await (self._answer(stream, bytes(first)) if first.startswith(b"POST") else self._chat(stream, first))
        self.open -= 1

    async def _answer(self, stream: trio.abc.Stream, request: bytes) -> None:
        timed = b"with-timestamps" in request
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send_all(head % (b"application/json" if timed else b"audio/pcm"))

        async def send(audio: bytes) -> None:
            self.sent += len(audio)
            line = json.dumps({"audio_base64": base64.b64encode(audio).decode()}).encode() + b"\n" if timed else audio
            await stream.send_all(b"%x\r\n%b\r\n" % (len(line), line))

        await self._pour(send)

    async def _chat(self, stream: trio.abc.Stream, data: bytes | bytearray) -> None:
        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        async with trio.open_nursery() as nursery:
            while data:
                peer.receive_data(bytes(data))
                for event in peer.events():
                    if isinstance(event, ws.Request):
                        await stream.send_all(peer.send(ws.AcceptConnection()))
                    elif isinstance(event, ws.Ping):
                        async with self.writing:
                            await stream.send_all(peer.send(event.response()))
                    elif isinstance(event, ws.TextMessage):
                        message = json.loads(event.data)
                        text = message.get("text") or "".join(line["text"] for line in message.get("inputs", []))
                        if text.strip():
                            nursery.start_soon(self._speak, stream, peer, message.get("context_id"))
                data = await stream.receive_some()
            nursery.cancel_scope.cancel()

    async def _speak(self, stream: trio.abc.Stream, peer: wsproto.WSConnection, context_id: str | None) -> None:
        async def send(audio: bytes) -> None:
            self.sent += len(audio)
            message = {"audio": base64.b64encode(audio).decode(), "isFinal": None, "contextId": context_id}
            async with self.writing:
                await stream.send_all(peer.send(ws.TextMessage(json.dumps(message))))

        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
            await self._pour(send)


@asynccontextmanager
async def hosed(config: TTSConfig, pour: Pour) -> AsyncGenerator[tuple[TTSManager, Hose]]:
    async with trio.open_nursery() as nursery:
        hose = Hose(nursery, pour)
        async with WebSocketConnectionManager(config, open_stream=hose.connect) as connections:
            await connections.connect()
            async with TTSManager(config, connections) as tts:
                yield tts, hose
        nursery.cancel_scope.cancel()


# They do end, at what is far too much: where nothing bounds them, a test is to fail, and not to hang.


def dripping(drop: bytes, interval: float) -> Pour:
    async def pour(send: SendAudio) -> None:
        for _ in range(round(60 / interval)):
            await send(drop)
            await trio.sleep(interval)

    return pour


async def flood(send: SendAudio) -> None:
    for _ in range(600):  # seconds
        await send(bytes(32000))


@every_language
@pytest.mark.parametrize(("drop", "interval"), [(b"\0", 1.9), (b"\0\0", 1.9), (b"\0\0", 0.1), (bytes(1600), 1.9)])
async def test_a_drop_of_audio_is_no_sign_of_life(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, drop: bytes, interval: float
) -> None:
    """P1: an utterance ends in the time that its configuration allows."""
    async with hosed(make_config(endpoint), dripping(drop, interval)) as (tts, _):
        began = trio.current_time()
        async with tts.speak([TEXTS[language]]) as audio:
            with pytest.raises(ServiceTimeoutError):
                await listen(audio)
        assert trio.current_time() - began < 10 + 3


@every_language
@pytest.mark.parametrize("static_timestamps", [True, False])
async def test_a_drop_of_a_static_text(
    autojump_clock: trio.testing.MockClock, language: str, static_timestamps: bool
) -> None:
    config = make_config(static_timestamps=static_timestamps, audio_cache=None)
    async with hosed(config, dripping(b"\0\0", 1.9)) as (tts, _):
        began = trio.current_time()
        async with tts.stream_static_text(TEXTS[language]) as audio:
            with pytest.raises(ServiceTimeoutError):
                await listen(audio)
        assert trio.current_time() - began < 10 + 3


@every_language
@pytest.mark.parametrize("reading", ["eagerly", "never", "by the clock"])
async def test_a_flood_ends_the_reply_at_a_bound(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, reading: str
) -> None:
    """P23: ten seconds, and one for each character that was sent; then it fails, after what came before was heard."""
    async with hosed(make_config(endpoint), flood) as (tts, hose):
        async with tts.speak([TEXTS[language]]) as audio:
            received = 0.0
            if reading == "never":
                await trio.sleep(60)
                assert audio.outcome is not None
                assert audio.received_ms <= 1000 * (10 + len(TEXTS[language]))
            with pytest.raises(ProtocolError, match="s of audio for the text sent"):
                async for chunk in audio:
                    received += len(chunk) / 32000
                    await trio.sleep(len(chunk) / 32000 if reading == "by the clock" else 0)
            assert 10 < received <= 10 + len(TEXTS[language])
        assert hose.sent < 32000 * (12 + len(TEXTS[language])) + 2**20


@every_language
@pytest.mark.parametrize("static_timestamps", [True, False])
async def test_a_flood_ends_a_static_text_at_a_bound(
    autojump_clock: trio.testing.MockClock, language: str, static_timestamps: bool
) -> None:
    text = TEXTS[language]
    config = make_config(static_timestamps=static_timestamps, audio_cache=None, max_lead=600.0)
    async with hosed(config, flood) as (tts, hose):
        async with tts.stream_static_text(text) as audio:
            with pytest.raises(ProtocolError, match=f"more than {10 + len(text)} s of audio"):
                await listen(audio)
            assert audio.outcome is not None
            assert audio.outcome.delivered_ms <= 1000 * (10 + len(text))
        assert hose.sent < 32000 * (10 + len(text)) + 2**20


@pytest.mark.parametrize(
    ("output_format", "unit"),
    [
        ("pcm_16000", b"\0\0"),
        ("ulaw_8000", b"\xff"),
        ("mp3_44100_128", b"ID3\4\0\0\0\0\0\0"),
        ("mp3_44100_128", b"\xff"),
        ("opus_48000_64", b"OggS\0" + bytes(22)),
    ],
)
def test_bytes_that_last_no_time_are_bounded_too(output_format: str, unit: bytes) -> None:
    """P23: tags, garbage, pages without sound."""
    config = make_config(output_format=output_format, on_lost_connection="raise")
    utterance = Utterance(config, 0.0)
    utterance.connected()
    utterance.accept("Да.", 0.0)
    utterance.complete(0.0)
    [sent] = utterance.phrases_to_send(0.0)
    most = utterance.segments.waiting_bytes
    for _ in range(5000):
        utterance.receive(AudioReceived(unit * (4096 // len(unit))), 0.1)
        most = max(most, utterance.segments.waiting_bytes)
    assert isinstance(utterance.error, ProtocolError)
    assert most <= most_bytes(config.format, 10 + len(sent))


def test_audio_of_few_bytes_is_bounded_by_its_seconds() -> None:
    """P23: a frame of mp3 may have a quarter of the bitrate that the format has."""
    config = make_config(output_format="mp3_44100_128", on_lost_connection="raise")
    frame = b"\xff\xfb\x10\xc0" + bytes(100)  # of 32 kbit/s: 104 bytes, 26 ms
    utterance = Utterance(config, 0.0)
    utterance.connected()
    utterance.accept("Да, yes.", 0.0)
    utterance.complete(0.0)
    utterance.phrases_to_send(0.0)
    longest = utterance.segments.current.longest_seconds
    for _ in range(100):
        utterance.receive(AudioReceived(frame * 40), 0.1)
    assert isinstance(utterance.error, ProtocolError)
    assert longest < utterance.segments.received_seconds < longest + 2


def test_more_text_allows_no_audio_beyond_its_own_seconds() -> None:
    """P23: what was too long before a phrase of one letter is too long behind it."""
    segment = Segment(make_config(output_format="mp3_44100_128"), None, 0.0, 15.0, in_messages=True)
    segment.send("Да, yes.")
    while segment.received_bytes < segment.most_bytes:
        segment.receive(AudioReceived((b"\xff\xfb\x10\xc0" + bytes(100)) * 400))
    segment.send("x")
    assert segment.received_bytes > segment.most_bytes


async def test_a_message_of_empty_fragments_has_an_end(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P23: trio-websocket counts a message in bytes; fragments without any have no end there."""
    monkeypatch.setattr(framing, "MAX_MESSAGE", 2**17)

    class Fragments(Hose):
        async def _speak(self, stream: trio.abc.Stream, peer: wsproto.WSConnection, context_id: str | None) -> None:
            begun = peer.send(ws.TextMessage("", message_finished=False))
            more = peer.send(ws.TextMessage("", message_finished=False)) * 65536
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
                async with self.writing:
                    await stream.send_all(begun)
                while self.sent < 2**24:
                    self.sent += len(more)
                    async with self.writing:
                        await stream.send_all(more)

    async with trio.open_nursery() as nursery:
        hose = Fragments(nursery, flood)
        config = make_config(max_replays=0, timeouts=Timeouts(stall=1000.0, first_audio=1000.0, reply=2000.0))
        async with WebSocketConnectionManager(config, open_stream=hose.connect) as connections:
            await connections.connect()
            async with TTSManager(config, connections) as tts, tts.speak(["Раз."]) as audio:
                with pytest.raises(TTSConnectionError, match="did not end"):
                    await listen(audio)
        nursery.cancel_scope.cancel()
    assert hose.sent < 2**20
