"""The cache of a fleet, against a real Redis: asked once for each phrase, and never the reason that one is not heard.

These tests need `redis-server` (Debian: `apt-get install redis-server`).
"""

from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from tests.helpers import RUSSIAN, TEXTS, heard, listen, make_config, posts
from tests.helpers.redis import Redis, needs_redis
from tts_trio import CacheStatistics, ConfigurationError, RedisCache, Timeouts, TTSManager, open_tts
from tts_trio.local_server import Behavior, LocalServer, ToneVoice, open_local_server
from tts_trio.static_text.cached_source import _fetches_of_this_run

pytestmark = needs_redis

KEY = "a" * 64


@attrs.define
class Stage:
    """A conversation whose phrases are kept in Redis."""

    tts: TTSManager
    cache: RedisCache
    server: LocalServer

    async def hear(self, text: str = RUSSIAN) -> str:
        async with self.tts.stream_static_text(text) as audio:
            return heard(await listen(audio), self.tts.config)

    async def until_stored(self, phrases: int = 1) -> None:
        """Wait for what is stored behind the caller's back."""
        with trio.fail_after(10):
            while True:
                with contextlib.suppress(OSError):
                    if (await self.cache.statistics()).entries >= phrases:
                        return
                await trio.sleep(0.02)

    async def until_it_is_a_hit(self) -> None:
        """Say a phrase until it is said without the service."""
        with trio.fail_after(20):
            while True:
                requests = self.requests
                assert await self.hear() == RUSSIAN
                if self.requests == requests:
                    return

    @property
    def requests(self) -> int:
        return len(posts(self.server))


@asynccontextmanager
async def stage(redis: Redis, timeout: float = 2.0) -> AsyncGenerator[Stage]:  # noqa: ASYNC109 - the configuration's
    """On a machine with much to do, an answer of Redis may take longer than the 20 ms that it has by default."""
    async with open_local_server(Behavior(speed=200), voice=ToneVoice()) as server:
        async with RedisCache(redis.url) as cache:
            config = make_config(base_url=server.base_url, audio_cache=cache, timeouts=Timeouts(cache=timeout))
            async with open_tts(config) as tts:
                yield Stage(tts, cache, server)


async def test_what_was_put_is_got_by_other_processes(redis: Redis) -> None:
    async with (
        RedisCache(redis.url) as one,
        RedisCache(redis.url) as other,
        RedisCache(redis.url, prefix="x:") as apart,
    ):
        assert await one.get(KEY) is None
        await one.put(KEY, b"\x00\xff" * 50_000)
        await one.put("b" * 64, b"x")
        assert await other.get(KEY) == b"\x00\xff" * 50_000
        assert await apart.get(KEY) is None
        assert await other.claim(KEY, 10)
        assert await other.statistics() == CacheStatistics(2, 100_001)
        assert await apart.statistics() == CacheStatistics(0, 0)
        await apart.clear()
        assert await one.get(KEY) is not None
        await other.clear()
        assert await one.get(KEY) is None


async def test_what_is_not_used_is_dropped_in_time(redis: Redis) -> None:
    async with RedisCache(redis.url, lifetime=100) as cache:
        await cache.put(KEY, b"x")
        redis.say("EXPIRE", f"tts_trio:{KEY}", "5")
        assert await cache.get(KEY) == b"x"  # which is a use
        assert int(redis.say("TTL", f"tts_trio:{KEY}")[1:]) > 50


async def test_a_claim_is_one_processs_until_it_is_released_or_over(redis: Redis) -> None:
    async with RedisCache(redis.url) as one, RedisCache(redis.url) as other:
        assert await one.claim(KEY, 10)
        assert not await other.claim(KEY, 10)
        await other.release(KEY)  # is not its own
        assert not await other.claim(KEY, 10)
        await one.release(KEY)
        assert await other.claim(KEY, 0.05)
        await trio.sleep(0.1)
        assert await one.claim(KEY, 10)


@pytest.mark.parametrize("options", [[], ["PX", "60000"]], ids=["without an end", "for a minute"])
async def test_a_claim_that_is_stuck_costs_no_time(redis: Redis, options: list[str]) -> None:
    """Those of processes that live end within 0.3 s, and are renewed."""
    async with stage(redis) as on:
        assert await on.hear("Да.") == "Да."
        await on.until_stored()
        [key] = await on.cache._keys()
        redis.say("DEL", key)
        redis.say("SET", f"tts_trio:claim:{key.decode().removeprefix('tts_trio:')}", "somebody", *options)
        began = trio.current_time()
        async with on.tts.stream_static_text("Да.") as audio:
            await audio.receive()
            assert trio.current_time() - began < 0.7
        assert on.requests == 2


async def test_it_is_used_inside_of_its_block(redis: Redis) -> None:
    cache = RedisCache(redis.url)
    with pytest.raises(RuntimeError, match="async with"):
        await cache.get(KEY)
    async with cache:
        assert await cache.get(KEY) is None
    with pytest.raises(RuntimeError, match="async with"):
        await cache.get(KEY)
    with pytest.raises(ZeroDivisionError):  # bare
        async with RedisCache(redis.url):
            raise ZeroDivisionError


