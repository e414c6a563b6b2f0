"""Dials that go wrong, each with a deadline that fires and a reason that is told; and sockets that close in time."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from tests.helpers import API_KEY, Service, listen, make_config, memory_service, speaking
from tests.helpers.socket_user import User
from tests.helpers.streams import Wrapped
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ProtocolError,
    ServiceUnavailableError,
    TTSConfig,
    TTSConnectionError,
    TTSError,
)
from tts_trio.local_server import Behavior, CloseReceived, Ended, Fault
from tts_trio.transport.websocket import WebSocket
from tts_trio.wire import endpoint_for

ENDPOINT = endpoint_for(make_config())

DIALS: list[tuple[Fault, type[TTSError], str, float]] = [
    (Fault("freeze", "accept"), TTSConnectionError, "within 5 s", 5.0),
    (Fault("freeze", "answer"), TTSConnectionError, "within 5 s", 5.0),
    (Fault("eof", "accept"), TTSConnectionError, "hung up", 0.0),
    (Fault("eof", "answer"), TTSConnectionError, "hung up", 0.0),
    (Fault("reset", "answer"), TTSConnectionError, "hung up", 0.0),
    (Fault("garbage", "answer"), ProtocolError, "does not answer as a WebSocket server", 0.0),
    (Fault("status", "answer", 401), AuthenticationError, "HTTP status 401", 0.0),
    (Fault("status", "answer", 403), AuthenticationError, "missing the permission", 0.0),
    (Fault("status", "answer", 429), TTSConnectionError, "HTTP status 429", 0.0),
    (Fault("status", "answer", 500), ServiceUnavailableError, "HTTP status 500", 0.0),
    (Fault("until_eof", "answer", 401), AuthenticationError, "HTTP status 401", 2.0),
    (Fault("status", "answer", 302), ProtocolError, "HTTP status 302", 0.0),
]


def websocket_to(service: Service) -> WebSocket:
    return WebSocket(make_config(), ENDPOINT.path(), service.open_stream)


async def run(websocket: WebSocket, user: User) -> None:
    await user.run(websocket, make_config().base_url)


@asynccontextmanager
async def dialing(behavior: Behavior) -> AsyncGenerator[tuple[WebSocket, trio.Nursery]]:
    async with memory_service(behavior) as service:
        yield websocket_to(service), service.nursery


@pytest.mark.parametrize(("fault", "kind", "says", "seconds"), DIALS, ids=lambda value: getattr(value, "action", None))
async def test_a_dial_that_fails_says_why_in_time(
    autojump_clock: trio.testing.MockClock, fault: Fault, kind: type[TTSError], says: str, seconds: float
) -> None:
    async with dialing(Behavior(faults=(fault,))) as (websocket, _nursery):
        began = trio.current_time()
        with pytest.raises(kind, match=says) as caught:
            await run(websocket, user := User(" "))
        assert not user.hot.is_set()
        assert trio.current_time() - began <= seconds + 0.01
        assert websocket._websocket is None
        assert websocket._user is None
        assert API_KEY not in str(caught.value)
        if fault.action in {"status", "until_eof"}:
            assert caught.value.status == fault.value
    gc.collect()  # a socket that leaked is a ResourceWarning


async def test_concurrency_at_the_upgrade(autojump_clock: trio.testing.MockClock) -> None:
    error = None
    async with memory_service(Behavior(concurrency=1, over_concurrency="upgrade", speed=0.1)) as service:
        first = websocket_to(service)
        user = User(ENDPOINT.begin(None))
        service.nursery.start_soon(run, first, user)
        await user.hot.wait()
        first.send(ENDPOINT.text(None, "Длинная фраза, которую долго говорить. "))
        await trio.sleep(0.2)
        second = websocket_to(service)
        with pytest.raises(ConcurrencyError) as caught:
            await run(second, User(" "))
        error = caught.value
    assert error.status == 429


async def test_messages_of_16_mib_are_taken(autojump_clock: trio.testing.MockClock) -> None:
    """P22: trio-websocket would close with 1009 above 1 MiB."""
    faults = (Fault("huge_frame", "audio", 9 * 2**20),)
    async with dialing(Behavior(faults=faults)) as (websocket, nursery):
        user = User(ENDPOINT.begin(None))
        nursery.start_soon(run, websocket, user)
        await user.hot.wait()
        websocket.send(ENDPOINT.text(None, "Да. "))
        websocket.send(ENDPOINT.goodbye)
        await trio.sleep(0.5)
        assert max(len(message) for message in user.messages) >= 9 * 2**20
        assert any('"isFinal": true' in message or '"isFinal":true' in message for message in map(str, user.messages))
        assert websocket.error is None


async def test_reads_are_of_64_kib(autojump_clock: trio.testing.MockClock) -> None:
    """P22: at trio-websocket's 4 KiB, a frame of 42 KiB costs five times the CPU."""
    sizes: set[int | None] = set()

    class Noted(Wrapped):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            sizes.add(max_bytes)
            return await super().receive_some(max_bytes)

    async with memory_service() as service:

        async def open_stream(config: TTSConfig) -> trio.abc.Stream:
            return Noted(await service.open_stream(config))

        async with speaking(make_config(), open_stream) as tts, tts.speak(["Да."]) as audio:
            await listen(audio)
    assert sizes == {65536}


