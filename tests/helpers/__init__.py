"""What the tests share: the local server in memory, a link with a delay, text in two languages, and what was heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import attrs
import trio

from tests.helpers.records import check_frames
from tts_trio import AudioChannel, Timeouts, TTSConfig, TTSManager, WebSocketConnectionManager, testing
from tts_trio.local_server import Behavior, LocalServer, Requested
from tts_trio.testing import Service as Service
from tts_trio.testing import heard as heard
from tts_trio.testing.service import text_of as text_of
from tts_trio.transport.connection import Connection
from tts_trio.transport.hot_socket import HotSocket
from tts_trio.transport.streams import OpenStream
from tts_trio.wire import endpoint_for

T = TypeVar("T")

API_KEY = "sk_0123456789abcdef0123456789abcdef"
VOICE_ID = "JBFqnCBsd6RMkjVDRZzb"

ENGLISH = (
    "Hello, and thank you for calling. Your order number 4217 left our warehouse this morning, "
    "and it should be with you by Friday at the latest. Would you like a message when the driver is near?"
)
RUSSIAN = (
    "Здравствуйте, спасибо за звонок! Ваш заказ номер 4217 сегодня утром уехал со склада, "
    "и вы получите его не позже пятницы. Прислать вам сообщение, когда курьер будет рядом?"
)
TEXTS = {"en": ENGLISH, "ru": RUSSIAN}


ENDPOINTS = ("stream-input", "multi-stream-input", "text-to-dialogue")


class Sample(Protocol):
    """What the fixture `sample` gives: a few of a family, or all of it with `--exhaustive`."""

    def __call__(self, family: Sequence[T], few: int) -> list[T]: ...


def make_config(endpoint: str | None = None, **changes: Any) -> TTSConfig:
    """A configuration for the local server in memory, and for an endpoint: None is the library's default."""
    values = {"api_key": API_KEY, "voice_id": VOICE_ID, "base_url": "http://127.0.0.1", "endpoint": endpoint}
    if endpoint == "text-to-dialogue":  # in all else, as the others are by default
        values |= {
            "model_id": "eleven_v3_conversational",
            "apply_text_normalization": "off",
            "spares": 1,
        }
        timeouts = changes.pop("timeouts", Timeouts())
        values["timeouts"] = attrs.evolve(timeouts, first_audio=timeouts.first_audio or 2.0)
    return TTSConfig(**values | changes)


def websocket_path(endpoint: str | None) -> str:
    """What the paths of an endpoint's WebSockets end with, for a `Fault` that strikes there alone."""
    return "stream-input" if endpoint in {None, "stream-input"} else "multi-stream-input"


@asynccontextmanager
async def memory_service(behavior: Behavior | None = None, *, dial_time: float = 0.0) -> AsyncGenerator[Service]:
    """The service in memory, as users have it. At its end its record is checked."""
    async with testing.memory_service(behavior, dial_time=dial_time) as service:
        yield service
    check_frames(service.server.records)


async def no_network(_config: TTSConfig) -> trio.abc.Stream:
    """Dial without an end."""
    await trio.sleep_forever()
    raise AssertionError


@asynccontextmanager
async def speaking(config: TTSConfig, open_stream: OpenStream) -> AsyncGenerator[TTSManager]:
    """A manager whose connection is hot."""
    async with WebSocketConnectionManager(config, open_stream=open_stream) as connections:
        await connections.connect()
        async with TTSManager(config, connections) as tts:
            yield tts


async def hot_connection(connections: WebSocketConnectionManager) -> Connection:
    """The connection that the next utterance takes."""
    await connections.connect()
    pool = connections._pool_for(endpoint_for(connections.config))
    socket = pool._oldest_usable()
    assert socket is not None
    connection = socket.slots.idle
    assert connection is not None
    return connection


def sockets_of(connections: WebSocketConnectionManager) -> list[HotSocket]:
    """The sockets that there are, in the order in which they were dialed."""
    return [socket for pool in connections._pools.values() for socket in pool.sockets]


async def tokens(text: str, interval: float = 0.02) -> AsyncIterator[str]:
    """A text as an LLM writes it: in pieces of a few characters, cut anywhere, 50 a second."""
    for start in range(0, len(text), 4):
        yield text[start : start + 4]
        await trio.sleep(interval)


async def listen(audio: AudioChannel) -> bytes:
    """All audio of a channel."""
    return b"".join([chunk async for chunk in audio])


async def hear_static_text(tts: TTSManager, text: str) -> str:
    """What was heard of a static text."""
    async with tts.stream_static_text(text) as audio:
        return heard(await listen(audio), tts.config)


def posts(server: LocalServer) -> list[Requested]:
    """The requests for speech over HTTP, in the order in which they came."""
    return [record for record in server.records if isinstance(record, Requested) and record.method == "POST"]


def whole_words(spoken: str, text: str) -> list[str]:
    """The words heard, without at most one fragment of a word that was cut and then said whole."""
    words: list[str] = []
    expected = text.split()
    fragments = 1
    for token in spoken.split():
        following = expected[len(words)] if len(words) < len(expected) else ""
        if token != following and following.startswith(token) and fragments:
            fragments -= 1
        else:
            words.append(token)
    return words
