"""The limiter of a fleet, against a real Redis: processes that share a plan, die in mid call, and outlive Redis."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config, memory_service, posts
from tests.helpers.redis import Redis, needs_redis
from tts_trio import (
    ConcurrencyError,
    ConfigurationError,
    Limiter,
    RedisCache,
    RedisLimiter,
    TTSManager,
    WebSocketConnectionManager,
    open_tts,
)
from tts_trio.config.protocols import Lease
from tts_trio.limits.limiter import has_lapsed
from tts_trio.local_server import Behavior, LocalServer, Received, ToneVoice, open_local_server

pytestmark = needs_redis

CHILD = """
    import sys
    import trio
    from tests.helpers import TEXTS, heard, listen, make_config, tokens
    from tts_trio import RedisLimiter, Timeouts, open_tts

    redis, base_url, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])

    async def converse(config, text):
        async with open_tts(config) as tts:
            for turn in range(turns):
                async with tts.speak([text]) if turn % 2 else tts.stream_static_text(text) as audio:
                    print("whole" if heard(await listen(audio), config) == text else "broken", flush=True)

    async def main():
        async with RedisLimiter(redis, 5, timeout=60, lease=2) as limiter:
            config = make_config(base_url=base_url, limiter=limiter, audio_cache=None, max_replays=0,
                                 timeouts=Timeouts(first_audio=30, stall=30, reply=60))
            print("ready", flush=True)
            async with trio.open_nursery() as nursery:
                for text in [*TEXTS.values()] * 2:
                    nursery.start_soon(converse, config, text)

    trio.run(main)
"""


@attrs.define
class Fleet:
    """Processes with four conversations each."""

    redis: Redis
    server: LocalServer
    processes: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def start(self, turns: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(CHILD), self.redis.url, self.server.base_url, str(turns)]
        self.processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.processes[-1]

    async def outcome(self, process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
        said, errors = await trio.to_thread.run_sync(process.communicate)
        return process.returncode, said.split()[1:], errors

    @property
    def refusals(self) -> int:
        """How often the service said 429, or that on a WebSocket."""
        return sum("too_many_concurrent_requests" in repr(record) for record in self.server.records)


@pytest.fixture
def processes() -> Generator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def slots(redis: Redis) -> int:
    """How many slots are held, by Redis's own count."""
    return int(redis.say("ZCARD", "tts_trio:slots").decode().strip(":\r\n"))


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - of another process
            await trio.sleep(0.02)


async def test_four_processes_share_a_plan(redis: Redis, processes: list[subprocess.Popen[str]]) -> None:
    """Sixteen conversations with a plan of five: all are heard whole, and nobody is refused."""
    async with open_local_server(Behavior(concurrency=5, speed=50), voice=ToneVoice()) as server:
        fleet = Fleet(redis, server, processes)
        for process in [fleet.start(turns=2) for _ in range(4)]:
            code, said, errors = await fleet.outcome(process)
            assert (code, said) == (0, ["whole"] * 8), errors
        assert fleet.refusals == 0
        assert len(posts(server)) == 16
    assert slots(redis) == 0


async def test_the_slots_of_a_process_that_was_killed_return(
    redis: Redis, processes: list[subprocess.Popen[str]]
) -> None:
    async with open_local_server(Behavior(speed=1), voice=ToneVoice()) as server:
        fleet = Fleet(redis, server, processes)
        victim = fleet.start(turns=1)
        await until(lambda: slots(redis) == 4)
        victim.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        async with RedisLimiter(redis.url, 4, timeout=10) as limiter:
            async with limiter.slot():
                took = time.monotonic() - killed
        assert 0.5 < took < 3.5  # the lease is 2 s


async def test_a_lease_is_kept_as_long_as_the_utterance_lasts(redis: Redis) -> None:
    async with (
        RedisLimiter(redis.url, 1, lease=0.3, timeout=0.1) as one,
        RedisLimiter(redis.url, 1, timeout=0.1) as two,
    ):
        async with one.slot():
            await trio.sleep(1)
            with pytest.raises(ConcurrencyError):
                async with two.slot():
                    pytest.fail("it is held")
        await until(lambda: slots(redis) == 0)
        async with two.slot():
            assert slots(redis) == 1


