"""Cancelled at every checkpoint: whatever the user cancels, and whenever, the next sentence is spoken.

A scenario is run again and again, and the scope around it is cancelled the n-th time that its task, or one that it
started, yields to trio: for every n until it comes to its end. Over streams in memory on MockClock, over TCP and over
TLS; with a peer that reads, and with one that does not any more, so that its window is full and every write blocks.
"""

from __future__ import annotations

import gc
import itertools
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import attrs
import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, heard, listen, make_config, memory_service, text_of, websocket_path
from tests.helpers.tls import certificates
from tts_trio import (
    MemoryCache,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio._nurseries import single_error
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, CloseReceived, Ended, Fault, LocalServer, Received, Requested, ToneVoice
from tts_trio.transport.streams import OpenStream, open_stream
from tts_trio.transport.tls_stream import TLSStream

WINDOW = 4096  # bytes: soon full
BUFFER = 16384  # bytes, of each side of a socket; with less TCP itself becomes slow
NEXT = "Дальше всё хорошо, next."
OPENING = "Одну минуту, please. "
COUNT = itertools.count()
LONG_WORDS = "Превысокомногорассмотрительствующий превысокомногорассмотрительствующий разговор. " * 6  # 900 bytes

Peer: TypeAlias = Literal["reads", "deaf"]


def faults_of(peer: Peer, endpoint: str) -> tuple[Fault, ...]:
    return (Fault("deafen", "audio", frame=0, path=websocket_path(endpoint)),) if peer == "deaf" else ()


@attrs.frozen
class Stage:
    """Where a scenario plays: a server, and a manager with a hot connection to it."""

    config: TTSConfig
    server: LocalServer
    server_nursery: trio.Nursery
    open_stream: OpenStream
    connections: WebSocketConnectionManager
    tts: TTSManager
    idle_tasks: int  # of the manager, when nothing is said
    text: list[str]  # what replies say, as tokens; enough to fill the window of a deaf peer
    fails: tuple[type[TTSError], ...]  # how a reply may end that is not interrupted

    def new_connections(self) -> WebSocketConnectionManager:
        return WebSocketConnectionManager(self.config, open_stream=self.open_stream)


Scenario: TypeAlias = Callable[[Stage], Awaitable[None]]


async def connect(stage: Stage) -> None:
    async with stage.new_connections() as connections:
        await connections.connect()
        await acquire_connection(connections)


async def static_phrase(stage: Stage) -> None:
    async with stage.tts.stream_static_text(RUSSIAN) as audio:
        async for _ in audio:
            pass


async def speak(stage: Stage) -> None:
    with suppress(*stage.fails):
        async with stage.tts.speak(stage.text) as audio:
            await listen(audio)


async def llm_stream_in_two_tasks(stage: Stage) -> None:
    with suppress(*stage.fails), single_error:
        async with stage.tts.start_llm_stream() as (text, audio), trio.open_nursery() as nursery:

            async def feed() -> None:
                with text:
                    for token in stage.text:
                        await text.send(token)

            nursery.start_soon(feed)
            await listen(audio)


async def barge_in(stage: Stage) -> None:
    with suppress(*stage.fails):
        async with stage.tts.start_llm_stream() as (text, audio):
            await text.send("Сначала одно предложение. ")
            await audio.receive()
            for token in stage.text:
                await text.send(token)
    async with stage.tts.speak(["Да, слушаю."]) as audio:
        await listen(audio)


async def close(stage: Stage) -> None:
    connections = stage.new_connections()
    async with connections, TTSManager(stage.config, connections) as tts:
        async with tts.start_llm_stream() as (text, audio):
            await text.send("Сначала одно предложение. ")
            await audio.receive()
            with suppress(*stage.fails):
                for token in stage.text:
                    await text.send(token)
            await connections.close()
            await connections.close()


async def from_memory(stage: Stage) -> None:
    async with stage.tts.speak([OPENING, *stage.text]) as audio:
        await listen(audio)
    assert audio.usage.characters == len("".join(stage.text)) + 1


async def prefetch_an_opening(stage: Stage) -> None:
    before = len(stage.server.records)
    await stage.tts.prefetch_openings([f"Минуту, {next(COUNT)}."])
    assert len(stage.server.records) > before  # it was not kept


REPLIES = [speak, llm_stream_in_two_tasks, barge_in, close]
CASES = [(scenario, "reads") for scenario in (connect, static_phrase, *REPLIES)] + [
    (scenario, "deaf") for scenario in REPLIES
]
OPENED = [(scenario, "reads") for scenario in (from_memory, prefetch_an_opening)]


class _CancelAt(trio.abc.Instrument):
    """Cancels a scope when a task and those below it have yielded n times: in the middle of the n-th checkpoint."""

    def __init__(self, scope: trio.CancelScope, n: float) -> None:
        self.passed = 0
        self._root = trio.lowlevel.current_task()
        self._scope = scope
        self._n = n

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._is_below_root(task):
            self.passed += 1
            if self.passed == self._n:
                self._scope.cancel()

    def _is_below_root(self, task: trio.lowlevel.Task) -> bool:
        above: trio.lowlevel.Task | None = task
        while above is not None and above is not self._root:
            above = above.parent_nursery.parent_task if above.parent_nursery else None
        return above is self._root


async def cancelled_at(n: float, scenario: Scenario, stage: Stage) -> int:
    """Run a scenario in a task of its own, cancelled at its n-th checkpoint; returns how many it passed."""
    passed = 0

    async def run() -> None:
        nonlocal passed
        completed = False
        with trio.CancelScope() as scope:
            instrument = _CancelAt(scope, n)
            trio.lowlevel.add_instrument(instrument)
            try:
                await scenario(stage)
                completed = True
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert scope.cancelled_caught != completed  # neither swallowed nor turned into another error
        passed = instrument.passed

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    return passed


async def try_checkpoints(scenario: Scenario, stage: Stage, peer: Peer, sample: int | None) -> int:
    """Cancel a scenario at every checkpoint, or at some, and have the next sentence spoken each time."""
    well = stage.server.behavior
    ill = attrs.evolve(well, faults=faults_of(peer, stage.config.endpoint))
    stage.server.behavior = ill
    total = await cancelled_at(float("inf"), scenario, stage)
    every = range(1, total + 1)
    tried = 0
    draw = random.Random(scenario.__name__)
    first = range(1, 4 if peer == "reads" else 2)  # one that is deaf takes real seconds
    some = every if sample is None else sorted({*first, *draw.sample(every, min(sample, total))})
    for n in some:
        stage.server.behavior = ill
        await cancelled_at(n, scenario, stage)
        stage.server.behavior = well
        tried += 1
        for _ in range(2):  # over the connection that was there, and over one that was dialed since
            with trio.fail_after(5):
                async with stage.tts.speak([NEXT]) as audio:
                    assert heard(await listen(audio), stage.config) == NEXT
        if scenario is static_phrase:
            with trio.fail_after(5):
                async with stage.tts.stream_static_text(NEXT) as audio:
                    assert heard(await listen(audio), stage.config) == NEXT
        await until(lambda: tasks_of_the_client(stage.server_nursery) <= stage.idle_tasks)
    return tried


def check_records(server: LocalServer, peer: Peer) -> None:
    """No frame was torn, and what was used was closed politely."""
    sockets = {r.connection for r in server.records if isinstance(r, Requested) and r.path.endswith("-input")}
    torn = {r.connection for r in server.records if isinstance(r, Ended) and r.torn} & sockets
    texts = [record for record in server.records if isinstance(record, Received) and record.frame == "text"]
    used = {record.connection for record in texts if text_of(record.message).strip()}
    closed = {r.connection for r in server.records if isinstance(r, CloseReceived) and r.code == 1000}
    assert used
    if peer == "reads":  # where it is deaf, what it did not read in the grace is lost with the connection
        assert not torn
        assert used <= closed


async def until(reached: Callable[[], bool]) -> None:
    with trio.fail_after(2):
        while not reached():  # noqa: ASYNC110 - what trio's tasks and the kernel do sets no event
            await trio.sleep(0.005)


def tasks_of_the_client(server_nursery: trio.Nursery) -> int:
    """How many tasks there are below this one, the server's left out."""

    def count(task: trio.lowlevel.Task) -> int:
        nurseries = [nursery for nursery in task.child_nurseries if nursery is not server_nursery]
        return sum(1 + count(child) for nursery in nurseries for child in nursery.child_tasks)

    return count(trio.lowlevel.current_task())


@asynccontextmanager
async def on_stage(
    server: LocalServer,
    server_nursery: trio.Nursery,
    opener: OpenStream,
    config: TTSConfig,
    peer: Peer,
    to_fill_a_window: int,
) -> AsyncGenerator[Stage]:
    async with WebSocketConnectionManager(config, open_stream=opener) as connections:
        await connections.connect()
        async with TTSManager(config, connections) as tts:
            async with tts.stream_static_text(NEXT) as audio:
                await listen(audio)
            if config.opening_cache is not None:
                await tts.prefetch_openings([OPENING])
            await until(lambda: connections.statistics().dialing == 0)
            idle = tasks_of_the_client(server_nursery) + 1  # at most one more HTTP connection is kept
            text = [ENGLISH[:70], ENGLISH[70:]] if peer == "reads" else [LONG_WORDS] * to_fill_a_window
            fails = (TTSConnectionError,) if peer == "deaf" else ()
            yield Stage(config, server, server_nursery, opener, connections, tts, idle, text, fails)


@pytest.mark.parametrize("dial", [1, 2])
async def test_a_connection_that_opens_as_all_is_cancelled_is_closed(
    autojump_clock: trio.testing.MockClock, dial: int
) -> None:
    """One of the two is a WebSocket's, the other one that of HTTP: what opens in the last moment is not left behind."""
    async with memory_service() as service:
        with trio.CancelScope() as scope:

            async def open_and_cancel(config: TTSConfig) -> trio.abc.Stream:
                stream = await service.open_stream(config)
                if len(service.links) == dial:
                    scope.cancel()
                return stream

            connections = WebSocketConnectionManager(make_config(), open_stream=open_and_cancel)
            async with connections, TTSManager(make_config(), connections):
                await trio.sleep(1)
        assert scope.cancelled_caught
        assert len(service.links) >= dial
        for link in service.links:
            with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
                await link.receive_some()


@pytest.mark.parametrize(("scenario", "peer"), CASES + OPENED)
async def test_in_memory(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    exhaustive: bool,
    scenario: Scenario,
    peer: Peer,
) -> None:
    """P7, P8, P25."""
    monkeypatch.setattr("tts_trio.local_server.memory.WINDOW", WINDOW)
    async with memory_service(dial_time=0.2) as service:
        config = make_config(endpoint, max_lead=1e6)
        if (scenario, peer) in OPENED:
            config = config.evolve(opening_cache=MemoryCache())
        async with on_stage(service.server, service.nursery, service.open_stream, config, peer, 8) as stage:
            sample = 3 if config.opening_cache is not None else 6
            assert await try_checkpoints(scenario, stage, peer, None if exhaustive else sample)
        assert tasks_of_the_client(service.nursery) == 0
        for link in service.links:
            with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
                await link.receive_some()
        check_records(service.server, peer)
    gc.collect()  # what was not closed is a warning, and a warning is an error


def security(secure: bool) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The server's and the client's TLS contexts."""
    if not secure:
        return None, None
    return certificates().server, certificates().client


def narrow(stream: trio.abc.Stream) -> None:
    """Make the buffers of a socket small, so that it blocks soon."""
    assert isinstance(stream, trio.SocketStream | TLSStream)
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, BUFFER)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize(("scenario", "peer"), CASES)
async def test_over_sockets(
    monkeypatch: pytest.MonkeyPatch, exhaustive: bool, scenario: Scenario, secure: bool, peer: Peer, endpoint: str
) -> None:
    """P7, P8, P25. Where a socket is shared, the next turn may begin on one that is deaf, and goes on over another."""
    monkeypatch.setattr("tts_trio.transport.websocket._PROBE_TIMEOUT", 0.2)  # on this machine it takes a millisecond
    server_context, client_context = security(secure)
    behavior = Behavior(model_latency=0.001, speed=2000)
    server = LocalServer(behavior, voice=ToneVoice(), ssl_context=server_context)
    files = open_files()

    async def opener(config: TTSConfig) -> trio.abc.Stream:
        stream = await open_stream(config)
        if peer == "deaf":
            narrow(stream)
        return stream

    with single_error:
        async with trio.open_nursery() as nursery:
            port = trio.socket.socket()
            if peer == "deaf":
                port.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, BUFFER)
            await port.bind(("127.0.0.1", 0))
            port.listen()
            listener = trio.SocketListener(port)
            nursery.start_soon(partial(trio.serve_listeners, handler_nursery=nursery), server.serve_stream, [listener])
            config = make_config(
                endpoint,
                base_url=f"{'https' if secure else 'http'}://127.0.0.1:{port.getsockname()[1]}",
                ssl_context=client_context,
                max_lead=1e6,
                timeouts=Timeouts(close=0.05, stall=3.0 if peer == "reads" else 0.25),
                max_replays=2 if peer == "reads" else 0 if endpoint == "stream-input" else 1,
            )
            sample = 1 if scenario in REPLIES else 6
            async with on_stage(server, nursery, opener, config, peer, 30) as stage:
                assert await try_checkpoints(scenario, stage, peer, None if exhaustive else sample)
            assert tasks_of_the_client(nursery) == 0
            if peer == "reads":
                await until(lambda: len(nursery.child_tasks) == 1)  # the server has seen the ends, torn or not
            nursery.cancel_scope.cancel()
    check_records(server, peer)
    gc.collect()
    assert open_files() == files
