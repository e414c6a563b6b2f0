"""The limiter of one process: it bounds the utterances that are generated at once, and queues the others.

The service counts utterances while it generates them, and does not count idle sockets (ElevenLabs' documentation). So a
reply holds a slot from its first phrase until its final, and a static text from its request until its answer is
complete. If the service refuses an utterance all the same, the utterance releases its slot and waits for another one,
within its own timeouts.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
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
from tts_trio.errors import ConcurrencyError, ConfigurationError, TTSError

OnTimeout: TypeAlias = Literal["raise", "proceed"]

PATIENCE = 0.05
"""Seconds within which a limiter gives a slot that is free: the way to a Redis and back, and no wait for others."""

_ALLOWED = re.compile(r"maximum of (\d{1,6}) concurrent")  # in the message of a 429 (wire/README.md, 4.1)


def has_lapsed(slot: object) -> bool:
    """Tell whether the lease of a slot has expired, so that nothing more may be sent under it.

    Args:
        slot: What the block of `Limiter.slot` gave.
    """
    return isinstance(slot, Lease) and slot.until <= trio.current_time()


async def with_free_slot(limiter: Limiter | None, run: Callable[[], Awaitable[None]]) -> None:
    """Run something in a slot that is free at once, and do not run it if there is none.

    Args:
        limiter: The limiter; None: no slot is needed.
        run: What is run. In a slot, a `TTSError` of it or of the limiter ends it, and is not raised.
    """
    if limiter is None:
        await run()
        return
    with suppress(TTSError), trio.move_on_after(PATIENCE) as patience:
        async with limiter.slot(background=True):  # after all utterances that wait for theirs
            if not patience.cancel_called:  # or the slot would be given back at once
                patience.deadline = math.inf
                await run()


def learn_from(error: ConcurrencyError, limiter: Limiter) -> None:
    """Tell the limiter the plan's concurrency, if the service's refusal names it."""
    if found := _ALLOWED.search(error.message):
        limiter.learn(int(found[1]))


class _Waiter:
    """A task of any thread that waits for a slot."""

    def __init__(self) -> None:
        self.granted = False
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def wake(self) -> None:
        """Wake the task, whose slot was granted. Any thread may call this."""
        if current_run() is self._token:
            self._event.set()
        else:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class ConcurrencyLimiter:
    """Bounds the utterances that all conversations of one process with this object generate at once.

        limiter = ConcurrencyLimiter()
        config = TTSConfig.from_env(limiter=limiter)  # for every conversation of the account

    Several threads, each with a `trio.run` of its own, may share it. After a fork, all slots are free in the child.
    """

    def __init__(self, size: int | None = None, *, timeout: float = 5.0, on_timeout: OnTimeout = "raise") -> None:
        """Make a limiter.

        Args:
            size: The number of slots, 1 to 1,000,000. None: the plan's concurrency, which the service tells in its
                answers to static texts and in its refusals; until then nothing is bounded.
            timeout: The longest wait for a slot, in seconds; `math.inf`: without end.
            on_timeout: What happens after the timeout. "raise": the utterance fails with a `ConcurrencyError`.
                "proceed": it goes on without a slot, and the service decides.

        Raises:
            ConfigurationError: A value is not allowed; the message names the argument and what is allowed.
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
        self._waiting: dict[bool, deque[_Waiter]] = {False: deque(), True: deque()}  # by whether in the background

    def _locked(self) -> threading.Lock:
        """Return the lock. After a fork all is made anew: the slots that were held belong to the parent process."""
        if self._process != os.getpid():
            self._begin()
        return self._lock

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<{type(self).__name__}, {self.held} of {self.size or 'unknown'} held, {waiting} waiting>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled: each process would use all slots of the plan.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "limiter: a ConcurrencyLimiter bounds one process, so it cannot be pickled; pickle evolve(limiter=None), "
            "and make a limiter in the other process, or share a RedisLimiter",
            field="limiter",
        )

    @property
    def size(self) -> int | None:
        """The number of slots; None where it is not known yet, so that nothing is bounded."""
        return self._size or self._learned

    @property
    def held(self) -> int:
        """The number of slots that are held."""
        return len(self._holding)

    def learn(self, size: int) -> None:
        """Take the plan's concurrency from the service. A `size` that was given takes precedence."""
        self._learned = max(1, size)
        self._grant()

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it until the block ends.

        Args:
            background: Whether no caller waits for this audio (a prefetch). It then gets a slot after all others,
                and waits without a timeout.

        Raises:
            ConcurrencyError: No slot became free within `timeout`, and `on_timeout` is "raise".
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
    """Return the error of an utterance for which no slot became free in time."""
    return ConcurrencyError(
        f"all slots of the limiter were in use for {timeout:g} s; start fewer utterances at once, or raise the plan's "
        "concurrency and the limiter's size"
    )


def check_limits(size: int | None, timeout: float, on_timeout: str) -> None:
    """Check the arguments of a limiter.

    Raises:
        ConfigurationError: A value is not allowed; the message names the argument and what is allowed.
    """
    unless_none(whole(1, 1_000_000)).check("size", size)
    or_endless(seconds(0)).check("timeout", timeout)
    one_of("raise", "proceed").check("on_timeout", on_timeout)
