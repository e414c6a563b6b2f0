"""The trio loop behind `tts_trio.sync`, which all threads share, and its blocks, which other threads enter and leave.

Ctrl-C raises a KeyboardInterrupt between any two steps of the main thread. Raised while a block is half entered, it
would leave the loop running, and the block in it open, for ever. So the interrupt is deferred while a block is entered
or left: it cancels an entry that still waits, and it waits for an exit, which takes a bounded time. It ends any other
wait at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial, wraps
from types import FrameType, TracebackType
from typing import Generic, ParamSpec, TypeVar, TypeVarTuple, Unpack

import trio
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deferred:
    """A block in which Ctrl-C is deferred to its end."""

    def __init__(self, on_interrupt: Callable[[], object] = lambda: None) -> None:
        """Prepare a block.

        Args:
            on_interrupt: A function that the interrupt calls at once, to end what the block waits for.
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
                    raise interrupt from None  # the error by which the interrupted block ended says nothing more

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self._interrupt = number, frame
        self._on_interrupt()


def enter(
    way_in: Callable[[], T],
    way_out: Callable[[None, None, None], object],
    on_interrupt: Callable[[], object] = lambda: None,
) -> T:
    """Enter a block, and leave it again if Ctrl-C comes meanwhile, since its body will not run.

    Args:
        way_in: The function that enters the block.
        way_out: The function that leaves it.
        on_interrupt: As for `Deferred`.
    """
    entered = False
    try:
        with Deferred(on_interrupt):
            value = way_in()
            entered = True
        return value  # noqa: TRY300 - a KeyboardInterrupt may be raised up to here
    except KeyboardInterrupt:
        if entered:
            way_out(None, None, None)
        raise


class _Whole(AbstractContextManager[T]):
    """A `with` block whose entry and exit Ctrl-C does not interrupt."""

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
    """Do what `contextlib.contextmanager` does, and protect the entry and the exit from Ctrl-C."""
    make = contextlib.contextmanager(function)

    @wraps(function)
    def whole(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Whole(make(*args, **kwargs))

    return whole


class Loop:
    """The shared trio loop, which runs in a thread of its own as long as any thread has entered this block.

    A generator that holds open blocks may be abandoned. The garbage collector then leaves these blocks, in any thread,
    even in the thread of a trio loop, which must not wait. In such a thread the blocks are left by another thread, one
    after the other.
    """

    def __init__(self) -> None:
        self._portals = BlockingPortalProvider(backend="trio")
        self._leaver = ThreadPoolExecutor(1, "tts_trio leaves")

    def __enter__(self) -> Portal:
        return Portal(self._portals.__enter__(), self)

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
        """Leave a block in this thread; in another one if this thread runs a trio loop and must not wait.

        A block of the process from which this one was forked is that process's to leave.
        """
        if self is not _loop:
            return None
        if trio.lowlevel.in_trio_run():
            self._leaver.submit(block.__exit__, kind, error, traceback)
            return None
        return block.__exit__(kind, error, traceback)

    def left(self) -> None:
        """Wait until the other thread has left all blocks that were given to it."""
        self._leaver.submit(int).result()


_loop = Loop()


def shared_loop() -> Loop:
    """Return the loop of this process."""
    return _loop


def _begin_anew() -> None:
    """Make a new loop after a fork: the threads of the parent process do not exist in the child."""
    global _loop
    _loop = Loop()


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_begin_anew)


class Portal:
    """The way into the loop, for the other threads of the process.

    Each method raises RuntimeError where it would wait for ever: in a process that was forked from the loop's, and in a
    task of trio, whose loop it would block.
    """

    def __init__(self, portal: BlockingPortal, loop: Loop) -> None:
        self._portal = portal
        self._loop = loop

    @property
    def is_ours(self) -> bool:
        """Whether the loop runs in this process, not in the one from which this one was forked."""
        return self._loop is _loop

    def _usable(self) -> BlockingPortal:
        if not self.is_ours:
            raise RuntimeError(
                "this object of tts_trio.sync was opened before a fork, in the parent process; open one in this process"
            )
        refuse_in_trio("tts_trio.sync")
        return self._portal

    def call(self, function: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        """Call a function in the loop, and return its result."""
        return self._usable().call(partial(function, *arguments))

    def start(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start a task in the loop."""
        return self._usable().start_task_soon(function)

    def block(self, block: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """Return a `with` block over an async one, which is entered and left in the loop."""
        return self._usable().wrap_async_context_manager(block)

    def abandon(self, scope: trio.CancelScope) -> None:
        """Cancel a scope in the loop, without waiting."""
        self._portal.start_task_soon(scope.cancel)


def refuse_in_trio(name: str) -> None:
    """Raise RuntimeError in a task of trio."""
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            f"{name} would block this trio loop; use `async with` and the object of the same name in tts_trio, such as "
            "tts_trio.open_tts"
        )


def call(portal: Portal, function: Callable[[], Awaitable[T]]) -> T:
    """Call an async function in the loop, and wait for its result. Ctrl-C cancels the call."""
    future = portal.start(function)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


class Inside(AbstractContextManager[T], Generic[T]):
    """An async block in the loop, as a `with` block of another thread."""

    def __init__(
        self,
        portal: Portal,
        make: Callable[[], AbstractAsyncContextManager[T]],
        open_blocks: set[trio.CancelScope],
    ) -> None:
        """Prepare a block.

        Args:
            portal: The portal to the loop.
            make: A function that makes the async block; it is called in the loop.
            open_blocks: The scopes of the open blocks of the same conversation, which cancels them when it ends.
        """
        self._portal = portal
        self._make = make
        self._open_blocks = open_blocks
        self._scope = trio.CancelScope()
        self._loop = _loop
        self._block = portal.block(self._abandonable())

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
            except (FutureCancelled, RuntimeError):  # the block was cancelled, or the loop has ended
                if not self._scope.cancel_called:
                    raise
                return None  # another thread has left the conversation, which cancelled this block

    def _abandon(self) -> None:
        self._portal.abandon(self._scope)
