"""Whatever goes wrong in a task in the background costs what the task did, and never the conversation."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config, memory_service
from tts_trio import ConcurrencyLimiter, MemoryCache, TTSError, TTSManager, WebSocketConnectionManager
from tts_trio.local_server import Behavior, Fault
from tts_trio.speech.reply import Reply
from tts_trio.speech.utterance import Utterance
from tts_trio.static_text.cached_source import CachedSource
from tts_trio.static_text.driver import StaticText
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import Service
from tts_trio.transport.connection import Connection
from tts_trio.transport.dialing import DialBackoff, DialTurn
from tts_trio.transport.framing import FramedConnection
from tts_trio.transport.hot_socket import HotSocket
from tts_trio.transport.http.pool import ConnectionPool
from tts_trio.transport.http.stream import WatchedStream
from tts_trio.transport.socket_pool import SocketPool
from tts_trio.transport.websocket import WebSocket

IN_THE_BACKGROUND: list[tuple[type, str]] = [
    (DialBackoff, "connection_lost"),
    (DialTurn, "_wait"),
    (ConnectionPool, "_warm_up"),
    (ConnectionPool, "_dial"),
    (ConnectionPool, "_open"),
    (ConnectionPool, "_offer"),
    (ConnectionPool, "_watch"),
    (WatchedStream, "watch"),
    (SocketPool, "_dial"),
    (SocketPool, "socket_hot"),
    (SocketPool, "_socket_ended"),
    (HotSocket, "dial"),
    (HotSocket, "let_go"),
    (HotSocket, "opened"),
    (HotSocket, "do_what_is_due"),
    (HotSocket, "_receive_event"),
    (WebSocket, "dial"),
    (WebSocket, "serve"),
    (WebSocket, "_read"),
    (WebSocket, "take"),
    (WebSocket, "take_control"),
    (WebSocket, "_flush"),
    (FramedConnection, "send_frame"),
    (WebSocket, "_ping"),
    (WebSocket, "_next_deadline"),
    (WebSocket, "_put"),
    (WebSocket, "_say_goodbye"),
    (Connection, "received"),
    (Reply, "_on_event"),
    (Reply, "_on_loss"),
    (Reply, "_keep_deadlines"),
    (Reply, "_hold_slot"),
    (Reply, "_go_on"),
    (Reply, "_another_connection"),
    (StaticText, "_ask"),
    (StaticText, "_take"),
    (StaticText, "_keep_deadlines"),
    (Utterance, "expire"),
    (Utterance, "lost"),
    (CachedSource, "_bring"),
    (GuardedCache, "put"),
    (Service, "_ask"),
]


def raise_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, call: int) -> list[int]:
    """Have a method raise at its call of this number; returns a list that counts its calls."""
    method: Any = getattr(owner, name)
    calls = [0]

    def count() -> None:
        calls[0] += 1
        if calls[0] == call:
            raise ZeroDivisionError("nobody foresaw this")

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        count()
        return await method(*args, **kwargs)

    def synchronous(*args: Any, **kwargs: Any) -> Any:
        count()
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, asynchronous if inspect.iscoroutinefunction(method) else synchronous)
    return calls


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize(("owner", "name"), IN_THE_BACKGROUND, ids=lambda each: getattr(each, "__name__", each))
async def test_an_exception_in_the_background_ends_no_conversation(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    name: str,
    call: int,
) -> None:
    """P32: an utterance may fail, with a `TTSError`; the next ones are heard whole, and the block is left as it is."""
    caplog.set_level(logging.CRITICAL, "tts_trio")
    faults = (
        Fault("eof", "accept", skip=3, count=3),
        Fault("delay", "audio", 3.0, frame=0, skip=3, count=1, path="stream-input"),
        Fault("eof", "audio", frame=0, skip=1, count=1, path="stream-input"),
        Fault("reset", "answer", skip=2, count=1, path="/stream"),
    )
    config = make_config(
        output_format="pcm_8000", audio_cache=MemoryCache(), limiter=ConcurrencyLimiter(4), keep_alive_interval=1.0
    )
    calls = raise_once(monkeypatch, owner, name, call)
    failed = 0
    async with memory_service(Behavior(faults=faults)) as service:
        with trio.fail_after(500):
            async with (
                WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
                TTSManager(config, connections) as tts,
            ):
                for number in range(10):  # six, and more where the last one failed: a timer may fire late
                    before = failed
                    text = f"{TEXTS['ru'][:21]} {number}. {TEXTS['en'][:20]}."
                    for block in (tts.speak([text]), tts.stream_static_text(text)):
                        try:
                            async with block as audio:
                                assert heard(await listen(audio), config) == text
                        except TTSError:
                            failed += 1
                        await trio.sleep(1.5)
                    if number >= 5 and failed == before:
                        break
    assert failed == before
    assert failed <= 3
    assert calls[0] >= 1


async def test_a_half_open_socket_that_cannot_be_judged_is_replaced(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P12, P32: it is late with a pong, and then nobody foresaw what happens."""
    caplog.set_level(logging.CRITICAL, "tts_trio")
    calls = raise_once(monkeypatch, WebSocket, "_judge", 1)
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
            service.freeze()
            await trio.sleep(20)
            assert (connections.statistics().losses, connections.statistics().hot) == (1, 1)
    assert calls == [1]