async def test_a_lease_that_lapsed_is_not_renewed(redis: Redis) -> None:
    """Who stood still beyond his lease knows it before he does anything else, and does not take the slot back."""
    async with RedisLimiter(redis.url, 1, lease=0.3) as one:
        async with one.slot() as lease:
            assert not has_lapsed(lease)
            await trio.sleep(0.6)
            assert not has_lapsed(lease)  # it is renewed
            time.sleep(0.4)  # noqa: ASYNC251 - all of this process stands still
            assert has_lapsed(lease)
            async with RedisLimiter(redis.url, 1) as other, other.slot():
                await trio.sleep(0.5)
                assert slots(redis) == 1
                assert has_lapsed(lease)


async def test_a_reply_whose_process_stood_still_waits_for_another_slot(redis: Redis) -> None:
    """Two would hold the one slot: the late one notices before it sends its next phrase."""
    first, second = "Здравствуйте, чем могу помочь?", " Одну секунду, пожалуйста."
    taken, released = threading.Event(), math.inf

    async def take() -> None:
        nonlocal released
        async with RedisLimiter(redis.url, 1, timeout=10) as other:
            async with other.slot():
                taken.set()
                await trio.sleep(1)
            released = time.monotonic()

    async with open_local_server(Behavior(), voice=ToneVoice()) as server:
        async with RedisLimiter(redis.url, 1, lease=0.3) as limiter:
            config = make_config(base_url=server.base_url, limiter=limiter, language_code="ru")
            async with open_tts(config) as tts, tts.start_llm_stream() as (text, audio):
                await text.send(first + " ")
                begun = await audio.receive()
                thread = threading.Thread(target=trio.run, args=[take])
                thread.start()
                taken.wait(10)  # which blocks the loop for longer than the lease
                with text:
                    await text.send(second)
                rest = await listen(audio)
            thread.join()
        assert heard(begun + rest, config) == first + second
        sent = [r.time for r in server.records if isinstance(r, Received) and "секунду" in str(r.message)]
        assert len(sent) == 1
        assert sent[0] >= released + trio.current_time() - time.monotonic() - 0.05  # by the clock of this loop
    assert slots(redis) == 0


async def test_its_block_may_be_left_in_any_moment(redis: Redis) -> None:
    """What was to be told to Redis in that moment is no reason for an error."""
    async with RedisLimiter(redis.url, 1) as limiter:
        limiter.learn(5)
    async with RedisLimiter(redis.url, 1) as limiter, limiter.slot():
        pass
    async with RedisLimiter(redis.url) as limiter:
        limiter.learn(5)


@attrs.define
class Lapsing:
    """A limiter whose first slot lapses after 50 ms, as of a process that stood still."""

    taken: int = 0

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[Lease]:
        self.taken += 1
        yield Lease(trio.current_time() + (0.05 if self.taken == 1 else math.inf))

    def learn(self, size: int) -> None:
        """Learn nothing."""


async def test_a_request_whose_slot_lapsed_while_it_dialed_takes_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = Lapsing()
    config = make_config(limiter=limiter, audio_cache=None, max_replays=0)
    async with memory_service(dial_time=0.2) as service:
        connections = WebSocketConnectionManager(config, open_stream=service.open_stream)
        async with connections, TTSManager(config, connections) as tts, tts.stream_static_text("Да.") as audio:
            assert heard(await listen(audio), config) == "Да."
        assert len(posts(service.server)) == 1
    assert limiter.taken == 2


async def test_one_object_in_two_loops_is_refused_in_words(redis: Redis) -> None:
    """Its connections belong to the loop that entered it: another thread, or a fork, makes one of its own."""

    def elsewhere(work: Callable[[], Awaitable[object]]) -> None:
        trio.run(work)

    async with RedisLimiter(redis.url, 1) as limiter, RedisCache(redis.url) as cache:

        async def hold() -> None:
            async with limiter.slot():
                pytest.fail("it belongs to another loop")

        async def open_one() -> None:
            config = make_config(limiter=limiter)
            connections = WebSocketConnectionManager(config)
            async with connections, TTSManager(config, connections):
                pytest.fail("its limiter belongs to another loop")

        for work in (hold, partial(cache.get, "0" * 64)):
            with pytest.raises(RuntimeError, match=r"another trio\.run"):
                await trio.to_thread.run_sync(elsewhere, work)
        with pytest.raises(ConfigurationError, match=r"^limiter: .* in the same trio\.run"):
            await trio.to_thread.run_sync(elsewhere, open_one)
        assert await cache.get("0" * 64) is None
        async with limiter.slot():
            assert slots(redis) == 1