async def test_the_extra_is_named_where_it_is_missing(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(ConfigurationError, match=r"tts_trio\[redis\]"):
        async with RedisCache(redis.url):
            pass


@pytest.mark.parametrize("language", TEXTS)
async def test_a_phrase_is_asked_for_once(redis: Redis, language: str) -> None:
    async with stage(redis) as on:
        assert await on.hear(TEXTS[language]) == TEXTS[language]
        await on.until_stored()
        assert await on.hear(TEXTS[language]) == TEXTS[language]
        assert on.requests == 1


_CALLERS = """
import sys
from contextlib import AsyncExitStack
import trio
from tts_trio import RedisCache, Timeouts, TTSConfig, open_tts

async def call(tts, text, sizes):
    async with tts.stream_static_text(text) as audio:
        sizes.append(len(b"".join([chunk async for chunk in audio])))

async def main(base_url, redis_url, text):
    async with RedisCache(redis_url) as cache, AsyncExitStack() as stack:
        config = TTSConfig(
            api_key="any", voice_id="any", base_url=base_url, audio_cache=cache, timeouts=Timeouts(cache=5.0)
        )
        callers = [await stack.enter_async_context(open_tts(config)) for _ in range(5)]
        await cache.get("0" * 64)
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.readline)
        sizes = []
        async with trio.open_nursery() as nursery:
            for tts in callers:
                nursery.start_soon(call, tts, text, sizes)
        print(sizes)

trio.run(main, *sys.argv[1:])
"""


async def test_twenty_callers_in_four_processes_make_one_request(redis: Redis) -> None:
    said: list[bytes] = []

    async def hear(process: trio.Process) -> None:
        assert process.stdout is not None
        said.append(b"".join([data async for data in process.stdout]))

    async with open_local_server(Behavior(model_latency=0.3), voice=ToneVoice()) as server:
        command = [sys.executable, "-c", _CALLERS, server.base_url, redis.url, RUSSIAN]
        run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        async with trio.open_nursery() as nursery:
            processes = [await nursery.start(run) for _ in range(4)]
            for process in processes:
                assert await process.stdout.receive_some() == b"ready\n"
            for process in processes:
                await process.stdin.send_all(b"\n")
                nursery.start_soon(hear, process)
        sizes = [int(size) for line in said for size in line.decode().strip("[]\n").split(",")]
        assert len(sizes) == 20
        assert len(set(sizes)) == 1
        assert sizes[0] > 100_000
        assert len(posts(server)) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many tries in the same time."""
    monkeypatch.setattr("tts_trio.limits.redis_client._ANSWER_TIMEOUT", 0.1)
    monkeypatch.setattr("tts_trio.limits.redis_client._PAUSE", 0.1)


async def test_killed_in_mid_call_and_back_again(redis: Redis, impatient: None) -> None:
    async with stage(redis, timeout=0.02) as on:
        assert await on.hear() == RUSSIAN
        redis.kill()
        for text in ("Раз.", "Два.", "Три.", RUSSIAN):
            assert await on.hear(text) == text
        redis.start()
        await on.until_it_is_a_hit()


async def test_killed_while_a_phrase_is_on_its_way(redis: Redis) -> None:
    async with stage(redis) as on, trio.open_nursery() as nursery:

        async def kill() -> None:
            await trio.sleep(0.05)
            redis.kill()

        nursery.start_soon(kill)
        for number in range(20):
            assert await on.hear(f"Раз {number}.") == f"Раз {number}."


async def test_hung_and_awake_again(redis: Redis, impatient: None) -> None:
    async with stage(redis, timeout=0.02) as on:
        assert await on.hear() == RUSSIAN
        redis.signal(signal.SIGSTOP)
        number, began = 0, trio.current_time()
        while trio.current_time() - began < 2:  # it is tried again more often than there are places for connections
            number += 1
            with trio.fail_after(1):
                assert await on.hear(f"Раз {number}.") == f"Раз {number}."
        redis.signal(signal.SIGCONT)
        await on.until_it_is_a_hit()


async def test_full(redis: Redis) -> None:
    redis.say("CONFIG", "SET", "maxmemory", "1mb")
    async with stage(redis) as on:
        for number in range(5):
            assert await on.hear(f"Раз {number}.") == f"Раз {number}."
        assert on.requests == 5
        redis.say("CONFIG", "SET", "maxmemory", "100mb")
        assert await on.hear("Пять.") == "Пять."
        await on.until_stored()


async def test_values_with_flipped_bits(redis: Redis) -> None:
    async with stage(redis) as on:
        assert await on.hear("Да.") == "Да."
        await on.until_stored()
        [key] = await on.cache._keys()
        size = int(redis.say("STRLEN", key)[1:])
        requests = 1
        for bit in [0, 7, 200, 1000, size * 4, size * 8 - 1, *range(0, size * 8, math.ceil(size * 8 / 10))]:
            flipped = b"0" if redis.say("GETBIT", key, str(bit)) == b":1\r\n" else b"1"
            redis.say("SETBIT", key, str(bit), flipped)
            assert await on.hear("Да.") == "Да."
            requests += 1
            assert on.requests == requests
            with trio.fail_after(5):
                while _fetches_of_this_run():  # noqa: ASYNC110 - it was deleted, and is stored anew
                    await trio.sleep(0.001)
            assert redis.say("STRLEN", key) == b":%d\r\n" % size
            assert redis.say("GETBIT", key, str(bit)) == (b":0\r\n" if flipped == b"1" else b":1\r\n")
        assert await on.hear("Да.") == "Да."
        assert on.requests == requests


@pytest.mark.parametrize(
    "url",
    ["", "phrases.db", "redis:/x", "redis://", "redis://u:secret@h:abc/0", "redis://u:secret@h:65536/0",
     "redis://u:secret@h/zero", "valkey://u:secret@h:6379/0", "http://u:secret@h:6379", "unix://", "redis://[h", None],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis://host:port/database, rediss:// .* unix://") as refusal:
        RedisCache(url)
    assert refusal.value.field == "url"
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h:6379/", "rediss://u:p@h:6379/15", "redis://[::1]:1/0", "unix:///run/redis.sock"]
)
def test_a_url_of_a_server_is_taken(url: str) -> None:
    assert "closed" in repr(RedisCache(url))


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(RedisCache("redis://user:secret@127.0.0.1:1/0"))
