"""The protocols of what a user may bring (a cache, a limiter, a phraser), and the rules that check it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

import attrs

from tts_trio.config.formats import OUTPUT_FORMATS, AudioFormat
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.validators import Rule, is_async, is_instance, takes, whole

BYTES = whole(0, 2**50)
"""The rule for a cache's `max_bytes`."""


@attrs.frozen
class CacheStatistics:
    """How much a cache holds.

    Attributes:
        entries: The number of cached texts.
        bytes: The bytes of their audio and times, without the overhead of the store.
    """

    entries: int
    bytes: int


class AudioCache(Protocol):
    """A store for the audio of static texts, and of openings: opaque bytes under opaque keys of 64 hexadecimal digits.

    A value contains its key and a checksum, so a cache that returns wrong, cut or altered bytes does no harm. A cache
    that raises an exception, or is slow, does none either: the library requests the audio from the service instead. If
    the cache has an `async def delete(key)`, the library deletes a damaged value with it. Whoever can read the cache
    can hear what was said. A key does not contain the API key, so accounts that share a cache share their audio.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value stored under the key, or None.

        The call may be cancelled at any time, and is cancelled after `timeouts.cache` seconds.
        """
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Store a value under the key, in place of an earlier one. A reader must never get a part of it."""
        ...


class DeletingAudioCache(AudioCache, Protocol):
    """A cache that can delete an entry."""

    async def delete(self, key: str) -> None:
        """Delete the value stored under the key, if there is one."""
        ...


class SharedAudioCache(AudioCache, Protocol):
    """A cache that several processes share, and by whose claims only one of them requests a missing text."""

    async def claim(self, key: str, seconds: float) -> bool:
        """Claim a key for so many seconds, or extend this process's claim of it.

        The process that has the claim requests the audio, and extends the claim until the audio is stored. So the
        claim of a process that dies expires soon.

        Returns:
            False where another process has claimed the key.
        """
        ...

    async def release(self, key: str) -> None:
        """Give up this process's claim of the key."""
        ...


def _is_cache(value: Any) -> bool:
    """Whether a value has the async methods of an `AudioCache`; of a `SharedAudioCache`, if it has their names."""
    uses = {"get": ("key",), "put": ("key", b"")}
    if is_instance(value, SharedAudioCache):
        uses |= {"claim": ("key", 1.0), "release": ("key",)}
    methods = {name: getattr(value, name) for name in uses}
    return is_instance(value, AudioCache) and all(
        is_async(method) and takes(method, *uses[name]) for name, method in methods.items()
    )


CACHE = Rule(
    '"memory", or an AudioCache: an object, not its class, with async def get(key) and async def put(key, value)',
    lambda value: (type(value) is str and value == "memory") or _is_cache(value),
)
"""The rule for `audio_cache` and `opening_cache`."""


@attrs.define(eq=False)
class Lease:
    """The time for which a slot is held. A limiter that cannot renew it in time, as in a process that hangs, loses it.

    Attributes:
        until: When the slot expires unless it is renewed, in seconds of trio's clock.
    """

    until: float


class Limiter(Protocol):
    """Bounds how many utterances are generated at once: `ConcurrencyLimiter`, `RedisLimiter`, or your own."""

    def slot(self, *, background: bool = False) -> AbstractAsyncContextManager[Lease | None]:
        """Return a block that waits for a slot on entry, and holds it until its end.

        Args:
            background: No caller waits for this audio (a prefetch), so those for whom one does get a slot first.

        Returns:
            An async context manager. It gives a `Lease` if the slot can be lost inside of the block, else None.

        Raises:
            ConcurrencyError: No slot became free in time. The entry of the block raises it.
        """
        ...

    def learn(self, size: int) -> None:
        """Take the plan's concurrency, which the service tells in the headers of its answers and in its refusals."""
        ...


def _limits(value: Any) -> bool:
    """Whether a value has the methods of a `Limiter`, and `slot` is neither an `async def` nor a sync generator."""
    if not is_instance(value, Limiter) or is_async(value.slot) or is_async(value.learn):
        return False
    synchronous = inspect.isgeneratorfunction(inspect.unwrap(value.slot))
    return not synchronous and takes(value.slot, background=True) and takes(value.learn, 1)


