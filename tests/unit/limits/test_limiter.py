"""The plan's concurrency: slots and who waits for them, in virtual time; never a 429 where the service has one."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel

from tests.helpers import ENGLISH, RUSSIAN, TEXTS, heard, listen, make_config, memory_service, posts, speaking, tokens
from tts_trio import (
    ConcurrencyError,
    ConcurrencyLimiter,
    ConfigurationError,
    MemoryCache,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.config.protocols import LIMITER
from tts_trio.limits.limiter import learn_from
from tts_trio.local_server import Answered, Behavior, Fault, Sent


async def test_so_many_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    limiter = ConcurrencyLimiter(3)
    most = 0

    async def speak() -> None:
        nonlocal most
        async with limiter.slot():
            most = max(most, limiter.held)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(speak)
    assert (most, limiter.held, trio.current_time()) == (3, 0, 4.0)
    LIMITER.check("limiter", limiter)


async def test_first_come_first_served_and_those_on_the_line_before_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = ConcurrencyLimiter(1)
    order: list[str] = []

    async def wait(name: str, background: bool) -> None:
        async with limiter.slot(background=background):
            order.append(name)

    async with trio.open_nursery() as nursery:
        async with limiter.slot():
            for name in ("prefetch 1", "prefetch 2", "reply 1", "reply 2"):
                nursery.start_soon(wait, name, name.startswith("prefetch"))
                await trio.testing.wait_all_tasks_blocked()
    assert order == ["reply 1", "reply 2", "prefetch 1", "prefetch 2"]


@pytest.mark.parametrize("on_timeout", ["raise", "proceed"])
async def test_past_its_deadline(autojump_clock: trio.testing.MockClock, on_timeout: str) -> None:
    limiter = ConcurrencyLimiter(1, timeout=2, on_timeout=on_timeout)  # type: ignore[arg-type]
    async with limiter.slot():
        if on_timeout == "raise":
            with pytest.raises(ConcurrencyError, match="2 s") as caught:
                async with limiter.slot():
                    pytest.fail("there is no slot")
            assert caught.value.retryable
        else:
            async with limiter.slot():
                assert limiter.held == 1
        assert trio.current_time() == 2.0
        with trio.move_on_after(100) as waiting:
            async with limiter.slot(background=True):
                pytest.fail("there is no slot")
        assert waiting.cancelled_caught  # nobody is on the line: it waits as long as it takes
    assert limiter.held == 0


async def test_whoever_is_cancelled_leaves_no_slot_taken(autojump_clock: trio.testing.MockClock) -> None:
    limiter = ConcurrencyLimiter(1)

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            async with limiter.slot():
                await trio.sleep_forever()

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(wait, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()  # it waits
        scopes[0].cancel()  # and in the same instant the slot is free for the third
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.held == 1
        scopes[2].cancel()
    assert limiter.held == 0
    async with limiter.slot():
        assert limiter.held == 1


async def test_the_size_can_be_learned(autojump_clock: trio.testing.MockClock) -> None:
    limiter = ConcurrencyLimiter()
    assert limiter.size is None
    async with limiter.slot(), limiter.slot():
        limiter.learn(1)
        with pytest.raises(ConcurrencyError):
            async with limiter.slot():
                pytest.fail("there is no slot")
    given = ConcurrencyLimiter(7)
    given.learn(3)
    assert (limiter.size, given.size) == (1, 7)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": 2.5}, "size"),
        ({"timeout": -1}, "timeout"),
        ({"on_timeout": "wait"}, "on_timeout"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ConcurrencyLimiter(**values)  # type: ignore[arg-type]
    assert caught.value.field == field
    with pytest.raises(ConfigurationError, match="limiter"):
        make_config(limiter=5)


# Utterances.


@asynccontextmanager
async def plan(limiter: ConcurrencyLimiter | None, behavior: Behavior) -> AsyncGenerator[list[str]]:
    """Ten conversations of an account with a plan of so many; gives what was heard in them, and how often refused."""
    results: list[str] = []
    config = make_config(limiter=limiter, audio_cache=None, max_replays=0)
    async with memory_service(behavior) as service, trio.open_nursery() as nursery:

        async def converse(number: int) -> None:
            text = RUSSIAN[:32] if number % 2 else ENGLISH[:33]
            async with speaking(config, service.open_stream) as tts:
                for speech in (tts.speak(tokens(text)), tts.stream_static_text(text)):
                    async with speech as audio:
                        results.append("whole" if heard(await listen(audio), config) == text else "broken")

        for number in range(10):
            nursery.start_soon(converse, number)
        yield results
    if limiter is not None:
        assert limiter.held == 0
    results += [
        "refused"
        for record in service.server.records
        if (isinstance(record, Sent) and record.error == "concurrent_limit_exceeded")
        or (isinstance(record, Answered) and record.status == 429)
    ]


@pytest.mark.parametrize("over_concurrency", ["frame", "upgrade"])
async def test_there_is_never_a_429(autojump_clock: trio.testing.MockClock, over_concurrency: str) -> None:
    async with plan(
        ConcurrencyLimiter(3, timeout=60), Behavior(concurrency=3, over_concurrency=over_concurrency)
    ) as results:  # type: ignore[arg-type]
        pass
    assert results == ["whole"] * 20


async def test_without_the_limiter_there_would_be(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with plan(None, Behavior(concurrency=3)):
            pass
    assert caught.group_contains(ConcurrencyError)


@pytest.mark.parametrize("over_concurrency", ["frame", "upgrade"])
async def test_a_plan_that_nobody_told_is_learned_from_the_first_refusal(
    autojump_clock: trio.testing.MockClock, over_concurrency: str
) -> None:
    """Ten callers with a plan of three: seven are refused once, wait for a slot, and all are heard whole."""
    limiter = ConcurrencyLimiter(timeout=60)
    async with plan(limiter, Behavior(concurrency=3, over_concurrency=over_concurrency)) as results:  # type: ignore[arg-type]
        pass
    assert limiter.size == 3
    assert results.count("whole") == 20
    assert results.count("refused") <= 7


@pytest.mark.parametrize("size", [None, 10])
@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
@pytest.mark.parametrize("language", TEXTS)
async def test_a_plan_that_others_use_up_is_waited_for(
    autojump_clock: trio.testing.MockClock, size: int | None, way: str, language: str
) -> None:
    """Another process speaks for two seconds: the utterance is refused, tries again, and is heard."""
    text = TEXTS[language]
    limiter = ConcurrencyLimiter(size)
    config = make_config(limiter=limiter, audio_cache=None, max_replays=0)
    async with memory_service(Behavior(concurrency=1, speed=4.0)) as service:
        async with (
            speaking(config.evolve(limiter=None), service.open_stream) as other,
            speaking(config, service.open_stream) as tts,
            other.stream_static_text(ENGLISH[:100]) as theirs,
        ):
            await theirs.receive()
            async with tts.speak([text]) if way == "speak" else tts.stream_static_text(text) as audio:
                assert heard(await listen(audio), config) == text
    assert limiter.size == (size or 1)


@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_a_plan_that_stays_used_up_is_told_in_time(autojump_clock: trio.testing.MockClock, way: str) -> None:
    limiter = ConcurrencyLimiter()
    config = make_config(limiter=limiter, audio_cache=None, timeouts=Timeouts(reply=3.0))
    async with memory_service(Behavior(concurrency=1, speed=0.1)) as service:
        async with (
            speaking(config.evolve(limiter=None), service.open_stream) as other,
            speaking(config, service.open_stream) as tts,
            other.stream_static_text(ENGLISH) as theirs,
        ):
            await theirs.receive()
            began = trio.current_time()
            with pytest.raises(TTSConnectionError):
                async with tts.speak([RUSSIAN]) if way == "speak" else tts.stream_static_text(RUSSIAN) as audio:
                    await listen(audio)
            assert trio.current_time() - began < 3.1


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("Too many concurrent requests. Your current subscription is associated with a maximum of 3 concurrent", 3),
        ("maximum of 0 concurrent requests", 1),
        ("maximum of 99999999999 concurrent requests", None),
        ("too many", None),
    ],
)
def test_the_number_in_a_refusal(message: str, size: int | None) -> None:
    limiter = ConcurrencyLimiter()
    learn_from(ConcurrencyError(message), limiter)
    assert limiter.size == size


# Threads and forks.


def test_one_limiter_in_two_threads() -> None:
    """A slot that is given back in one thread's loop wakes the one who waits for it in another's."""
    limiter = ConcurrencyLimiter(1)
    most = 0

    async def speak() -> None:
        nonlocal most
        for _ in range(50):
            async with limiter.slot():
                most = max(most, limiter.held)
                await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(speak)

    failed: list[BaseException] = []

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - the test tells it
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert failed == []
    assert (most, limiter.held) == (1, 0)


def in_a_child(work: Callable[[], None]) -> int:
    """Do something in a fork of this process; returns 0 if it did not fail."""
    child = os.fork()
    if not child:
        try:
            signal.alarm(5)
            work()
        except BaseException:  # noqa: BLE001 - this process must end here
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_begins_with_no_slot_taken() -> None:
    limiter = ConcurrencyLimiter(1, timeout=0.5)

    held, forked = threading.Event(), threading.Event()

    async def hold() -> None:
        async with limiter.slot():
            held.set()
            await trio.to_thread.run_sync(forked.wait)

    async def use() -> None:
        async with limiter.slot():
            assert limiter.held == 1

    thread = threading.Thread(target=trio.run, args=[hold])
    thread.start()
    held.wait()
    with limiter._lock:  # as another thread may hold it in that moment
        ended = in_a_child(lambda: trio.run(use))
    forked.set()
    thread.join()
    assert (ended, limiter.held) == (0, 0)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_cache_in_memory_goes_on_in_a_fork() -> None:
    cache = MemoryCache()

    async def use() -> None:
        assert await cache.get("a") == b"x"
        await cache.put("b", b"y")
        assert (await cache.statistics()).bytes == 2

    trio.run(cache.put, "a", b"x")
    with cache._lock:  # as another thread may hold it in that moment
        assert in_a_child(lambda: trio.run(use)) == 0


@pytest.mark.parametrize("language", TEXTS)
async def test_an_llm_that_has_not_spoken_yet_holds_no_slot(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """It is utterances that are generated that count, and not those that are only begun."""
    limiter = ConcurrencyLimiter(1)
    async with memory_service() as service, speaking(make_config(limiter=limiter), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            await trio.sleep(60)
            assert limiter.held == 0
            async with tts.stream_static_text(TEXTS[language]) as phrase:
                await listen(phrase)
            with text:
                await text.send(TEXTS[language])
            await audio.receive()
            assert limiter.held == 1
            assert heard(await listen(audio), tts.config)
            await trio.testing.wait_all_tasks_blocked()
            assert limiter.held == 0  # the final has come
        async with tts.speak(tokens(TEXTS[language])) as audio:
            await audio.receive()
            assert limiter.held == 1
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.held == 0  # interrupted


@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_an_utterance_for_which_there_is_no_slot_fails_typed(
    autojump_clock: trio.testing.MockClock, way: str
) -> None:
    limiter = ConcurrencyLimiter(1, timeout=3)
    async with memory_service() as service, speaking(make_config(limiter=limiter), service.open_stream) as tts:
        began = trio.current_time()
        async with limiter.slot():
            with pytest.raises(ConcurrencyError, match="all slots of the limiter"):
                async with tts.speak([ENGLISH]) if way == "speak" else tts.stream_static_text(ENGLISH) as audio:
                    await listen(audio)
        assert 3 <= trio.current_time() - began <= tts.config.timeouts.connect + 3
        assert audio.outcome is not None
        assert (audio.outcome.spoken_text, audio.outcome.unspoken_text) == ("", ENGLISH)
        assert not [text for _, text in service.texts() if text.strip()]
        assert not posts(service.server)


async def test_prefetch_waits_for_those_on_the_line_and_a_hit_needs_no_slot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = ConcurrencyLimiter(1)
    config = make_config(limiter=limiter, audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            async with limiter.slot():
                nursery.start_soon(tts.prefetch, ["Да.", "Yes."])
                await trio.sleep(100)
                assert not posts(service.server)
        async with limiter.slot(), tts.stream_static_text("Да.") as audio:
            assert heard(await listen(audio), config) == "Да."


async def test_the_plan_is_learned_from_the_answers(autojump_clock: trio.testing.MockClock) -> None:
    limiter = ConcurrencyLimiter()
    async with memory_service(Behavior(concurrency=4)) as service:
        async with speaking(make_config(limiter=limiter, audio_cache=None), service.open_stream) as tts:
            async with tts.stream_static_text(ENGLISH) as audio:
                await listen(audio)
    assert limiter.size == 4
    assert math.isfinite(limiter.size)


async def test_the_plan_is_learned_from_the_answers_of_a_fallback(autojump_clock: trio.testing.MockClock) -> None:
    limiter = ConcurrencyLimiter()
    config = make_config(limiter=limiter, audio_cache=None, fallback="http", timeouts=Timeouts(connect=0.5))
    no_websocket = Fault("status", "answer", 503, path="stream-input")
    async with memory_service(Behavior(concurrency=4, faults=(no_websocket,))) as service:
        connections = WebSocketConnectionManager(config, open_stream=service.open_stream)
        async with connections, TTSManager(config, connections) as tts, tts.speak([RUSSIAN]) as audio:
            assert heard(await listen(audio), config) == RUSSIAN
    assert limiter.size == 4


@pytest.mark.parametrize("way", ["phrase", "reply"])
@pytest.mark.parametrize("timeout", [0.5, 3.0])
async def test_the_wait_is_as_long_as_was_said(
    autojump_clock: trio.testing.MockClock, way: str, timeout: float
) -> None:
    """The limiter's own refusal has been waited for: it is not tried again behind the caller's back."""
    limiter = ConcurrencyLimiter(1, timeout=timeout)
    config = make_config(limiter=limiter, audio_cache=None)
    async with memory_service() as service, speaking(config, service.open_stream) as tts, limiter.slot():
        began = trio.current_time()
        with pytest.raises(ConcurrencyError) as caught:
            async with tts.stream_static_text(RUSSIAN) if way == "phrase" else tts.speak([RUSSIAN]) as audio:
                await listen(audio)
        assert trio.current_time() - began == pytest.approx(timeout)
        assert caught.value.retryable


@pytest.mark.parametrize("wait", [1.0, 7.0])
async def test_who_has_waited_for_a_slot_still_has_time_to_dial(
    autojump_clock: trio.testing.MockClock, wait: float
) -> None:
    limiter = ConcurrencyLimiter(1, timeout=30)
    refused = False
    async with memory_service() as service:

        async def dial(config: TTSConfig) -> trio.abc.Stream:
            if refused:
                raise ConnectionRefusedError
            return await service.open_stream(config)

        config = make_config(limiter=limiter, audio_cache=None)
        async with speaking(config, dial) as tts, trio.open_nursery() as nursery:
            said: list[str] = []

            async def say() -> None:
                async with tts.stream_static_text(RUSSIAN) as audio:
                    said.append(heard(await listen(audio), config))

            async with limiter.slot():
                nursery.start_soon(say)
                await trio.sleep(wait)
                refused = True
                for link in service.links:
                    await link.aclose()
                await trio.sleep(0.01)
            await trio.sleep(0.1)
            refused = False
    assert said == [RUSSIAN]


async def test_one_request_however_long_it_waits_for_its_slot(autojump_clock: trio.testing.MockClock) -> None:
    """P30: those who come meanwhile join it, and a prefetch that waited for them finds the phrase in the cache."""
    limiter = ConcurrencyLimiter(1)
    config = make_config(limiter=limiter, audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:

        async def say() -> None:
            async with tts.stream_static_text(RUSSIAN) as audio:
                assert heard(await listen(audio), config) == RUSSIAN

        async with trio.open_nursery() as nursery:
            async with limiter.slot():
                nursery.start_soon(tts.prefetch, [RUSSIAN])
                for _ in range(3):
                    await trio.sleep(1.5)
                    nursery.start_soon(say)
        assert len(posts(service.server)) == 1
