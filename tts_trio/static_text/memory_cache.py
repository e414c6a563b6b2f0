"""An audio cache in memory."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from typing import Any

from tts_trio.config.protocols import BYTES, CacheStatistics

_DEFAULT_BYTES = 64 * 2**20  # 35 minutes of pcm_16000, or 2.3 hours of ulaw_8000


class MemoryCache:
    """Keeps the audio that was used last in memory, up to a number of bytes.

    All conversations of a process, in all of its threads, may use one cache. If two accounts have different stored
    settings of a voice, give each a cache of its own, or set `voice_settings`.
    """

    def __init__(self, max_bytes: int = _DEFAULT_BYTES) -> None:
        """Make an empty cache.

        Args:
            max_bytes: The most bytes in the cache, 0 to 2**50. Above it, the entries that were used longest ago are
                evicted. With 0 nothing is kept.

        Raises:
            ConfigurationError: `max_bytes` is not allowed; the message says what is.
        """
        BYTES.check("max_bytes", max_bytes)
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, bytes] = OrderedDict()  # the one used last is the last
        self._bytes = 0
        self._lock, self._process = threading.Lock(), os.getpid()

    def _locked(self) -> threading.Lock:
        """Return the lock. After a fork it is a new one, since the thread that held the old one may not exist."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
            self._bytes = sum(map(len, self._entries.values()))
        return self._lock

    def __repr__(self) -> str:
        return f"<MemoryCache, {len(self._entries)} entries, {self._bytes} of {self._max_bytes} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the cache without its entries: the other process fills its own."""
        return MemoryCache, (self._max_bytes,)

    async def get(self, key: str) -> bytes | None:  # noqa: ASYNC910 - nothing to wait for
        """Return the value stored under the key, or None."""
        return self._get(key)

    def _get(self, key: str) -> bytes | None:
        with self._locked():
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    async def put(self, key: str, value: bytes) -> None:  # noqa: ASYNC910 - nothing to wait for
        """Store a value under the key. A value that is larger than the whole cache is not kept."""
        self._put(key, value)

    def _put(self, key: str, value: bytes) -> None:
        if len(value) > self._max_bytes:
            return  # it would evict all others first
        with self._locked():
            self._bytes += len(value) - len(self._entries.pop(key, b""))
            self._entries[key] = value
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._entries.popitem(last=False)[1])

    async def delete(self, key: str) -> None:  # noqa: ASYNC910 - nothing to wait for
        """Delete the value stored under the key, if there is one."""
        with self._locked():
            self._bytes -= len(self._entries.pop(key, b""))

    async def statistics(self) -> CacheStatistics:  # noqa: ASYNC910 - nothing to wait for
        """Return how much the cache holds."""
        return CacheStatistics(len(self._entries), self._bytes)

    async def clear(self) -> None:  # noqa: ASYNC910 - nothing to wait for
        """Delete all entries."""
        with self._locked():
            self._entries.clear()
            self._bytes = 0


@functools.cache
def process_cache() -> MemoryCache:
    """Return the cache of this process, which all conversations with `audio_cache="memory"` share."""
    return MemoryCache()


def get_nowait(cache: MemoryCache, key: str) -> bytes | None:
    """Return the value stored under the key, or None, in the same turn of the loop."""
    return cache._get(key)  # pyright: ignore[reportPrivateUsage] - users call `get`


def put_nowait(cache: MemoryCache, key: str, value: bytes) -> None:
    """Store a value under the key, in the same turn of the loop."""
    cache._put(key, value)  # pyright: ignore[reportPrivateUsage] - users call `put`
