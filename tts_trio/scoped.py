"""Blocks of `async with` that Ctrl-C does not tear, and objects that are such a block.

Python may raise a KeyboardInterrupt between any two steps of a program: so between the body of a block and what leaves
it, and a nursery stays open that nobody waits for, or in the middle of a task, whose connection is then told of it as
of an error. trio defers it where `trio.lowlevel.enable_ki_protection` says so, to the next checkpoint of the main task.
Here it says so of what enters and leaves a block; and so does every task of the library's own.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

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


class Scoped(ABC):
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


def current_run() -> trio.lowlevel.TrioToken | None:
    """Return what tells one `trio.run` from another, in whatever thread; None outside of any."""
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def require(name: str, value: object, kind: type) -> None:
    """Refuse an argument of another type.

    Raises:
        TypeError: It names the argument and the type that is wanted.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