async def test_those_on_the_line_come_before_the_prefetch_of_another_process(redis: Redis) -> None:
    order: list[str] = []
    async with (
        RedisLimiter(redis.url, 1, timeout=5) as one,
        RedisLimiter(redis.url, 1, timeout=5) as two,
        trio.open_nursery() as nursery,
    ):

        async def wait(limiter: Limiter, name: str) -> None:
            async with limiter.slot(background=name == "prefetch"):
                order.append(name)
                await trio.sleep(0.1)

        async with one.slot():
            nursery.start_soon(wait, one, "prefetch")
            await trio.sleep(0.2)
            nursery.start_soon(wait, two, "reply")
            await trio.sleep(0.2)
    assert order == ["reply", "prefetch"]


async def test_those_on_the_line_come_before_the_prefetch_of_their_own_process(redis: Redis) -> None:
    order: list[str] = []
    async with (
        RedisLimiter(redis.url, 1, timeout=2) as ours,
        RedisLimiter(redis.url, 1) as theirs,
        trio.open_nursery() as nursery,
    ):

        async def wait(name: str) -> None:
            async with ours.slot(background=name == "prefetch"):
                order.append(name)
                await trio.sleep(0.1)

        async with theirs.slot():
            nursery.start_soon(wait, "prefetch")
            await trio.sleep(0.2)
            nursery.start_soon(wait, "reply")
            await trio.sleep(0.2)
    assert order == ["reply", "prefetch"]


@pytest.mark.parametrize("lease", [0, -1.0, True, float("inf")])
def test_a_lease_that_is_none(lease: float) -> None:
    with pytest.raises(ConfigurationError, match=r"^lease: ") as caught:
        RedisLimiter("redis://127.0.0.1", 1, lease=lease)
    assert caught.value.field == "lease"


async def test_one_process_learns_the_size_for_all(redis: Redis) -> None:
    async with RedisLimiter(redis.url) as one, RedisLimiter(redis.url, timeout=0.1) as two:
        async with two.slot(), two.slot():
            assert slots(redis) == 2  # not known yet
        one.learn(1)
        await until(lambda: redis.say("GET", "tts_trio:size").startswith(b"$1"))
        async with one.slot():
            with pytest.raises(ConcurrencyError):
                async with two.slot():
                    pytest.fail("there is one for all")


@pytest.mark.parametrize("how", ["killed", "hung"])
async def test_redis_stopped_and_the_calls_go_on(redis: Redis, how: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_local_server(Behavior(speed=200), voice=ToneVoice()) as server:
        async with RedisLimiter(redis.url, 1, timeout=5) as limiter:
            config = make_config(base_url=server.base_url, limiter=limiter, audio_cache=None)
            async with open_tts(config) as tts:
                for broken in (False, True, True):
                    if broken and redis.process is not None:
                        redis.kill() if how == "killed" else redis.signal(signal.SIGSTOP)
                    for text in TEXTS.values():
                        began = trio.current_time()
                        async with tts.speak([text]) as audio:
                            assert heard(await listen(audio), config) == text
                        assert trio.current_time() - began < 3
    assert caplog.text.count("Redis cannot be asked for slots") == 1
    if how == "hung":
        redis.signal(signal.SIGCONT)


async def test_redis_that_was_never_there(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.kill()
    async with RedisLimiter(redis.url, 1, timeout=5) as limiter:
        async with limiter.slot(), limiter.slot():
            assert "go on without" in caplog.text
    with pytest.raises(RuntimeError, match="async with"):
        async with limiter.slot():
            pytest.fail("it was left")
    with pytest.raises(ConfigurationError, match="size"):
        RedisLimiter(redis.url, 0)


async def test_a_limiter_that_was_not_entered_is_no_failure_of_the_network() -> None:
    config = make_config(limiter=RedisLimiter("redis://127.0.0.1:1", 1))
    connections = WebSocketConnectionManager(config)
    with pytest.raises(ConfigurationError, match=r"^limiter: "):
        async with connections, TTSManager(config, connections):
            pytest.fail("it would refuse every utterance")