LIMITER = Rule(
    "a Limiter: an object, not its class, whose slot(background=...) gives an async context manager, and learn(size)",
    _limits,
)
"""The rule for `limiter`."""


class Phrases(Protocol):
    """Turns the tokens of one reply into phrases: `Phraser`, or an object of yours with the same methods.

    Times are seconds on one monotonic clock. Every phrase ends in exactly one blank.
    """

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can be sent.

        Args:
            token: The text.
            now: The time, in seconds.
            lead: Seconds of speech ahead of the listener: audio that was not played yet, and audio that the service
                still owes for the phrases returned before.
        """
        ...

    def deadline(self) -> float | None:
        """Return the time at which to call `expire` if nothing is fed before; None for never."""
        ...

    def expire(self, now: float) -> list[str]:
        """Return the phrases that are sent because the stream of tokens has stalled."""
        ...

    def close(self) -> list[str]:
        """Return the phrases of the remaining text. No more text will be fed."""
        ...

    @property
    def pending(self) -> str:
        """The text that was fed and not yet returned in a phrase."""
        ...


PhrasesFactory: TypeAlias = Callable[[], Phrases]
"""A callable that `phrase_policy` takes in place of a `PhrasePolicy`. It is called once for each reply."""


def _makes_phrases(value: Any) -> bool:
    """Whether a value is a `PhrasePolicy` or may be a `PhrasesFactory`. `phrases_for` checks what it returns."""
    if isinstance(value, PhrasePolicy):
        return True
    if isinstance(value, type):
        delegates = hasattr(value, "__getattr__")  # only its instances show which methods they have
        good = delegates or all(callable(getattr(value, name, None)) for name in _METHODS)
    else:
        good = getattr(value, "__self__", None) is not PhrasePolicy and not is_async(value)
    return good and takes(value)


_METHODS = ("feed", "deadline", "expire", "close")

POLICY = Rule(
    "a PhrasePolicy, such as PhrasePolicy.eager(), or a callable without arguments that returns Phrases", _makes_phrases
)
"""The rule for `phrase_policy`."""


class Transform(Protocol):
    """Changes the text of one reply on its way to the service, and says which of the text each change stands for.

    Each method returns pairs, in order: a text to speak, and how many characters it stands for of the text that was fed
    and not answered for before. ("", 2) leaves two characters out, and ("Hello", 5) gives them on as they are. What may
    yet become something else is held until more is fed; hold no more than some hundred characters.
    """

    def feed(self, text: str) -> Iterable[tuple[str, int]]:
        """Take a piece of text of any size, and answer for what is certain."""
        ...

    def pause(self) -> Iterable[tuple[str, int]]:
        """Answer for what is held, because no text has come for a while. More may come."""
        ...

    def close(self) -> Iterable[tuple[str, int]]:
        """Answer for all that is left. No more text will be fed."""
        ...


TransformFactory: TypeAlias = Callable[[], Transform]
"""A callable that makes a transform. It is called once for each reply."""


def makes_transform(value: object) -> bool:
    """Whether a value may be a `TransformFactory`."""
    if isinstance(value, type):
        return all(callable(getattr(value, name, None)) for name in ("feed", "pause", "close")) and takes(value)
    return callable(value) and not is_async(value) and takes(value)


class SecondSource(Protocol):
    """Another voice for the rest of a reply, when the service fails: an async generator function of yours."""

    def __call__(self, text: str, format: AudioFormat, /) -> AsyncIterator[bytes]:  # noqa: A002 - what users call it
        """Give the audio of a text.

        Args:
            text: A phrase, or the rest of one, from its first word that was not heard.
            format: The format in which the audio is to be.

        Returns:
            An async iterator over the audio, in pieces of any size. A generator is closed when the reply ends.
        """
        ...


def _speaks(value: Any) -> bool:
    if value == "http":
        return True
    return not isinstance(value, type) and not is_async(value) and takes(value, "text", OUTPUT_FORMATS["pcm_16000"])


FALLBACK = Rule('"http", or an async generator function, such as `async def other(text, format): yield audio`', _speaks)
"""The rule for `fallback`."""

ON_UTTERANCE = Rule(
    "a function that takes an UtteranceRecord, such as UtteranceRecord.log, and no async def",
    lambda value: not is_async(value) and takes(value, None),
)
"""The rule for `on_utterance`."""
