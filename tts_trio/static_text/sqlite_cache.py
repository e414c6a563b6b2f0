"""An audio cache in an SQLite file, which survives restarts, for the processes of one machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from tts_trio._nurseries import of_this_run
from tts_trio.config.protocols import BYTES, CacheStatistics
from tts_trio.config.validators import Rule, unless_none

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_PATH = unless_none(
    Rule("the path of a file, as str or os.PathLike", lambda path: b"\0" not in os.fsencode(path) and Path(path).name)
)

_DEFAULT_BYTES = 2**30
_BUSY_TIMEOUT = 1.0  # seconds to wait for another process's write
_THREADS = 8  # at once, and not from trio's default limiter, which DNS lookups need
_HUNG = 2.0  # seconds, above the busy timeout: if all threads do nothing for so long, the disk hangs
_USED_AGAIN = 3600.0  # seconds after which the time of use of an entry is written again

_VERSION = 1  # of the schema; files of version 0 are migrated
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS phrases
    (key TEXT PRIMARY KEY, value BLOB NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS phrases_by_use ON phrases (used, bytes);

-- The bytes of all entries, which triggers keep: the cost of a sum would grow with the number of entries.
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL);
DELETE FROM total;
INSERT INTO total SELECT COALESCE(SUM(bytes), 0) FROM phrases;
CREATE TRIGGER IF NOT EXISTS phrase_replaced BEFORE INSERT ON phrases
    BEGIN DELETE FROM phrases WHERE key = new.key; END;
CREATE TRIGGER IF NOT EXISTS phrase_inserted AFTER INSERT ON phrases
    BEGIN UPDATE total SET bytes = bytes + new.bytes; END;
CREATE TRIGGER IF NOT EXISTS phrase_deleted AFTER DELETE ON phrases
    BEGIN UPDATE total SET bytes = bytes - old.bytes; END;
PRAGMA user_version = 1;
COMMIT;
"""
_DELETE_OLDEST = "DELETE FROM phrases WHERE rowid = (SELECT rowid FROM phrases ORDER BY used LIMIT 1)"


