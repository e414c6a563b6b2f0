"""An audio cache in memory."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from typing import Any

from tts_trio.config.protocols import BYTES, CacheStatistics

_DEFAULT_BYTES = 64 * 2**20  # a good half hour of pcm_16000, two hours and a quarter of ulaw_8000


class MemoryCache:
    """Keeps the audio that was used last, up to a number of bytes.

    One may be used by all conversations of a process, in all of its threads. Conversations of accounts whose voices
    have different stored settings want one for each account, or `voice_settings`.
    """

    def __init__(self, max_bytes: int = _DEFAULT_BYTES) -> None:
        """Make an empty cache.

        Args:
            max_bytes: Above which the entries that were unused for longest are evicted; 0 keeps none.

        Raises:
            ConfigurationError: It is no whole number of bytes.
        """
        BYTES.check("max_bytes", max_bytes)
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, bytes] = OrderedDict()  # the one used last is the last
        self._bytes = 0
        self._lock, self._process = threading.Lock(), os.getpid()

    def _locked(self) -> threading.Lock:
        """Return the lock; a new one in a fork, where the thread that held it may be missing."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
            self._bytes = sum(map(len, self._entries.values()))
        return self._lock

    def __repr__(self) -> str:
        return f"<MemoryCache, {len(self._entries)} entries, {self._bytes} of {self._max_bytes} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it without its entries: another process fills its own."""
        return MemoryCache, (self._max_bytes,)

    async def get(self, key: str) -> bytes | None:  # noqa: ASYNC910 - nothing to wait for
        """Return what was stored, or None."""
        with self._locked():
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    async def put(self, key: str, value: bytes) -> None:  # noqa: ASYNC910 - nothing to wait for
        """Store audio; what is larger than the whole cache is not kept."""
        if len(value) > self._max_bytes:
            return  # rather than push out all others first
        with self._locked():
            self._bytes += len(value) - len(self._entries.pop(key, b""))
            self._entries[key] = value
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._entries.popitem(last=False)[1])

    async def delete(self, key: str) -> None:  # noqa: ASYNC910 - nothing to wait for
        """Delete an entry, if it is there."""
        with self._locked():
            self._bytes -= len(self._entries.pop(key, b""))

    async def statistics(self) -> CacheStatistics:  # noqa: ASYNC910 - nothing to wait for
        """Tell what is in it."""
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
