"""Idioms of trio that are used everywhere: blocks that Ctrl-C does not tear, errors bare out of nurseries.

Python may raise a KeyboardInterrupt between any two steps of a program. Between the body of a block and what leaves the
block it strands a nursery that nobody waits for. In the middle of a task it looks to the task's connection like an
error. Where `trio.lowlevel.enable_ki_protection` says so, trio defers it to the next checkpoint of the main task. The
blocks here say so of their entry and exit, and every task of the library does.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast

import trio

P = ParamSpec("P")
T = TypeVar("T")


class _Block(AbstractAsyncContextManager[T]):
    """A block that is entered and left whole."""

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> T:
        return await self._inner.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - as the inner block does


def asynccontextmanager(function: Callable[P, AsyncGenerator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Make of a generator what `contextlib.asynccontextmanager` does, but a block that is entered and left whole."""
    make = contextlib.asynccontextmanager(function)

    @wraps(function)
    def protected(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _Block(make(*args, **kwargs))

    return protected


class SingleUse(ABC):
    """An object whose `async with` block, `_run`, is entered once: a conversation has one, and then it is over."""

    _block: AbstractAsyncContextManager[None] | None = None

    @abstractmethod
    def _run(self) -> AbstractAsyncContextManager[None]:
        """Return what happens around the body of the block; leaving it takes a bounded time."""

    @property
    def _entered(self) -> bool:
        """Whether the block was entered, and perhaps left."""
        return self._block is not None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        """Begin, in the background; returns at once.

        Raises:
            RuntimeError: It was entered before; or this is no task of trio's.
        """
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError(
                f"{type(self).__name__} runs on trio, and this is no task of trio's; call it inside of `trio.run`, "
                "or use tts_trio.sync, from a thread of its own where this is asyncio"
            )
        if self._block is not None:
            raise RuntimeError(f"{type(self).__name__} was entered before: it has one block, make a new one")
        self._block = self._run()
        await self._block.__aenter__()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """End everything, in bounded time."""
        assert self._block is not None
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - `_run` is bounded


@contextmanager
def single_error() -> Generator[None]:
    """Let a nursery of ours raise the one real error bare, with its traceback, cause and context.

    Stands outside of `async with trio.open_nursery()`. Groups with more than one error in them, and those that the
    caller's own code raised, are left as they are.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        real = group.split(trio.Cancelled)[1]
        if real is None or len(real.exceptions) != 1:
            raise
        error = real.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context, group, real


def root_cause(error: BaseException) -> BaseException:
    """Return what was behind an error, such as the refused connection behind "all attempts failed"."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def telling_cause(error: BaseException) -> BaseException | None:
    """Return what was behind an error where it says more than ours will: what the system said; else None."""
    cause = root_cause(error)
    return cause.with_traceback(None) if isinstance(cause, OSError) else None


def of_this_run(variable: trio.lowlevel.RunVar[T], make: Callable[[], T]) -> T:
    """Return what all tasks of this `trio.run` share by a variable; the first that asks makes it."""
    try:
        return variable.get()
    except LookupError:
        value = make()
        variable.set(value)
        return value


def current_run() -> trio.lowlevel.TrioToken | None:
    """Return what tells one `trio.run` from another, in whatever thread; None outside of any."""
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
