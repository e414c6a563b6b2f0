"""The plan's concurrency: how many utterances of one account are generated at once; those that wait for a slot queue.

Only what is being generated counts at the service, idle sockets do not (ElevenLabs' documentation). A reply holds its
slot from its first phrase until its final, a static text from its request until its answer is complete. Where the
service refuses all the same, the utterance gives its slot back, and waits for another within its own timeouts.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import trio

from tts_trio._nurseries import asynccontextmanager, current_run
from tts_trio.config.protocols import Lease, Limiter
from tts_trio.config.validators import (
    one_of,
    or_endless,
    seconds,
    unless_none,
    whole,
)
from tts_trio.errors import ConcurrencyError, ConfigurationError

OnTimeout: TypeAlias = Literal["raise", "proceed"]

_ALLOWED = re.compile(r"maximum of (\d{1,6}) concurrent")  # in a refusal (wire/README.md, 4.1)


def has_lapsed(slot: object) -> bool:
    """Tell whether a slot that a limiter gave is held no longer, so that nothing may be sent by it."""
    return isinstance(slot, Lease) and slot.until <= trio.current_time()


def learn_from(error: ConcurrencyError, limiter: Limiter) -> None:
    """Take note of how many at once the plan allows, if the service's refusal says so."""
    if found := _ALLOWED.search(error.message):
        limiter.learn(int(found[1]))


class _Waiter:
    """A task that waits for a slot, in any thread, until the slot is granted."""

    def __init__(self) -> None:
        self.granted = False
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def wake(self) -> None:
        """Wake the task: its slot is granted. Any thread may call this."""
        if current_run() is self._token:
            self._event.set()
        else:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class ConcurrencyLimiter:
    """Bounds the utterances of all conversations that are given this object: those of one process.

    limiter = ConcurrencyLimiter()
    config = TTSConfig.from_env(limiter=limiter)  # for every conversation of the account

    It may be shared by threads that run a `trio.run` each. After a fork the child begins with no slot taken.
    """

    def __init__(self, size: int | None = None, *, timeout: float = 5.0, on_timeout: OnTimeout = "raise") -> None:
        """Make a limiter.

        Args:
            size: How many utterances at once; None: as many as the plan allows, as soon as the service says so,
                which it does in its answers to static texts, and when it refuses an utterance too many.
            timeout: The longest wait for a slot, in seconds; `math.inf` for as long as it takes.
            on_timeout: What is done after the timeout: "raise" a `ConcurrencyError`, or "proceed" without a slot, so
                that the service decides.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        check_limits(size, timeout, on_timeout)
        self._size = size
        self._learned: int | None = None
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._holding: set[_Waiter] = set()
        self._waiting: dict[bool, deque[_Waiter]] = {False: deque(), True: deque()}  # in the background or not

    def _locked(self) -> threading.Lock:
        """Return the lock; in a fork everything is new: what is held is held by the other process."""
        if self._process != os.getpid():
            self._begin()
        return self._lock

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<{type(self).__name__}, {self.held} of {self.size or 'unknown'} held, {waiting} waiting>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled, since each process would have all slots of the plan.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "limiter: a ConcurrencyLimiter bounds one process, so it cannot be pickled; pickle evolve(limiter=None), "
            "and make one there, or a RedisLimiter for all",
            field="limiter",
        )

    @property
    def size(self) -> int | None:
        """How many at once; None: not known yet, so nothing is bounded."""
        return self._size or self._learned

    @property
    def held(self) -> int:
        """How many slots are held."""
        return len(self._holding)

    def learn(self, size: int) -> None:
        """Take note of how many at once the service allows; a size that was given counts more."""
        self._learned = max(1, size)
        self._grant()

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        """Hold a slot for as long as the block runs; wait for one before it.

        Args:
            background: Whether nobody on the line waits for it: utterances that somebody waits for come first.

        Raises:
            ConcurrencyError: There was none within `timeout`.
        """
        waiter = _Waiter()
        with self._locked():
            self._waiting[background].append(waiter)
        self._grant()
        try:
            with trio.move_on_after(math.inf if background else self._timeout):
                await waiter.wait()
            if not waiter.granted and self._on_timeout == "raise":
                raise refused(self._timeout)
            yield
        finally:
            with self._locked():
                self._holding.discard(waiter)
                if not waiter.granted:
                    self._waiting[background].remove(waiter)
            self._grant()

    def _grant(self) -> None:
        granted: list[_Waiter] = []
        with self._locked():
            while self.size is None or len(self._holding) < self.size:
                waiting = self._waiting[False] or self._waiting[True]
                if not waiting:
                    break
                waiter = waiting.popleft()
                waiter.granted = True
                self._holding.add(waiter)
                granted.append(waiter)
        for waiter in granted:
            waiter.wake()


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
