"""What an open call holds: of hundreds of calls, each task, nursery and buffer is there hundreds of times."""

from __future__ import annotations

import contextvars
import gc
import tracemalloc
import weakref
from collections.abc import Iterator

import h11
import pytest
import trio

from tests.helpers import TEXTS, listen, make_config, memory_service, speaking
from tests.helpers.socket_user import Taken
from tts_trio import AudioChannel, TTSConfig, WebSocketConnectionManager
from tts_trio.local_server import Behavior
from tts_trio.transport.framing import MAX_MESSAGE
from tts_trio.transport.http import HttpConnections
from tts_trio.transport.server_stream import ServerStream


def below(nursery: trio.Nursery) -> Iterator[trio.Nursery | trio.lowlevel.Task]:
    """Give all tasks and nurseries below a nursery."""
    for task in nursery.child_tasks:
        yield task
        for inner in task.child_nurseries:
            yield inner
            yield from below(inner)


def held(nursery: trio.Nursery) -> tuple[int, int]:
    """Count the tasks and the nurseries below a nursery."""
    found = list(below(nursery))
    tasks = sum(isinstance(each, trio.lowlevel.Task) for each in found)
    return tasks, len(found) - tasks


def innermost() -> trio.Nursery:
    """Return the nursery that this task has entered last."""
    return trio.lowlevel.current_task().child_nurseries[-1]


async def test_an_open_websocket_is_one_task_and_no_nursery(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """It owns it, reads and keeps the time; nothing of its dial is left."""
    async with memory_service() as service:
        config = make_config(endpoint)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            nursery = innermost()
            await connections.connect()
            await trio.sleep(1)
            sockets = connections.statistics().hot
            assert held(nursery) == (sockets, 0)


@pytest.mark.parametrize("text", TEXTS.values())
async def test_a_reply_is_one_task_and_no_nursery(
    autojump_clock: trio.testing.MockClock, endpoint: str, text: str
) -> None:
    """It keeps the deadlines, and opens a nursery where another connection is needed."""
    async with memory_service(Behavior(speed=1.0)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await tts.connections.connect()
            nursery = innermost()
            before = held(nursery)
            async with tts.start_llm_stream() as (sent, audio):
                await sent.send(text)
                await anext(audio)
                tasks, nurseries = held(nursery)
                assert (tasks - before[0], nurseries - before[1]) == (1, 0)


_last = contextvars.ContextVar[object]("_last")


@pytest.mark.parametrize("kind", ["reply", "static text"])
async def test_a_channel_that_is_kept_holds_none_before_it(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    """A task of an utterance has a copy of the caller's context, which may hold the channel of the last utterance."""
    channels: list[weakref.ref[AudioChannel]] = []
    async with memory_service() as service, speaking(make_config(language_code="en"), service.open_stream) as tts:
        for number in range(4):
            text = f"Good day, number {number}."
            async with tts.speak(text) if kind == "reply" else tts.stream_static_text(text) as audio:
                assert await listen(audio)
            channels.append(weakref.ref(audio))
            _last.set(audio)
        del audio
        await trio.sleep(1)
        gc.collect()
        alive = [channel() is not None for channel in channels]
        assert alive[:2] == [False, False], alive  # the task of a socket may hold the last one but one
        assert alive[-1]


async def test_an_idle_http_connection_is_one_task(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, HttpConnections(make_config(), open_stream=service.open_stream):
        nursery = innermost()
        await trio.sleep(1)
        assert held(nursery) == (1, 0)


async def test_a_dial_is_watched_by_one_task(autojump_clock: trio.testing.MockClock) -> None:
    """It ends the turn to dial after a second, and judges the timeout."""

    async def silent(_config: TTSConfig) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with WebSocketConnectionManager(make_config(), open_stream=silent):
        nursery = innermost()
        for _ in range(2):
            await trio.sleep(0.7)
            assert held(nursery) == (2, 0)


async def test_a_handshake_leaves_no_buffers_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        config = make_config()
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await connections.connect()
            gc.collect()
            ours = [
                each for each in gc.get_objects() if isinstance(each, h11.Connection) and each.our_role is h11.CLIENT
            ]
            assert ours == []


@pytest.mark.parametrize("text", ["Hello. ", "Привет. "])
async def test_a_message_is_let_go_when_it_was_handed_on(text: str) -> None:
    """While the next one is waited for, nothing of it stays: of 200 calls that speak, that was 4 MB."""
    ours, theirs = trio.testing.memory_stream_pair()
    lengths: list[int] = []

    class Lengths(Taken):
        def take(self, message: str | bytes) -> None:
            lengths.append(len(message))

    stream = ServerStream(ours, MAX_MESSAGE, Lengths())
    grant = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, grant)
        assert await stream.receive(65536) == grant
        nursery.start_soon(stream.receive, 65536)
        await trio.testing.wait_all_tasks_blocked()
        tracemalloc.start()
        try:
            for _ in range(3):
                await theirs.send_all(frame((text * 100_000).encode()))
                await trio.testing.wait_all_tasks_blocked()
            held, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert lengths == [len(text) * 100_000] * 3
    assert most > 1_000_000
    assert held < 100_000


def frame(payload: bytes) -> bytes:
    return b"\x81\x7f" + len(payload).to_bytes(8) + payload
