"""The plan's concurrency: how many utterances of one account are generated at once; those that wait for a slot queue.

Only what is being generated counts at the service, idle sockets do not (ElevenLabs' documentation). A reply holds its
slot from its first phrase until its final, a fixed phrase from its request until its answer is complete.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs
import trio

from tts_trio.errors import ConcurrencyError
from tts_trio.rules import Rule, is_async, is_instance, one_of, or_endless, seconds, takes, unless_none, whole

OnTimeout: TypeAlias = Literal["raise", "proceed"]


@runtime_checkable
class Limiter(Protocol):
    """What bounds the utterances that are generated at once: `ConcurrencyLimiter`, `RedisLimiter`, or your own."""

    def slot(self, *, background: bool = False) -> AbstractAsyncContextManager[None]:
        """Hold a slot for as long as the block runs; wait for one before it.

        Args:
            background: Nobody on the line waits for it: those for whom somebody does come first.

        Raises:
            ConcurrencyError: There was none in time.
        """
        ...

    def learn(self, size: int) -> None:
        """Take note of how many at once the service allows (`maximum-concurrent-requests`)."""
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


@attrs.define(eq=False)
class _Waiter:
    """Somebody who waits for a slot, and may have it."""

    granted: trio.Event = attrs.field(factory=trio.Event)


class ConcurrencyLimiter:
    """Bounds the utterances of all conversations that are given this object: those of one process.

    limiter = ConcurrencyLimiter()
    config = TTSConfig.from_env(limiter=limiter)  # for every conversation of the account
    """

    def __init__(self, size: int | None = None, *, timeout: float = 5.0, on_timeout: OnTimeout = "raise") -> None:
        """Make a limiter.

        Args:
            size: How many at once; None: as many as the service says that the plan allows, as soon as it says so,
                which it does in its answers to fixed phrases.
            timeout: The longest wait for a slot, in seconds; `math.inf` for as long as it takes.
            on_timeout: After it: "raise" a `ConcurrencyError`, or "proceed" without a slot, and let the service decide.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        check_limits(size, timeout, on_timeout)
        self._size = size
        self._learned: int | None = None
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._held = 0
        self._waiting: dict[bool, deque[_Waiter]] = {False: deque(), True: deque()}  # in the background or not

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<{type(self).__name__}, {self._held} of {self.size or 'unknown'} held, {waiting} waiting>"

    @property
    def size(self) -> int | None:
        """How many at once; None: not known yet, so nothing is bounded."""
        return self._size or self._learned

    @property
    def held(self) -> int:
        """How many slots are held."""
        return self._held

    def learn(self, size: int) -> None:
        """Take note of how many at once the service allows; a size that was given counts more."""
        self._learned = max(1, size)
        self._grant()

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        """Hold a slot for as long as the block runs; wait for one before it.

        Args:
            background: Nobody on the line waits for it: those for whom somebody does come first.

        Raises:
            ConcurrencyError: There was none within `timeout`.
        """
        waiter = _Waiter()
        self._waiting[background].append(waiter)
        self._grant()
        try:
            with trio.move_on_after(math.inf if background else self._timeout):
                await waiter.granted.wait()
            if not waiter.granted.is_set() and self._on_timeout == "raise":
                raise refused(self._timeout)
            yield
        finally:
            if waiter.granted.is_set():
                self._held -= 1
            else:
                self._waiting[background].remove(waiter)
            self._grant()

    def _grant(self) -> None:
        free = math.inf if self.size is None else self.size - self._held
        while free > 0 and (waiting := self._waiting[False] or self._waiting[True]):
            self._held += 1
            free -= 1
            waiting.popleft().granted.set()


def refused(timeout: float) -> ConcurrencyError:
    """Return the error of an utterance for which no slot came in time."""
    return ConcurrencyError(f"as many utterances are generated as the limiter allows, and none ended in {timeout:g} s")


def check_limits(size: int | None, timeout: float, on_timeout: str) -> None:
    """Refuse what makes no sense for a limiter.

    Raises:
        ConfigurationError: A value is not allowed.
    """
    unless_none(whole(1, 1_000_000)).check("size", size)
    or_endless(seconds(0)).check("timeout", timeout)
    one_of("raise", "proceed").check("on_timeout", on_timeout)
