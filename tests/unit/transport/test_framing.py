"""A WebSocket, and what of trio-websocket is used that it keeps for its subclasses, in the releases allowed."""

from __future__ import annotations

import gc
import itertools
import re
import tomllib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import trio
import trio_websocket
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.helpers.socket_user import Taken
from tts_trio import TTSConnectionError
from tts_trio.transport import framing
from tts_trio.transport.frames import PING, WHOLE_TEXT, Pinged, client_frame
from tts_trio.transport.frames import Pong as Ponged
from tts_trio.transport.framing import FramedConnection


class Peer:
    """The server's end, which sends what it is told."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def accept(self) -> None:
        assert isinstance(await self.hear(), Request)
        await self.send(AcceptConnection())

    async def hear(self) -> Event:
        while (event := next(self.protocol.events(), None)) is None:
            self.protocol.receive_data(await self.stream.receive_some())
        return event

    async def send(self, *events: Event) -> None:
        await self.stream.send_all(b"".join(map(self.protocol.send, events)))


class TaskSteps(trio.abc.Instrument):
    """Notes which tasks run."""

    def __init__(self) -> None:
        self.tasks: list[trio.lowlevel.Task] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.tasks.append(task)


@asynccontextmanager
async def connected() -> AsyncGenerator[
    tuple[FramedConnection, Peer, list[str | bytes], list[Pinged | Ponged], trio.Event]
]:
    """Give a connection, its peer, the messages and the control frames that come, and an event for its end."""
    taken = Taken()
    closed = trio.Event()
    ours, theirs = trio.testing.memory_stream_pair()
    connection = FramedConnection(ours, taken)
    peer = Peer(theirs)

    async def read() -> None:
        await connection.read()
        closed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept)
        await connection.shake_hands("host", "/path", [])
        nursery.start_soon(read)
        yield connection, peer, taken.messages, taken.controls, closed
        nursery.cancel_scope.cancel()


def test_only_releases_that_were_tried_are_allowed() -> None:
    """What is used of trio-websocket is no part of its interface, so that another release may be without it."""
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    [allowed] = [each for each in pyproject["project"]["dependencies"] if each.startswith("trio-websocket")]
    assert allowed == "trio-websocket>=0.12.2,<0.13"
    assert re.match(r"0\.12\.", version("trio-websocket"))


async def test_a_message_is_handed_on_by_the_task_that_reads_it() -> None:
    """No other task runs between the bytes and whoever takes the message."""
    async with connected() as (_, peer, messages, *_):
        await trio.testing.wait_all_tasks_blocked()
        steps = TaskSteps()
        trio.lowlevel.add_instrument(steps)
        await peer.send(TextMessage("Да."))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
    assert messages == ["Да."]
    assert len({*steps.tasks} - {trio.lowlevel.current_task()}) == 1


async def test_reading_stops_behind_a_message_and_goes_on_with_the_next() -> None:
    """P2: whoever takes a message may end the reading, which then needs no cancellation, and loses nothing."""
    ours, theirs = trio.testing.memory_stream_pair()
    messages: list[str | bytes] = []
    stops: list[bool] = []

    class Stopping(Taken):
        def take(self, message: str | bytes) -> None:
            messages.append(message)
            stops.append(message == "one" and connection.stream.stop())

    connection = FramedConnection(ours, Stopping())
    peer = Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept)
        await connection.shake_hands("host", "/path", [])
        await peer.send(*map(TextMessage, ("one", "два", "one", "three")))
        for said in (["one"], ["one", "два", "one"]):
            await connection.read()
            assert (messages, connection.stream.stopped, connection.closed) == (said, True, None)
        assert not connection.stream.stop()  # nothing is handed on: the reading is to be cancelled
        nursery.start_soon(theirs.aclose)
        with trio.fail_after(1):
            await connection.read()
        assert (messages[3:], stops, connection.stream.stopped) == (["three"], [True, False, True, False], False)
        assert connection.closed is not None


async def test_messages_of_several_fragments_are_joined() -> None:
    async with connected() as (_, peer, messages, *_):
        for event in (
            TextMessage("Добрый ", message_finished=False),
            TextMessage("день", message_finished=True),
            BytesMessage(b"\0", message_finished=False),
            BytesMessage(b"\1", message_finished=True),
            TextMessage("", message_finished=True),
        ):
            await peer.send(event)
        await trio.testing.wait_all_tasks_blocked()
        assert messages == ["Добрый день", b"\0\1", ""]


@pytest.mark.parametrize(
    "broken",
    [b"\x81\x03t\xffo", b"\x01\x02no\x81\x02no", b"\x80\x02no", b"\x00\x02no"],
    ids=["no UTF-8", "a message in another", "the end of none", "a part of none"],
)
async def test_no_message_comes_behind_a_broken_one(broken: bytes) -> None:
    """P2: its sound would be missing between those of its neighbors."""
    async with connected() as (_, peer, messages, _controls, closed):
        await peer.stream.send_all(b"\x81\x03one" + broken + b"\x81\x05three")
        with trio.fail_after(1):
            await closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert messages == ["one"]


async def test_a_ping_is_sent_without_waiting_for_its_pong() -> None:
    async with connected() as (connection, peer, _messages, controls, _):
        with trio.fail_after(1):
            await connection.send_frame(client_frame(PING, b"1"))
            await connection.send_frame(client_frame(PING, b"2"))
        for payload in (b"1", b"2"):
            event = await peer.hear()
            assert isinstance(event, Ping)
            assert event.payload == payload
        await peer.send(Pong(b"2"))
        await trio.testing.wait_all_tasks_blocked()
        assert controls == [Ponged(b"2")]


@pytest.mark.parametrize("finished", [True, False], ids=["messages", "fragments"])
async def test_a_flood_of_tiny_messages_does_not_hold_the_loop(finished: bool) -> None:
    """P36: a read has room for 32,768 of them; other tasks run between them."""
    async with connected() as (_, peer, messages, *_):
        await peer.stream.send_all(b"\x81\0" * 1000 if finished else b"\x01\0" + b"\0\0" * 998 + b"\x80\0")
        turns = 0
        with trio.fail_after(5):
            while len(messages) < (1000 if finished else 1):
                await trio.lowlevel.checkpoint()
                turns += 1
        assert turns > 25


async def test_a_flood_of_pings_does_not_hold_the_loop() -> None:
    """P36: over TLS, most pongs are written without waiting."""
    async with connected() as (_, peer, _messages, controls, _closed):
        await peer.stream.send_all(b"\x89\0" * 1000)
        turns = 0
        with trio.fail_after(5):
            while len(controls) < 1000:
                await trio.lowlevel.checkpoint()
                turns += 1
        assert turns > 25


@pytest.mark.parametrize(
    "frames",
    [b"\x81\0" * 100, b"\x01\0" + b"\0\0" * 98 + b"\x80\0", b"\x89\0" * 100, b"\x81\x01a\x82\0\x89\0\x81\0" * 25],
    ids=["messages", "fragments", "pings", "of all kinds"],
)
async def test_nothing_is_missing_where_reading_was_cancelled(frames: bytes) -> None:
    """It is cancelled when something is due, at any checkpoint."""
    ours, theirs = trio.testing.memory_stream_pair()
    whole, cut = Taken(), Taken()
    turns = itertools.cycle((2, 3, 4))
    for taken, cancelled in ((whole, False), (cut, True)):
        connection = FramedConnection(ours, taken)
        async with trio.open_nursery() as nursery:
            nursery.start_soon((peer := Peer(theirs)).accept)
            await connection.shake_hands("host", "/path", [])
        await peer.stream.send_all(frames + b"\x81\x03end")
        with trio.fail_after(5):
            while "end" not in taken.messages:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.read)
                    for _ in range(next(turns) if cancelled else 200):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
    assert (cut.messages, cut.controls) == (whole.messages, whole.controls)


async def test_a_message_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """P23, P36: by its size, and by the number of its fragments."""
    monkeypatch.setattr(framing, "MAX_MESSAGE", 1000)
    for text, count in (("а" * 100, 11), ("", 1001)):
        with pytest.RaisesGroup(TTSConnectionError):
            async with connected() as (_, peer, messages, *_):
                await peer.send(*[TextMessage(text, message_finished=False)] * count)
                await trio.sleep(1)
        assert messages == []


@pytest.mark.parametrize("end", [CloseConnection(code=1011), None], ids=["Close", "no frame"])
async def test_the_end_is_told_though_the_peer_leaves_the_stream_open(end: CloseConnection | None) -> None:
    """P2: whoever waited for the stream to end would wait until a timeout."""
    async with connected() as (connection, peer, _messages, _controls, closed):
        await peer.stream.send_all(peer.protocol.send(end) if end else b"\xff" * 10)
        with trio.fail_after(1):
            await closed.wait()
        assert connection.closed is not None
        assert connection.closed.code == (1011 if end else 1002)


async def test_the_code_of_a_peer_that_closes_is_known_though_it_takes_no_answer() -> None:
    """It says why, and whether a retry can help; that it reads no more says nothing."""
    async with connected() as (connection, peer, _messages, _controls, closed):
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.receive_stream.aclose()
        await peer.send(CloseConnection(code=1008))
        with trio.fail_after(1):
            await closed.wait()
        assert connection.closed is not None
        assert connection.closed.code == 1008


async def test_what_trio_websocket_was_asked_leaves_nothing_to_the_collector() -> None:
    """It holds the connection, which holds it."""
    async with connected() as (connection, peer, messages, _controls, closed):
        await peer.send(BytesMessage(b"\0"), CloseConnection(code=1000))
        with trio.fail_after(1):
            await closed.wait()
        assert messages == [b"\0"]
        assert not [
            held for held in gc.get_referents(connection) if isinstance(held, trio_websocket.WebSocketConnection)
        ]


@pytest.mark.parametrize("answer", ["Close", "the end of the stream"])
async def test_closing_waits_for_the_answer_of_the_peer(autojump_clock: trio.testing.MockClock, answer: str) -> None:
    """What comes before the answer is heard; nothing is sent behind our Close frame."""
    async with connected() as (connection, peer, messages, _controls, closed), trio.open_nursery() as nursery:
        nursery.start_soon(connection.close, client_frame(WHOLE_TEXT, b'{"text": ""}'))
        last, goodbye = await peer.hear(), await peer.hear()
        assert isinstance(last, TextMessage)
        assert last.data == '{"text": ""}'
        assert isinstance(goodbye, CloseConnection)
        assert goodbye.code == 1000
        await peer.stream.send_all(b"\x89\x00\x81\x05still\x82\x01\0\x01\x02in\x80\x05 part")
        await trio.testing.wait_all_tasks_blocked()
        assert messages == ["still", b"\0", "in part"]
        assert not closed.is_set()
        assert not connection.send_now([client_frame(PING, b"")])
        if answer == "Close":
            await peer.send(goodbye.response())
        else:
            await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert closed.is_set()


async def test_a_usual_life_needs_no_object_of_trio_websocket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 20 of them, which each socket of each call would hold."""
    monkeypatch.setattr(framing, "_Left", pytest.fail)
    async with connected() as (connection, peer, messages, controls, _), trio.open_nursery() as nursery:
        await peer.send(TextMessage("Да."), Ping(b"here?"))
        await connection.send_frame(client_frame(PING, b"1"))
        await peer.hear()
        await peer.send(Pong(b"1"))
        nursery.start_soon(connection.close)
        goodbye = await peer.hear()
        assert isinstance(goodbye, CloseConnection)
        await peer.send(goodbye.response())
    assert (messages, controls) == (["Да."], [Pinged(b"here?"), Ponged(b"1")])


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize(
    "instead", [b"Sec-WebSocket-Accept: of another", b"Sec-WebSocket-Protocol: chat\r\n\r\n", "Город: Москва".encode()]
)
async def test_a_grant_of_something_else_opens_nothing(instead: bytes, parts: int) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = FramedConnection(ours, Taken())
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def answer() -> None:
        server.receive_data(await theirs.receive_some())
        granted = re.sub(rb"Sec-WebSocket-Accept: [^\r]*", instead, server.send(AcceptConnection()))
        for start in range(0, len(granted), -(-len(granted) // parts)):
            await theirs.send_all(granted[start : start + -(-len(granted) // parts)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(RemoteProtocolError):
            await connection.shake_hands("host", "/path", [])
