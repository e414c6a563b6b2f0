"""What a user may bring: a cache, a limiter, what cuts a reply into phrases; and what is refused in its place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

import attrs

from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.validators import Rule, is_async, is_instance, takes, whole

BYTES = whole(0, 2**50)
"""What a cache's `max_bytes` may be."""


@attrs.frozen
class CacheStatistics:
    """What is in a cache.

    Attributes:
        entries: How many texts' audio is kept.
        bytes: How many bytes it takes, without the overhead of whatever holds it.
    """

    entries: int
    bytes: int


class AudioCache(Protocol):
    """Keeps the audio of static texts: opaque bytes by opaque keys of 64 hexadecimal digits.

    Each value carries its key and a checksum, so a cache that returns wrong, cut or altered bytes does no harm. Neither
    does one that raises an exception, or is slow: the service is asked then. If it has an `async def delete(key)`,
    a wrong value is deleted. Whoever can read a cache can hear what was said. It holds no API key, so accounts that
    share a cache share their audio.
    """

    async def get(self, key: str) -> bytes | None:
        """Return what was stored, or None. It may be cancelled, after `timeouts.cache` seconds or any time."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Store a value whole, in place of what was stored under the key."""
        ...


class DeletingAudioCache(AudioCache, Protocol):
    """A cache that can delete an entry."""

    async def delete(self, key: str) -> None:
        """Delete an entry, if it is there."""
        ...


class SharedAudioCache(AudioCache, Protocol):
    """A cache by which processes agree on which of them asks the service for audio that none of them has."""

    async def claim(self, key: str, seconds: float) -> bool:
        """Claim a key for so many seconds, or extend this process's claim; False: another process has claimed it.

        The process extends its claim until the audio is stored, so the claim of one that dies lapses soon.
        """
        ...

    async def release(self, key: str) -> None:
        """Release this process's claim."""
        ...


def _is_cache(value: Any) -> bool:
    """Whether it has what a `AudioCache` has, all of it async; and what a `SharedAudioCache` has, if it is one."""
    uses = {"get": ("key",), "put": ("key", b"")}
    if is_instance(value, SharedAudioCache):
        uses |= {"claim": ("key", 1.0), "release": ("key",)}
    methods = {name: getattr(value, name) for name in uses}
    return is_instance(value, AudioCache) and all(
        is_async(method) and takes(method, *uses[name]) for name, method in methods.items()
    )


CACHE = Rule(
    '"memory", or a AudioCache: an object, not its class, with async def get(key) and put(key, value)',
    lambda value: (type(value) is str and value == "memory") or _is_cache(value),
)
"""What `audio_cache` may be."""


@attrs.define(eq=False)
class Lease:
    """A slot that lapses when it is not renewed in time: its process stood still, and others may have it.

    Attributes:
        until: When it lapses, in seconds of trio's clock.
    """

    until: float


class Limiter(Protocol):
    """What bounds the utterances that are generated at once: `ConcurrencyLimiter`, `RedisLimiter`, or your own."""

    def slot(self, *, background: bool = False) -> AbstractAsyncContextManager[Lease | None]:
        """Hold a slot for as long as the block runs; wait for one before it.

        Args:
            background: Nobody on the line waits for it: those for whom somebody does come first.

        Returns:
            An async context manager; it gives a `Lease` where the slot may be lost inside of the block, else None.

        Raises:
            ConcurrencyError: There was none in time.
        """
        ...

    def learn(self, size: int) -> None:
        """Take note of how many at once the service allows: it says so in its answers, and when it refuses."""
        ...


def _limits(value: Any) -> bool:
    """Whether it has what a `Limiter` has, and `slot` is no coroutine and no `contextmanager` without async."""
    if not is_instance(value, Limiter) or is_async(value.slot) or is_async(value.learn):
        return False
    synchronous = inspect.isgeneratorfunction(inspect.unwrap(value.slot))
    return not synchronous and takes(value.slot, background=True) and takes(value.learn, 1)


LIMITER = Rule(
    "a Limiter: an object, not its class, whose slot(background=...) gives an async context manager, and learn(size)",
    _limits,
)
"""What `limiter` may be."""


class Phrases(Protocol):
    """What turns the tokens of one reply into phrases; `Phraser`, or anything with the same methods.

    Times are seconds on one monotonic clock. Every phrase ends in exactly one blank.
    """

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can leave.

        Args:
            token: The text.
            now: The time.
            lead: Seconds of speech ahead of the listener: audio not yet played, and audio still to come for the phrases
                returned before.
        """
        ...

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before."""
        ...

    def expire(self, now: float) -> list[str]:
        """Return what leaves because the stream has stalled."""
        ...

    def close(self) -> list[str]:
        """Return all that is left: the reply is complete."""
        ...

    @property
    def pending(self) -> str:
        """The text accepted and not yet given out."""
        ...


PhrasesFactory: TypeAlias = Callable[[], Phrases]
"""What can stand in the place of a `PhrasePolicy`: called once for each reply."""


def _makes_phrases(value: Any) -> bool:
    if isinstance(value, PhrasePolicy):
        return True
    if isinstance(value, type):
        delegates = hasattr(value, "__getattr__")  # what it has is seen when it is called, as with a function
        good = delegates or all(callable(getattr(value, name, None)) for name in _METHODS)
    else:  # what a function returns is seen when it is called
        good = getattr(value, "__self__", None) is not PhrasePolicy and not is_async(value)
    return good and takes(value)


_METHODS = ("feed", "deadline", "expire", "close")

POLICY = Rule(
    "a PhrasePolicy, such as PhrasePolicy.eager(), or a callable without arguments that returns Phrases", _makes_phrases
)
"""What `phrase_policy` may be."""