async def test_frames_that_are_split_arrive_whole(autojump_clock: trio.testing.MockClock) -> None:
    async with dialing(Behavior(faults=(Fault("split", "audio", 100, frame=None),))) as (websocket, nursery):
        user = User(ENDPOINT.begin(None))
        nursery.start_soon(run, websocket, user)
        await user.hot.wait()
        websocket.send(ENDPOINT.text(None, "Да. "))
        await trio.sleep(0.5)
        assert user.messages
        assert all(str(message).startswith("{") and str(message).endswith("}") for message in user.messages)


@pytest.mark.parametrize("point", ["freeze", "deafen"])
async def test_closing_is_bounded_when_the_window_is_full(autojump_clock: trio.testing.MockClock, point: str) -> None:
    """P7, P16: a peer that reads nothing any more holds up nobody."""
    async with memory_service(Behavior(faults=(Fault(point, "audio"),))) as service:
        websocket = websocket_to(service)
        user = User(ENDPOINT.begin(None))
        service.nursery.start_soon(run, websocket, user)
        await user.hot.wait()
        websocket.send(ENDPOINT.text(None, "Да. "))
        await trio.sleep(0.2)
        for _ in range(100):
            websocket.send(ENDPOINT.text(None, "слово " * 2000))
        await trio.sleep(0.1)
        before = trio.current_time()
        websocket.close()
        await user.ended.wait()
        assert trio.current_time() - before == pytest.approx(0.25)


async def test_a_polite_close_and_no_torn_frame(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        websocket = websocket_to(service)
        user = User(ENDPOINT.begin(None))
        service.nursery.start_soon(run, websocket, user)
        await user.hot.wait()
        before = trio.current_time()
        websocket.close(ENDPOINT.goodbye)
        websocket.close()  # only the first counts
        websocket.send(ENDPOINT.text(None, "never"))
        await user.ended.wait()
        assert trio.current_time() == before
        await trio.testing.wait_all_tasks_blocked()
        assert [text for _, text in service.texts(0)] == [" ", ""]
        assert [r.code for r in service.server.records if isinstance(r, CloseReceived)] == [1000]
        assert [r.torn for r in service.server.records if isinstance(r, Ended)] == [False]


async def test_an_unexpected_exception_ends_the_socket_and_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_message: str | bytes) -> None:
        raise LookupError("a bug")

    async with memory_service() as service:
        websocket = websocket_to(service)
        user = User(ENDPOINT.begin(None), act=broken)
        service.nursery.start_soon(run, websocket, user)
        await user.hot.wait()
        websocket.send(ENDPOINT.text(None, "Да. "))
        await user.ended.wait()
        assert isinstance(websocket.error, TTSConnectionError)
        assert isinstance(websocket.error.__cause__, LookupError)
        assert "LookupError" in caplog.text


