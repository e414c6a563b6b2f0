"""What a phrase cache is: two async methods, and two more where processes share it."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from tts_trio.config.validators import Rule, is_async, is_instance, takes, whole

BYTES = whole(0, 2**50)
"""What a cache's `max_bytes` may be."""


@attrs.frozen
class CacheStatistics:
    """What is in a cache.

    Attributes:
        phrases: How many phrases.
        bytes: How many bytes they take, without the overhead of whatever holds them.
    """

    phrases: int
    bytes: int


class PhraseCache(Protocol):
    """Keeps phrases: opaque bytes by opaque keys of 64 hexadecimal digits.

    What is stored carries its key and a checksum, so a cache that gives the wrong bytes, or cut or altered ones, does
    no harm. Neither does one that raises any exception, or takes its time: the phrase is fetched then. Where it has an
    `async def delete(key)` too, what it gave wrongly is deleted. Whoever can read a cache can hear what was said; no
    API key is in it, so accounts that share one share their phrases.
    """

    async def get(self, key: str) -> bytes | None:
        """Return what was stored, or None. It may be cancelled, after `phrase_cache_timeout` seconds or any time."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Store a phrase, in place of what was stored under the key; never a part of it."""
        ...


class DeletingPhraseCache(PhraseCache, Protocol):
    """A cache that can forget a phrase."""

    async def delete(self, key: str) -> None:
        """Forget a phrase, if it is there."""
        ...


class SharedPhraseCache(PhraseCache, Protocol):
    """A cache by which processes agree on who asks the service for a phrase that none of them has."""

    async def claim(self, key: str, seconds: float) -> bool:
        """Claim a phrase for a short while, or claim it for longer; False: another process has claimed it.

        Who has claimed it claims it again and again until it is stored, so that it is free soon when he dies.
        """
        ...

    async def release(self, key: str) -> None:
        """Take back a claim of this process."""
        ...


def _keeps_phrases(value: Any) -> bool:
    """Whether it has what a `PhraseCache` has, all of it async; and what a `SharedPhraseCache` has, if it is one."""
    uses = {"get": ("key",), "put": ("key", b"")}
    if is_instance(value, SharedPhraseCache):
        uses |= {"claim": ("key", 1.0), "release": ("key",)}
    methods = {name: getattr(value, name) for name in uses}
    return is_instance(value, PhraseCache) and all(
        is_async(method) and takes(method, *uses[name]) for name, method in methods.items()
    )


CACHE = Rule("a PhraseCache: an object, not its class, with async def get(key) and put(key, value)", _keeps_phrases)
"""What `phrase_cache` may be."""
