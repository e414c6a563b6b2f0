"""The caches in memory and in a file: what was used last stays, restarts and other processes are survived."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
import trio

from tests.helpers import RUSSIAN, heard, listen, make_config
from tts_trio import CacheStatistics, MemoryCache, SqliteCache, Timeouts, open_tts
from tts_trio.local_server import Behavior, ToneVoice, open_local_server
from tts_trio.static_text import sqlite_cache as sqlite

Store = MemoryCache | SqliteCache


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> type[Store]:
    def make(max_bytes: int) -> Store:
        if request.param == "memory":
            return MemoryCache(max_bytes)
        return SqliteCache(tmp_path / "some" / "phrases.sqlite3", max_bytes)

    return make  # type: ignore[return-value]


async def test_what_was_put_is_got(make_store: type[Store]) -> None:
    store = make_store(1000)
    assert await store.get("a") is None
    assert await store.statistics() == CacheStatistics(0, 0)
    await store.put("a", b"x" * 300)
    await store.put("b", bytes(range(256)))
    await store.put("a", b"y" * 100)
    assert await store.get("a") == b"y" * 100
    assert await store.get("b") == bytes(range(256))
    assert await store.statistics() == CacheStatistics(2, 356)
    await store.clear()
    assert await store.get("a") is None
    assert await store.statistics() == CacheStatistics(0, 0)


async def test_what_was_used_last_stays(make_store: type[Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_USED_AGAIN", -1.0)
    store = make_store(1000)
    for key in "abcd":
        await store.put(key, bytes(250))
    assert await store.get("a") is not None
    await store.put("e", bytes(400))
    assert [key for key in "abcde" if await store.get(key) is not None] == ["a", "d", "e"]
    assert (await store.statistics()).bytes == 900
    await store.put("f", bytes(1001))
    assert [key for key in "adef" if await store.get(key) is not None] == ["a", "d", "e"]


def test_the_default_file_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert SqliteCache().path == tmp_path / "tts_trio" / "phrases.sqlite3"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert SqliteCache().path == Path("/home/somebody/.cache/tts_trio/phrases.sqlite3")


async def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await SqliteCache(tmp_path / "file" / "phrases").put("a", b"")
    directory = tmp_path / "directory"
    directory.mkdir()
    with pytest.raises(OSError, match="directory"):
        await SqliteCache(directory).put("a", b"")


class Hanging(SqliteCache):
    """A file on a disk that hangs until it is released."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.released = threading.Event()

    def _get(self, key: str) -> bytes | None:
        self.released.wait()
        return super()._get(key)


async def test_a_disk_that_hangs_takes_few_threads_and_none_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_HUNG", 0.05)
    cache = Hanging(tmp_path / "phrases.sqlite3")
    before = threading.active_count()

    async def give_up_soon(key: str) -> None:
        with trio.move_on_after(0.01):
            await cache.get(key)

    async with trio.open_nursery() as nursery:  # so many at once are no sign of a disk that hangs
        for number in range(60):
            nursery.start_soon(give_up_soon, f"{number}")
    assert threading.active_count() <= before + 8
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    await trio.sleep(0.06)
    with pytest.raises(OSError, match="disk hangs"):
        await cache.get("a")
    cache.released.set()
    with trio.fail_after(5):
        while True:  # until the first of its threads is back
            with contextlib.suppress(OSError):
                await cache.put("a", b"x")
                break
            await trio.sleep(0.005)
    assert await cache.get("a") == b"x"


async def test_a_hit_needs_no_network(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "phrases.sqlite3")
    async with open_local_server(Behavior(model_latency=0.01, speed=500.0), voice=ToneVoice()) as server:
        config = make_config(base_url=server.base_url, audio_cache=cache, timeouts=Timeouts(cache=5.0))
        async with open_tts(config) as tts, tts.stream_static_text(RUSSIAN) as audio:
            await listen(audio)
            with trio.fail_after(5):
                while (await cache.statistics()).entries == 0:  # noqa: ASYNC110 - a cache tells nobody
                    await trio.sleep(0.005)
    async with open_tts(config) as tts, tts.stream_static_text(RUSSIAN) as audio:  # nobody listens there now
        assert heard(await listen(audio), config) == RUSSIAN