class Wakes(trio.abc.Instrument):
    """Counts how often a task runs that keeps the time of a socket."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.count = 0
        self._task = task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._task


async def test_a_ping_that_is_answered_wakes_nobody_again(autojump_clock: trio.testing.MockClock) -> None:
    """Of hundreds of calls each pings every 10 s; a second wake-up for each ping would cost as much as the ping."""
    async with dialing(Behavior()) as (websocket, *_), trio.open_nursery() as nursery:
        nursery.start_soon(run, websocket, User(ENDPOINT.begin(None)))
        await trio.sleep(1)
        [owner] = nursery.child_tasks
        wakes = Wakes(owner)
        trio.lowlevel.add_instrument(wakes)
        await trio.sleep(5 * make_config().ping_interval)
        trio.lowlevel.remove_instrument(wakes)
        assert wakes.count == 5 * 2 * 2  # to send it, and to take the pong; and behind a checkpoint of the stream each
        websocket.close()


async def test_a_dial_ends_at_once_where_the_peer_takes_nothing_any_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """P2: it sends, so its end of the stream is open; the pong of the first ping would be waited for in vain."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def open_stream(_: TTSConfig) -> trio.abc.Stream:
        return ours

    async def grant() -> None:
        server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        server.receive_data(await theirs.receive_some())
        await theirs.receive_stream.aclose()
        await theirs.send_all(server.send(AcceptConnection()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(grant)
        with pytest.raises(TTSConnectionError):
            await run(WebSocket(make_config(), ENDPOINT.path(), open_stream), User(ENDPOINT.begin(None)))
    assert trio.current_time() == pytest.approx(0, abs=0.5)


@asynccontextmanager
async def granted(
    nursery: trio.Nursery,
) -> AsyncGenerator[tuple[wsproto.WSConnection, trio.StapledStream, WebSocket, User]]:
    """Give the server's end of a hot socket, the stream that it reads and writes, the socket, and its user."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def open_stream(_: TTSConfig) -> trio.abc.Stream:
        return ours

    websocket = WebSocket(make_config(), ENDPOINT.path(), open_stream)
    user = User(ENDPOINT.begin(None))
    nursery.start_soon(run, websocket, user)
    server.receive_data(await theirs.receive_some())
    await theirs.send_all(server.send(AcceptConnection()))
    while not user.hot.is_set():
        await hear(server, theirs)
    yield server, theirs, websocket, user
    websocket.close()
    await theirs.aclose()


async def hear(server: wsproto.WSConnection, stream: trio.abc.Stream) -> list[Event]:
    """Return what comes next, and answer pings."""
    server.receive_data(await stream.receive_some())
    events = [*server.events()]
    for event in events:
        if isinstance(event, Ping):
            await stream.send_all(server.send(event.response()))
            await trio.testing.wait_all_tasks_blocked()
    return events


async def test_pings_of_the_peer_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, *_):
        await stream.send_all(server.send(Ping(b"here?")))
        assert [each.payload for each in await hear(server, stream) if isinstance(each, Pong)] == [b"here?"]


async def test_a_peer_that_sends_is_not_pinged(autojump_clock: trio.testing.MockClock) -> None:
    """P12: a ping finds a peer that is gone when nothing else does. It comes an interval after the last message."""
    interval = make_config().ping_interval
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, *_):
        pinged: list[float] = []

        async def listen_to_it() -> None:
            while events := await hear(server, stream):
                pinged.extend(trio.current_time() for event in events if isinstance(event, Ping))

        nursery.start_soon(listen_to_it)
        for _ in range(18):
            await trio.sleep(interval / 6)
            await stream.send_all(server.send(TextMessage("Да.")))
        assert pinged == []
        last = trio.current_time()
        await trio.sleep(3.5 * interval)
        assert pinged == pytest.approx([last + interval * n for n in (1, 2, 3)])
        nursery.cancel_scope.cancel()


async def test_a_peer_that_sends_and_takes_nothing_is_pinged(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P12: it is there, and hears nothing of what is said to it. What would be its ping waits behind that."""
    config = make_config()
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        stop_taking(monkeypatch, stream)
        websocket.send('{"text":"Да. "}')
        began = trio.current_time()
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < began + 60:
                await trio.sleep(3)
                await stream.send_all(server.send(TextMessage("Да.")))
        assert user.ended.is_set()
        assert trio.current_time() - began <= config.ping_interval + config.timeouts.ping + 3
        assert "did not answer a ping within 5 s" in str(websocket.error)


async def test_what_comes_with_the_pong_of_the_dial_is_of_the_dial(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that answers, and says no in the same breath, was never hot: the dial failed, and no socket was lost."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    refusal = TTSConnectionError("busy")

    async def open_stream(_: TTSConfig) -> trio.abc.Stream:
        return ours

    async def answer() -> None:
        server.receive_data(await theirs.receive_some())
        await theirs.send_all(server.send(AcceptConnection()))
        while True:
            server.receive_data(await theirs.receive_some())
            for event in server.events():
                if isinstance(event, Ping):
                    await theirs.send_all(server.send(event.response()) + server.send(TextMessage("busy")))

    websocket = WebSocket(make_config(), ENDPOINT.path(), open_stream)
    user = User(ENDPOINT.begin(None), act=lambda _message: websocket.abandon(refusal))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(TTSError, match="busy"):
            await run(websocket, user)
        assert not user.hot.is_set()
        assert trio.current_time() < 1
        nursery.cancel_scope.cancel()


async def test_who_takes_a_message_closes_without_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """Each reply over `stream-input` ends so, and a cancellation goes through all coroutines of the reading."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        user.act = lambda _message: websocket.close()
        scope = websocket._timer._scope
        await stream.send_all(server.send(TextMessage("Да.")))
        [closed] = await hear(server, stream)
        assert isinstance(closed, CloseConnection)
        assert not scope.cancel_called
        await stream.send_all(server.send(closed.response()))
        await user.ended.wait()
        assert websocket.error is None


async def test_a_probe_puts_off_the_next_ping(autojump_clock: trio.testing.MockClock) -> None:
    interval = make_config().ping_interval
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, _):
        await trio.sleep(interval - 1)
        websocket.probe()
        probed = trio.current_time()
        assert [event for event in await hear(server, stream) if isinstance(event, Ping)]
        assert [event for event in await hear(server, stream) if isinstance(event, Ping)]
        assert trio.current_time() == pytest.approx(probed + interval)


def stop_taking(monkeypatch: pytest.MonkeyPatch, stream: trio.StapledStream) -> trio.Event:
    """Have what is sent to this end of a stream wait until the event is set."""
    takes = trio.Event()
    send_all = trio.testing.MemorySendStream.send_all

    async def send_late(end: trio.testing.MemorySendStream, data: bytes | bytearray | memoryview) -> None:
        if end is not stream.send_stream:
            await takes.wait()
        await send_all(end, data)

    monkeypatch.setattr(trio.testing.MemorySendStream, "send_all", send_late)
    return takes


async def test_a_peer_that_sends_and_takes_nothing_fails_a_probe(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P12: a message answers a probe only where what is written to the peer does not wait."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, _):
        stop_taking(monkeypatch, stream)
        websocket.send('{"text":"Да. "}', more=True)
        websocket.probe()
        began = trio.current_time()
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < began + 5:
                await trio.sleep(0.3)
                await stream.send_all(server.send(TextMessage("Да.")))
        assert trio.current_time() - began < 1.5
        assert "did not answer a probe within 1 s" in str(websocket.error)


async def test_of_a_peer_that_takes_nothing_only_the_last_ping_is_answered(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P36: 1,000 pongs for each would be kept, of as much as it cares to send."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, *_):
        takes = stop_taking(monkeypatch, stream)
        for number in range(100):
            await stream.send_all(server.send(Ping(b"%d" % number)))
            await trio.testing.wait_all_tasks_blocked()
        takes.set()
        answers = [each.payload for _ in range(2) for each in await hear(server, stream) if isinstance(each, Pong)]
        assert answers == [b"0", b"99"]


async def test_both_ends_may_close_at_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    """There is nothing to wait for then, though the peer leaves the stream open."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        await stream.send_all(server.send(CloseConnection(code=1000)))
        websocket.close()
        began = trio.current_time()
        await user.ended.wait()
        assert trio.current_time() == began


async def test_what_trio_websocket_was_asked_goes_with_the_socket(autojump_clock: trio.testing.MockClock) -> None:
    """P36: it holds the connection, which holds it; a peer that does not answer our Close frame leaves both."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        await stream.send_all(server.send(BytesMessage(b"\0")))
        await trio.testing.wait_all_tasks_blocked()
        assert user.messages == [b"\0"]
        connection = websocket._websocket
        assert connection is not None
        assert connection._left is not None
        websocket.close()
        await user.ended.wait()
        assert connection._left is None


async def test_a_close_that_a_peer_does_not_let_us_answer_holds_up_no_close_of_ours(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: its window is full, and it has closed, so that nothing is to be waited for."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        stop_taking(monkeypatch, stream)
        await stream.send_all(server.send(CloseConnection(code=1008)))
        await trio.sleep(0.03)
        websocket.close()
        await user.ended.wait()
        assert trio.current_time() == pytest.approx(0.03)


async def test_a_close_that_cannot_be_answered_is_a_loss_all_the_same(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        stop_taking(monkeypatch, stream)
        await stream.send_all(server.send(CloseConnection(code=1008)))
        await user.ended.wait()
        assert trio.current_time() == pytest.approx(0.25)
        assert websocket.error is not None
        assert "1008" in str(websocket.error)


async def test_a_probe_that_a_message_answers_blames_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """P12: its pong is overdue, which makes the socket look at what has come, and at nothing else that is owed."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        websocket.probe()
        await trio.sleep(0.5)
        await stream.send_all(server.send(TextMessage("Да.")))
        await trio.sleep(3)
        assert user.messages == ["Да."]
        assert websocket.error is None
        assert user.given_up == 0


async def test_a_user_is_asked_to_give_up_when_what_is_owed_to_it_is_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery, granted(nursery) as (_server, _stream, websocket, user):
        user.overdue = trio.current_time() + 2
        websocket.reset_timer()
        await trio.sleep(1.9)
        assert user.given_up == 0
        await trio.sleep(0.2)
        assert user.given_up == 1


async def test_no_cancellation_of_the_users_reaches_a_socket_that_is_open(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7: neither the task that reads, nor one that waits to write, nor one that judges whether the peer is late."""
    async with trio.open_nursery() as nursery, granted(nursery) as (server, stream, websocket, user):
        takes = stop_taking(monkeypatch, stream)
        websocket.send("Добрый день")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            user.overdue = trio.current_time()
            websocket.reset_timer()
            await trio.lowlevel.checkpoint()
            takes.set()
            messages = [each.data for each in await hear(server, stream) if isinstance(each, TextMessage)]
            assert messages == ["Добрый день"]
            await stream.send_all(server.send(TextMessage("Да.")))
            await trio.sleep(1)
            assert user.messages == ["Да."]
            assert user.given_up == 1
            assert not user.ended.is_set()


async def test_a_writer_that_waits_ends_with_its_socket(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7: closing the stream wakes it, with most streams; here it does not."""
    async with trio.open_nursery() as nursery, granted(nursery) as (_server, stream, websocket, user):
        stop_taking(monkeypatch, stream)
        websocket.send("Hello.")
        await trio.sleep(0.1)
        websocket.abandon(TTSConnectionError("it was lost"))
        with trio.fail_after(1):
            await user.ended.wait()