def default_path() -> Path:
    """Return the path of this user's cache: `tts_trio/phrases.sqlite3` below `$XDG_CACHE_HOME`, or below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tts_trio" / "phrases.sqlite3"


class SqliteCache:
    """Keeps the audio that was used last in an SQLite file, up to a number of bytes.

    Any number of processes and conversations may use one file. The cache opens the file for each use, so there is
    nothing to close, and a fork does no harm. A new file gets the mode 0600, and new directories 0700; an existing file
    keeps its mode. A file that may only be read is read.

    Attributes:
        path: The path of the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, max_bytes: int = _DEFAULT_BYTES) -> None:
        """Make a cache. Its file is made when the first value is stored.

        Args:
            path: The path of the file; None: `default_path()`.
            max_bytes: The most bytes in the cache, 0 to 2**50. Above it, the entries that were used longest ago are
                evicted. With 0 nothing is kept.

        Raises:
            ConfigurationError: A value is not allowed; the message names the argument and what is allowed.
        """
        _PATH.check("path", path)
        BYTES.check("max_bytes", max_bytes)
        self.path: Path = Path(path) if path is not None else default_path()
        self._max_bytes = max_bytes
        self._threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("tts_trio audio in a file")
        self._moved = time.monotonic()  # when one of the threads last began or ended its work

    def __repr__(self) -> str:
        return f"<SqliteCache {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path of the file, which another process may use too."""
        return SqliteCache, (self.path, self._max_bytes)

    async def get(self, key: str) -> bytes | None:
        """Return the value stored under the key, or None.

        Raises:
            OSError: The file cannot be read, or its disk hangs.
        """
        return await self._in_thread(partial(self._get, key))

    async def put(self, key: str, value: bytes) -> None:
        """Store a value under the key. A value that is larger than the whole cache is not kept.

        Raises:
            OSError: The file or its directory cannot be written, or its disk hangs.
        """
        if len(value) <= self._max_bytes:
            await self._in_thread(partial(self._put, key, value))

    async def delete(self, key: str) -> None:
        """Delete the value stored under the key, if there is one; it raises what `put` does."""
        await self._in_thread(partial(self._delete, key))

    async def statistics(self) -> CacheStatistics:
        """Return how much the cache holds; it raises what `get` does."""
        return await self._in_thread(self._statistics)

    async def clear(self) -> None:
        """Delete all entries; it raises what `put` does."""
        await self._in_thread(self._clear)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        threads = self._threads_of_this_run()
        if not threads.available_tokens and time.monotonic() - self._moved > _HUNG:
            raise OSError(f"{self.path}: its disk hangs")
        # A cancelled caller may abandon the thread: SQLite's transactions are whole or do not happen.
        return await trio.to_thread.run_sync(partial(self._work, work), abandon_on_cancel=True, limiter=threads)

    def _threads_of_this_run(self) -> trio.CapacityLimiter:
        # A limiter for each `trio.run`: a thread that outlives its run never gives its token back.
        return of_this_run(self._threads, lambda: trio.CapacityLimiter(_THREADS))

    def _work(self, work: Callable[[], T]) -> T:
        self._moved = time.monotonic()
        try:
            return work()
        finally:
            self._moved = time.monotonic()

    @contextmanager
    def _open(self, *, write: bool = True) -> Generator[sqlite3.Connection]:
        """Open the file for one transaction.

        Raises:
            OSError: The file is no database, or cannot be read or written.
        """
        import sqlite3  # loaded late: most use another cache

        try:
            with closing(self._connect() if write else self._connect_to_read()) as connection:
                if write:
                    _prepare(connection)
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error

    def _connect(self, options: str = "mode=rw") -> sqlite3.Connection:
        import sqlite3

        return sqlite3.connect(f"{self.path.absolute().as_uri()}?{options}", uri=True, timeout=_BUSY_TIMEOUT)

    def _connect_to_read(self) -> sqlite3.Connection:
        """Connect to read the file, even if SQLite cannot make the files beside it that readers need."""
        import sqlite3

        for options in ("mode=rw", "mode=ro"):
            connection = self._connect(options)
            try:
                connection.execute("SELECT 1 FROM sqlite_master")
            except sqlite3.OperationalError:
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        return self._connect("immutable=1")

    def _get(self, key: str) -> bytes | None:
        if not self.path.exists():
            return None
        with self._open(write=False) as connection:
            query = "SELECT value, used FROM phrases WHERE key = ?"
            row = connection.execute(query, (key,)).fetchone() if _has_table(connection) else None
            if row is None:
                return None
            value, used = row
            good = isinstance(value, bytes)  # SQLite stores anything in any column
            if not good or not isinstance(used, float) or time.time() - used > _USED_AGAIN:
                _note_use(connection, key, good=good)
        return value if good else None

    def _put(self, key: str, value: bytes) -> None:
        if not self.path.exists():
            _make_directory(self.path.parent)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            entry = (key, value, len(value), time.time())
            connection.execute("INSERT OR REPLACE INTO phrases VALUES (?, ?, ?, ?)", entry)
            while connection.execute("SELECT bytes > ? FROM total", (self._max_bytes,)).fetchone()[0]:
                if not connection.execute(_DELETE_OLDEST).rowcount:  # another program has changed the total
                    connection.execute("UPDATE total SET bytes = (SELECT COALESCE(SUM(bytes), 0) FROM phrases)")
                    break

    def _delete(self, key: str) -> None:
        if self.path.exists():
            with self._open() as connection:
                connection.execute("DELETE FROM phrases WHERE key = ?", (key,))

    def _statistics(self) -> CacheStatistics:
        if not self.path.exists():
            return CacheStatistics(0, 0)
        with self._open(write=False) as connection:
            if not _has_table(connection):
                return CacheStatistics(0, 0)
            query = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM phrases"
            return CacheStatistics(*connection.execute(query).fetchone())

    def _clear(self) -> None:
        if self.path.exists():
            with self._open() as connection:
                connection.execute("DELETE FROM phrases")


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, or migrate those of an earlier version."""
    connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a power cut costs entries, not the file
    if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
        _has_table(connection)
        connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for a writer
        connection.executescript(_SCHEMA)


def _has_table(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table of entries. A file that was just made does not have it yet.

    Raises:
        sqlite3.DatabaseError: The file has the tables of another program.
    """
    import sqlite3

    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and "phrases" not in tables:
        raise sqlite3.DatabaseError("it is the database of another program; give another file")
    return bool(tables)


def _note_use(connection: sqlite3.Connection, key: str, *, good: bool) -> None:
    """Write the time of use of an entry, or delete a damaged one; skip both where it would have to wait."""
    import sqlite3

    with suppress(sqlite3.OperationalError):  # another process writes, or the file is read-only
        connection.execute("PRAGMA busy_timeout = 0")
        if good:
            connection.execute("UPDATE phrases SET used = ? WHERE key = ?", (time.time(), key))
        else:
            connection.execute("DELETE FROM phrases WHERE key = ?", (key,))


def _make_directory(directory: Path) -> None:
    for missing in reversed([each for each in (directory, *directory.parents) if not each.exists()]):
        missing.mkdir(0o700, exist_ok=True)
