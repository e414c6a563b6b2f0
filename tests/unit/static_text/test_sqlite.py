"""The cache in a file: for its owner only, read where it cannot be written, as quick with many phrases as with few."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from tts_trio import CacheStatistics, SqliteCache
from tts_trio.static_text import sqlite_cache as sqlite

_OLD_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS phrases
    (key TEXT PRIMARY KEY, value BLOB NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS phrases_by_use ON phrases (used, bytes);
"""
_OLD_EVICTION = (
    "DELETE FROM phrases WHERE rowid IN (SELECT rowid FROM "
    "(SELECT rowid, SUM(bytes) OVER (ORDER BY used DESC, rowid DESC) AS kept FROM phrases) WHERE kept > ?)"
)


@pytest.fixture
def somebody() -> Generator[Path]:
    """A directory that this process may not write, nor what is in it: not as root, who may write everything."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "phrases"
        directory.mkdir()
        Path(name).chmod(0o755)
        yield directory
        directory.chmod(0o700)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_what_it_makes_is_for_its_owner_only(tmp_path: Path) -> None:
    """Whoever can read a cache can hear what was said."""
    before = os.umask(0o022)
    try:
        cache = SqliteCache(tmp_path / "a" / "b" / "phrases.sqlite3")
        await cache.put("a", b"x")
        with cache._open() as connection:  # the files beside it are there as long as it is open
            connection.execute("INSERT OR REPLACE INTO phrases VALUES ('b', x'00', 1, 1.0)")
            made = {path.name: mode(path) for path in (tmp_path / "a" / "b").iterdir()}
    finally:
        os.umask(before)
    assert made == {"phrases.sqlite3": 0o600, "phrases.sqlite3-wal": 0o600, "phrases.sqlite3-shm": 0o600}
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


async def test_the_rights_that_a_file_was_given_are_left(tmp_path: Path) -> None:
    path = tmp_path / "phrases.sqlite3"
    path.touch()
    path.chmod(0o660)
    await SqliteCache(path).put("a", b"x")
    assert mode(path) == 0o660


def forbid_writing(path: Path, what: str) -> None:
    """Make a file, or its directory, or both, into what this process may read only."""
    path.chmod(0o644 if what == "directory" else 0o444)
    path.parent.chmod(0o777 if what == "file" else 0o555)
    if os.geteuid() == 0:
        if what == "directory":
            os.chown(path, 65534, 65534)
        os.seteuid(65534)


@pytest.mark.parametrize("what", ["file", "directory", "both"])
async def test_a_file_that_may_only_be_read_is_read(somebody: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_USED_AGAIN", -1.0)  # each use would be noted
    path = somebody / "phrases.sqlite3"
    cache = SqliteCache(path)
    await cache.put("a", b"x" * 300)
    user = os.geteuid()
    forbid_writing(path, what)
    try:
        assert await cache.get("a") == b"x" * 300
        assert await cache.get("b") is None
        assert await cache.statistics() == CacheStatistics(1, 300)
        if what != "directory":
            with pytest.raises(OSError, match=r"readonly|unable to open"):
                await cache.put("b", b"x")
    finally:
        os.seteuid(user)


def old_file(path: Path, phrases: int = 8) -> None:
    """Make a file of the version that had no total."""
    with sqlite3.connect(path) as connection:
        connection.executescript(_OLD_SCHEMA)
        rows = ((f"{number}", bytes(100), 100, float(number)) for number in range(phrases))
        connection.executemany("INSERT INTO phrases VALUES (?, ?, ?, ?)", rows)
    connection.close()


async def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "phrases.sqlite3"
    old_file(path)
    cache = SqliteCache(path, max_bytes=800)
    assert await cache.get("7") == bytes(100)
    assert await cache.statistics() == CacheStatistics(8, 800)
    await cache.put("new", bytes(250))
    assert [key for key in ("0", "1", "2", "3", "7", "new") if await cache.get(key)] == ["3", "7", "new"]
    assert await cache.statistics() == CacheStatistics(6, 750)


async def test_a_process_of_an_earlier_version_may_use_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "phrases.sqlite3"
    cache = SqliteCache(path, max_bytes=1000)
    await cache.put("a", bytes(100))
    with sqlite3.connect(path) as connection:
        connection.executescript(_OLD_SCHEMA)
        for size in (100, 200, 300):
            connection.execute("INSERT OR REPLACE INTO phrases VALUES ('b', ?, ?, 9e9)", (bytes(size), size))
        connection.execute("INSERT OR REPLACE INTO phrases VALUES ('c', ?, 300, 9.1e9)", (bytes(300),))
        connection.execute(_OLD_EVICTION, (350,))
    connection.close()
    with cache._open() as connection:
        assert connection.execute("SELECT bytes FROM total").fetchone() == (300,)
    assert await cache.statistics() == CacheStatistics(1, 300)


async def test_a_total_that_is_wrong_is_counted_anew(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "phrases.sqlite3", max_bytes=1000)
    await cache.put("a", bytes(100))
    with cache._open() as connection:
        connection.execute("UPDATE total SET bytes = 10000")
    await cache.put("b", bytes(100))
    await cache.put("c", bytes(100))
    await cache.put("d", bytes(100))
    assert await cache.statistics() == CacheStatistics(2, 200)


async def test_a_phrase_costs_as_much_beside_many_as_beside_few(tmp_path: Path) -> None:
    """Counted in steps of SQLite's: 20,000 phrases against 200, with one evicted by each put."""
    steps: list[int] = []

    class Counting(SqliteCache):
        def _connect(self, options: str = "mode=rw") -> sqlite3.Connection:
            connection = super()._connect(options)
            connection.set_progress_handler(self.step, 1)
            return connection

        def step(self) -> None:
            steps[-1] += 1

    for phrases in (200, 20_000):
        path = tmp_path / f"{phrases}.sqlite3"
        old_file(path, phrases)
        await SqliteCache(path, max_bytes=100 * phrases).put("migrated", bytes(100))
        steps.append(0)
        await Counting(path, max_bytes=100 * phrases).put("new", bytes(100))
    few, many = steps
    assert 20 < few < 1000
    assert many < 1.2 * few


async def test_the_database_of_another_program_is_none(tmp_path: Path) -> None:
    """A wrong path is told, and nothing is written there."""
    path = tmp_path / "theirs.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    cache = SqliteCache(path)
    for use in (cache.get("a"), cache.put("a", b"x"), cache.statistics(), cache.clear()):
        with pytest.raises(OSError, match="another program"):
            await use


def test_one_object_in_many_loops(tmp_path: Path) -> None:
    """In threads with a loop each, one after the other and at once."""
    cache = SqliteCache(tmp_path / "phrases.sqlite3")
    failed: list[BaseException] = []

    async def use(name: str) -> None:
        for number in range(10):
            await cache.put(f"{name} {number}", b"x")
            assert await cache.get(f"{name} {number}") == b"x"

    def run(name: str) -> None:
        try:
            trio.run(use, name)
        except BaseException as error:  # noqa: BLE001 - the test tells it
            failed.append(error)

    threads = [threading.Thread(target=run, args=[f"{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert trio.run(cache.statistics) == CacheStatistics(40, 40)
