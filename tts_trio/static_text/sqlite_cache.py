"""An audio cache in a file, for the processes of one machine; it survives restarts."""

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
_THREADS = 8  # at once: own ones, for those of trio's default limiter are what names are looked up in
_HUNG = 2.0  # seconds in which none of them began or ended anything, above the busy timeout
_USED_AGAIN = 3600.0  # seconds, after which a use is worth a write

_VERSION = 1  # of the schema; the files of the version before that have 0, and are migrated
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS phrases
    (key TEXT PRIMARY KEY, value BLOB NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS phrases_by_use ON phrases (used, bytes);

-- What all entries take, kept by triggers: a sum over all of them would make each entry cost more than the one before.
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
    """Return the path of this user's file: `$XDG_CACHE_HOME/tts_trio/phrases.sqlite3`, or below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tts_trio" / "phrases.sqlite3"


class SqliteCache:
    """Keeps the audio that was used last in an SQLite file, up to a number of bytes.

    Any number of processes and conversations may use one file. Nothing is kept open between two uses, so there is
    nothing to close, and a fork does no harm. What is made is for its owner only: the file (0600), and directories
    (0700); other rights that it has got are left as they are. A file that may be read and not written is read.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, max_bytes: int = _DEFAULT_BYTES) -> None:
        """Name the file; it is made when something is stored first.

        Args:
            path: Of the file; None for `default_path()`.
            max_bytes: Above which the entries that were unused for longest are evicted; 0 keeps none.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        _PATH.check("path", path)
        BYTES.check("max_bytes", max_bytes)
        self.path: Path = Path(path) if path is not None else default_path()
        self._max_bytes = max_bytes
        self._threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("tts_trio audio in a file")
        self._moved = time.monotonic()  # when one of the threads last began or ended something

    def __repr__(self) -> str:
        return f"<SqliteCache {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file: another process may use it too."""
        return SqliteCache, (self.path, self._max_bytes)

    async def get(self, key: str) -> bytes | None:
        """Return what was stored, or None.

        Raises:
            OSError: The file cannot be read, or its disk hangs.
        """
        return await self._in_thread(partial(self._get, key))

    async def put(self, key: str, value: bytes) -> None:
        """Store audio; what is larger than the whole cache is not kept.

        Raises:
            OSError: The file, or its directory, cannot be written, or its disk hangs.
        """
        if len(value) <= self._max_bytes:
            await self._in_thread(partial(self._put, key, value))

    async def delete(self, key: str) -> None:
        """Delete an entry, if it is there; raises as `put` does."""
        await self._in_thread(partial(self._delete, key))

    async def statistics(self) -> CacheStatistics:
        """Tell what is in it."""
        return await self._in_thread(self._statistics)

    async def clear(self) -> None:
        """Delete all entries."""
        await self._in_thread(self._clear)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        threads = self._threads_of_this_run()
        if not threads.available_tokens and time.monotonic() - self._moved > _HUNG:
            raise OSError(f"{self.path}: its disk hangs")
        # SQLite leaves nothing half done, so a thread that nobody waits for any more may finish by itself.
        return await trio.to_thread.run_sync(partial(self._work, work), abandon_on_cancel=True, limiter=threads)

    def _threads_of_this_run(self) -> trio.CapacityLimiter:
        # Of this run only: the place of a thread that outlives it is never given back.
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
            OSError: It is no database, or cannot be read or written.
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
        """Connect, without the files beside it that SQLite writes for readers too, where they cannot be made."""
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
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))  # SQLite's own files beside it are as it is
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            entry = (key, value, len(value), time.time())
            connection.execute("INSERT OR REPLACE INTO phrases VALUES (?, ?, ?, ?)", entry)
            while connection.execute("SELECT bytes > ? FROM total", (self._max_bytes,)).fetchone()[0]:
                if not connection.execute(_DELETE_OLDEST).rowcount:  # somebody else's program has miscounted
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
    """Make the tables, or migrate those of an earlier version, where it was not done yet."""
    connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a power cut costs entries, not the file
    if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
        _has_table(connection)
        connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for a writer
        connection.executescript(_SCHEMA)


def _has_table(connection: sqlite3.Connection) -> bool:
    """Whether the table is there; in a file that was made a moment ago it is not yet.

    Raises:
        sqlite3.DatabaseError: There are others only.
    """
    import sqlite3

    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and "phrases" not in tables:
        raise sqlite3.DatabaseError("it is a database of another program")
    return bool(tables)


def _note_use(connection: sqlite3.Connection, key: str, *, good: bool) -> None:
    """Note that an entry was used, or delete one that is damaged; not where that would have to wait."""
    import sqlite3

    with suppress(sqlite3.OperationalError):  # another process writes, or the file may be read only
        connection.execute("PRAGMA busy_timeout = 0")
        if good:
            connection.execute("UPDATE phrases SET used = ? WHERE key = ?", (time.time(), key))
        else:
            connection.execute("DELETE FROM phrases WHERE key = ?", (key,))


def _make_directory(directory: Path) -> None:
    for missing in reversed([each for each in (directory, *directory.parents) if not each.exists()]):
        missing.mkdir(0o700, exist_ok=True)
