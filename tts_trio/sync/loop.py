"""The loop behind `tts_trio.sync`, which all threads share, and blocks of it that another thread enters and leaves.

Ctrl-C raises in the main thread between any two steps of it. What is half done then nobody ends: a lease of the loop, a
block over there. So it is deferred while a block is entered or left. Entering is given up when it comes, and leaving is
bounded; a wait for anything else it ends at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import wraps
from types import FrameType, TracebackType
from typing import Generic, ParamSpec, TypeVar

import trio
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

P = ParamSpec("P")
T = TypeVar("T")


class Deferred:
    """A block that Ctrl-C waits for."""

    def __init__(self, on_interrupt: Callable[[], object] = lambda: None) -> None:
        """Prepare.

        Args:
            on_interrupt: Called at once when it comes: what the block waits for is not wanted any more.
        """
        self._interrupt: tuple[int, FrameType | None] | None = None
        self._on_interrupt = on_interrupt
        self._handler: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self._handler = handler
            signal.signal(signal.SIGINT, self._defer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._interrupt is not None:
                try:
                    self._handler(*self._interrupt)
                except KeyboardInterrupt as interrupt:
                    raise interrupt from None  # how the block ended for it says nothing more

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self._interrupt = number, frame
        self._on_interrupt()


def enter(
    way_in: Callable[[], T],
    way_out: Callable[[None, None, None], object],
    on_interrupt: Callable[[], object] = lambda: None,
) -> T:
    """Enter a block, and leave it if Ctrl-C comes meanwhile, since there will be no body.

    Args:
        way_in: Enters it.
        way_out: Leaves it.
        on_interrupt: As of `Deferred`.
    """
    entered = False
    try:
        with Deferred(on_interrupt):
            value = way_in()
            entered = True
        return value  # noqa: TRY300 - until here it may come
    except KeyboardInterrupt:
        if entered:
            way_out(None, None, None)
        raise


class _Whole(AbstractContextManager[T]):
    """A block that is entered and left whole."""

    def __init__(self, inner: AbstractContextManager[T]) -> None:
        self._inner = inner

    def __enter__(self) -> T:
        return enter(self._inner.__enter__, self.__exit__)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with Deferred():
            return self._inner.__exit__(kind, error, traceback)


def contextmanager(function: Callable[P, Generator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make of a generator what `contextlib.contextmanager` does, but a block that is entered and left whole."""
    make = contextlib.contextmanager(function)

    @wraps(function)
    def whole(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Whole(make(*args, **kwargs))

    return whole


class Loop:
    """The loop: it runs as long as any thread needs it, in a thread of its own.

    A generator that holds blocks may be abandoned, and is collected in any thread then, that of a loop of trio's too,
    which must not wait: there blocks are left in another thread, one after the other.
    """

    def __init__(self) -> None:
        self._portals = BlockingPortalProvider(backend="trio")
        self._leaver = ThreadPoolExecutor(1, "tts_trio leaves")

    def __enter__(self) -> BlockingPortal:
        return self._portals.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave(self._portals, kind, error, traceback)

    def leave(
        self,
        block: AbstractContextManager[object],
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Leave a block: here and now, or soon, where this thread must not wait."""
        if trio.lowlevel.in_trio_run():
            self._leaver.submit(block.__exit__, kind, error, traceback)
            return None
        return block.__exit__(kind, error, traceback)

    def left(self) -> None:
        """Wait until the blocks are left that were left to the other thread."""
        self._leaver.submit(int).result()


_loop = Loop()


def shared_loop() -> Loop:
    """Return the loop of this process."""
    return _loop


def _begin_anew() -> None:
    """Forget the loop of the parent process, whose threads are not in this one."""
    global _loop
    _loop = Loop()


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_begin_anew)


def call(portal: BlockingPortal, function: Callable[[], Awaitable[T]]) -> T:
    """Call a function over there, and wait for it; when Ctrl-C ends the wait, it is cancelled."""
    future = portal.start_task_soon(function)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


class Inside(AbstractContextManager[T], Generic[T]):
    """A block over there."""

    def __init__(
        self,
        portal: BlockingPortal,
        make: Callable[[], AbstractAsyncContextManager[T]],
        open_blocks: set[trio.CancelScope],
    ) -> None:
        """Prepare a block.

        Args:
            portal: The way to the loop.
            make: Makes it over there.
            open_blocks: Those of the same conversation, which takes them with it when it ends.
        """
        self._portal = portal
        self._make = make
        self._open_blocks = open_blocks
        self._scope = trio.CancelScope()
        self._loop = _loop
        self._block = portal.wrap_async_context_manager(self._abandonable())

    @contextlib.asynccontextmanager
    async def _abandonable(self) -> AsyncGenerator[T]:
        self._open_blocks.add(self._scope)
        try:
            with self._scope:
                async with self._make() as value:
                    yield value
        finally:
            self._open_blocks.discard(self._scope)

    def __enter__(self) -> T:
        return enter(self._block.__enter__, self.__exit__, self._abandon)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with Deferred():
            try:
                return self._loop.leave(self._block, kind, error, traceback)
            except (FutureCancelled, RuntimeError):  # the block was cancelled, or its loop has ended
                if not self._scope.cancel_called:
                    raise
                return None  # another thread left the conversation, and this block with it

    def _abandon(self) -> None:
        self._portal.start_task_soon(self._scope.cancel)
