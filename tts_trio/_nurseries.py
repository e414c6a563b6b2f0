"""Idioms of trio for the whole library: blocks that Ctrl-C cannot break, nurseries that raise bare errors, and waiting.

Python may raise a KeyboardInterrupt between any two steps of a program. Raised between the body of an `async with`
block and its `__aexit__`, it leaves a nursery open for which nobody waits. Raised in a task of the library, it looks
like an error of the task's connection. `trio.lowlevel.enable_ki_protection` makes trio hold the KeyboardInterrupt back
until the next checkpoint of the main task. The blocks here protect their entry and their exit with it, and every task
of the library is protected too.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial, wraps
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast

import trio

P = ParamSpec("P")
T = TypeVar("T")


class _Block(contextlib._AsyncGeneratorContextManager[T]):  # pyright: ignore[reportPrivateUsage] - one object, not two
    """An `async with` block whose entry and exit no KeyboardInterrupt interrupts."""

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> T:
        return await super().__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await super().__aexit__(kind, error, traceback)  # noqa: ASYNC102 - as the generator does


def asynccontextmanager(function: Callable[P, AsyncGenerator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Do what `contextlib.asynccontextmanager` does, and protect the entry and the exit from a KeyboardInterrupt."""

    @wraps(function)
    def protected(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _Block(function, args, kwargs)

    return protected


class SingleUse(ABC):
    """An object whose `async with` block can be entered once. A subclass gives the block as `_run`."""

    _block: AbstractAsyncContextManager[None] | None = None

    @abstractmethod
    def _run(self) -> AbstractAsyncContextManager[None]:
        """Return the context manager of the block. Its exit must take a bounded time."""

    @property
    def _entered(self) -> bool:
        """Whether the block has ever been entered. It stays True when the block is left."""
        return self._block is not None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        """Start the background tasks, and return without waiting for them.

        Raises:
            RuntimeError: The block was entered before, or the caller is not a trio task.
        """
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError(
                f"{type(self).__name__} needs trio, and this is not a trio task; call it inside of `trio.run`, "
                "or use tts_trio.sync (under asyncio: from a thread of its own)"
            )
        if self._block is not None:
            raise RuntimeError(
                f"{type(self).__name__} was entered before, and can be entered only once; make a new one"
            )
        self._block = self._run()
        await self._block.__aenter__()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Stop the background tasks, in a bounded time."""
        assert self._block is not None
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - `_run` is bounded


class _SingleError:
    __slots__ = ()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, group: BaseException | None, traceback: object) -> None:
        """Raise the only error of a group instead of it."""
        if not isinstance(group, BaseExceptionGroup):
            return
        real = cast("BaseExceptionGroup[BaseException]", group).split(trio.Cancelled)[1]
        if real is None or len(real.exceptions) != 1:
            return
        error = real.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context, group, real


single_error = _SingleError()
"""Raises the only error of a nursery's exception group bare, with its traceback, cause and context.

It is written around `async with trio.open_nursery()`. `trio.Cancelled` does not count as an error. A group with
several errors, and a group inside the nursery's group (such as one of the caller's own code), stay groups.
"""


class WaitingTasks:
    """Tasks that wait until all of them are woken at once.

    `trio.lowlevel.ParkingLot` does the same in three times as many functions, and one waits for every message.
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[trio.lowlevel.Task, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        """Return how many tasks wait."""
        return len(self._tasks)

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> None:
        """Wait until `wake` is called."""
        task = trio.lowlevel.current_task()
        self._tasks[task] = None
        await trio.lowlevel.wait_task_rescheduled(partial(_stop_waiting, self._tasks, task))

    @trio.lowlevel.enable_ki_protection
    def wake(self) -> None:
        """Wake the tasks that wait now."""
        for task in self._tasks:
            trio.lowlevel.reschedule(task)
        self._tasks.clear()


def _stop_waiting(
    tasks: dict[trio.lowlevel.Task, None], task: trio.lowlevel.Task, _raise_cancel: object
) -> trio.lowlevel.Abort:
    del tasks[task]
    return trio.lowlevel.Abort.SUCCEEDED


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain of causes, such as the refused connection behind "all attempts failed".

    Of an exception group it follows the first member.
    """
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def telling_cause(error: BaseException) -> BaseException | None:
    """Return the operating system's error behind an error, to be the cause of ours; None where there is none.

    Other causes are left out, since our own message says as much.
    """
    cause = root_cause(error)
    return cause.with_traceback(None) if isinstance(cause, OSError) else None


def without_frames(error: BaseException) -> None:
    """Let go of the frames that an error was raised through, and of the error before it.

    They hold all that they worked on, so an error that is kept would keep that, and mostly itself.
    """
    error.__traceback__ = error.__context__ = None


def of_this_run(variable: trio.lowlevel.RunVar[T], make: Callable[[], T]) -> T:
    """Return the value that all tasks of this `trio.run` share; the first call makes it."""
    try:
        return variable.get()
    except LookupError:
        value = make()
        variable.set(value)
        return value


def current_run() -> trio.lowlevel.TrioToken | None:
    """Return the token that identifies the current `trio.run` of this thread; None outside of one."""
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
