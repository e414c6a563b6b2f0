"""The service goes away under many calls, and comes back; or refuses all of them. On MockClock, and over sockets."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio

from tests.helpers import Service, heard, listen, make_config, memory_service
from tts_trio import AuthenticationError, TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, Requested, ToneVoice, open_local_server
from tts_trio.transport.dialing import DialBackoff
from tts_trio.transport.streams import OpenStream, open_stream

CALLS = 200
DIAL = 0.19  # seconds, as recorded (wire/README.md, 2.6)
OUTAGE = 30.0


class _LongestBlock(trio.abc.Instrument):
    """How long the loop ran, at most, without looking at its sockets."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.perf_counter()

    def after_io_wait(self, timeout: float) -> None:
        self._since = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        self.seconds = max(self.seconds, time.perf_counter() - self._since)


class _Dials:
    """Counts dials over a way to open streams."""

    def __init__(self, opener: OpenStream) -> None:
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self._opener = opener

    async def open_stream(self, config: TTSConfig) -> trio.abc.Stream:
        self.times.append(trio.current_time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._opener(config)
        finally:
            self.at_once -= 1

    def busiest(self, window: float, since: float) -> int:
        """The most dials in one window of time."""
        return max(Counter(int(moment / window) for moment in self.times if moment >= since).values(), default=0)


async def open_calls(stack: AsyncExitStack, number: int, config: TTSConfig, opener: OpenStream) -> list[TTSManager]:
    managers: list[TTSManager] = []
    for _ in range(number):
        connections = await stack.enter_async_context(WebSocketConnectionManager(config, open_stream=opener))
        managers.append(await stack.enter_async_context(TTSManager(config, connections)))
    return managers


def hot(managers: list[TTSManager]) -> int:
    return sum(manager.connections.statistics().hot for manager in managers)


async def come_back(service: Service, dials: _Dials, managers: list[TTSManager]) -> float:
    """Let the service come back; returns after how many seconds all connections are hot, and one more HTTP a call."""
    service.server.resume()
    service.dial_time = DIAL
    began = trio.current_time()
    with trio.fail_after(60):
        while hot(managers) < CALLS or len(service.nursery.child_tasks) < 2 * CALLS:  # noqa: ASYNC110 - many managers' state
            await trio.sleep(0.1)
    return trio.current_time() - began


async def test_an_outage_under_200_calls(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """P10: dials are bounded and spread while the service is away, and all calls are hot within 10 s of its return."""
    async with memory_service() as service, AsyncExitStack() as stack:
        dials = _Dials(service.open_stream)
        managers = await open_calls(stack, CALLS, make_config(), dials.open_stream)
        await trio.sleep(60)
        assert hot(managers) == CALLS
        assert dials.most_at_once <= 16

        service.server.stop_accepting()
        service.server.drop_connections()
        away = trio.current_time()
        await trio.sleep(OUTAGE)
        assert hot(managers) == 0
        in_outage = sum(moment >= away for moment in dials.times)
        assert in_outage <= CALLS * 2 * (4 + OUTAGE / 2)  # of WebSocket and HTTP: four quick ones, then one in 2 to 4 s
        assert dials.busiest(0.01, since=away + 5) <= 16  # without jitter all 400 would come in one instant

        seconds = await come_back(service, dials, managers)
        assert seconds <= 10
        assert dials.most_at_once <= 16
        with capsys.disabled():
            print(
                f"\n{CALLS} calls, {OUTAGE:g} s outage: {in_outage} dials meanwhile, at most"
                f" {dials.busiest(0.01, since=away + 5)} in 10 ms; hot again after {seconds:.1f} s"
            )
        async with managers[0].speak(["Мы снова здесь."]) as audio:
            assert heard(await listen(audio), managers[0].config) == "Мы снова здесь."


async def test_an_outage_under_50_calls_over_sockets(capsys: pytest.CaptureFixture[str]) -> None:
    """P10."""
    calls = 50
    async with open_local_server(voice=ToneVoice()) as server, AsyncExitStack() as stack:
        dials = _Dials(open_stream)
        managers = await open_calls(stack, calls, make_config(base_url=server.base_url), dials.open_stream)
        with trio.fail_after(10):
            while hot(managers) < calls:  # noqa: ASYNC110 - many managers' state
                await trio.sleep(0.01)
        block = _LongestBlock()
        trio.lowlevel.add_instrument(block)
        server.stop_accepting()
        server.drop_connections()
        await trio.sleep(1)
        assert hot(managers) == 0
        server.resume()
        began = trio.current_time()
        with trio.fail_after(10):
            while hot(managers) < calls:  # noqa: ASYNC110 - many managers' state
                await trio.sleep(0.01)
        trio.lowlevel.remove_instrument(block)
        assert dials.most_at_once <= 16
        with capsys.disabled():
            print(
                f"\n{calls} calls over sockets, 1 s outage: hot again after {trio.current_time() - began:.2f} s;"
                f" longest block of the loop {block.seconds * 1000:.0f} ms, the server's work included"
            )


async def _wait_for_ever(_config: TTSConfig) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError("it is for ever")


@pytest.mark.parametrize("calls", [16, 60])
async def test_a_silent_host_holds_up_nobody_at_another(autojump_clock: trio.testing.MockClock, calls: int) -> None:
    """P34: a host that accepts and says nothing costs those who want to talk to it, and nobody else."""
    async with memory_service(dial_time=DIAL) as service, AsyncExitStack() as stack:
        await open_calls(stack, calls, make_config(base_url="https://silent.test"), _wait_for_ever)
        await trio.sleep(1)
        for _ in range(5):
            began = trio.current_time()
            [manager] = await open_calls(stack, 1, make_config(), service.open_stream)
            async with manager.speak(["Да."]) as audio:
                assert heard(await listen(audio), manager.config) == "Да."
                assert audio.timeline.first_sent is not None
                assert audio.timeline.first_sent - began == pytest.approx(DIAL)
            await trio.sleep(2)


async def test_dials_that_wait_for_their_host_are_no_reason_to_wait_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """P34: where one of a host's addresses is silent, those who get another one wait for a second at most."""
    async with memory_service(dial_time=DIAL) as service, AsyncExitStack() as stack:
        await open_calls(stack, 8, make_config(), _wait_for_ever)  # sixteen dials, with those for HTTP
        await trio.sleep(0.1)
        began = trio.current_time()
        [manager] = await open_calls(stack, 1, make_config(), service.open_stream)
        await manager.connections.connect()
        assert trio.current_time() - began <= 1 + DIAL


async def test_a_bad_key_under_200_calls(autojump_clock: trio.testing.MockClock) -> None:
    """P10, P26: each call makes one attempt by WebSocket and one by HTTP, and no more."""
    async with memory_service(Behavior(api_keys=("another",)), dial_time=DIAL) as service, AsyncExitStack() as stack:
        managers = await open_calls(stack, CALLS, make_config(), service.open_stream)
        await trio.sleep(120)
        for manager in managers[:20]:
            with pytest.raises(AuthenticationError):
                async with manager.stream_static_text("Да.") as audio:
                    await listen(audio)
            with pytest.raises(AuthenticationError):  # what the first attempt was told, without another one
                async with manager.speak(["Да."]) as audio:
                    await listen(audio)
        await trio.sleep(120)
        methods = Counter(record.method for record in service.server.records if isinstance(record, Requested))
        assert methods == {"GET": CALLS, "POST": 20}


async def test_a_refusal_stops_the_dials_that_still_wait(autojump_clock: trio.testing.MockClock) -> None:
    """P26: of three spares that wait to be dialed again, one is enough to hear of the bad key."""
    async with memory_service(Behavior(api_keys=("another",))) as service:
        service.server.stop_accepting()
        config = make_config(spares=3)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await trio.sleep(60)
            service.server.resume()
            await trio.sleep(60)
            assert len(service.sockets()) == 1
            assert connections.statistics().dialing == 0


async def test_the_wait_grows_to_four_seconds_and_no_further(autojump_clock: trio.testing.MockClock) -> None:
    backoff = DialBackoff()
    assert backoff.wait() == 0
    for most in (0.25, 0.5, 1, 2, 4, 4):
        backoff.dial_failed()
        assert all(most / 2 <= backoff.wait() <= most for _ in range(20))
    for _ in range(5000):  # hours of them
        backoff.dial_failed()
    assert 2 <= backoff.wait() <= 4
    old = trio.current_time()
    await trio.sleep(60)
    backoff.connection_is_up(old)
    backoff.connection_works(old)
    backoff.connection_lost(old)
    assert 2 <= backoff.wait() <= 4  # it was opened before the dials failed, and says nothing of them
    young = trio.current_time()
    backoff.connection_is_up(young)
    assert 2 <= backoff.wait() <= 4
    await trio.sleep(60)
    backoff.connection_is_up(young)
    assert backoff.wait() == 0
    backoff.connection_lost(trio.current_time() - 1)
    assert 0 < backoff.wait() <= 0.25
    await trio.sleep(1)
    backoff.connection_works(trio.current_time())
    assert backoff.wait() == 0


@pytest.mark.parametrize("in_use", [True, False], ids=["in use", "idle"])
async def test_dials_that_fail_behind_a_connection_that_works(
    autojump_clock: trio.testing.MockClock, endpoint: str, in_use: bool
) -> None:
    """P10: a hot connection is no reason to dial the next one fifty times a second."""
    async with memory_service() as service:
        config = make_config(endpoint, spares=3, ping_interval=1000)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await trio.sleep(10)
            if in_use:
                await acquire_connection(connections)
            service.server.stop_accepting()
            for number in service.sockets()[1:]:  # all but one are lost
                service.links[number - 1].frozen = True
                await service.links[number - 1].aclose()
            dials = service.dials
            await trio.sleep(60)
            assert 0 < service.dials - dials < 3 * 60 / 2
