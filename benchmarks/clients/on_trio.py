"""The runtime of the clients that are built on trio, and how a caller interrupts there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from benchmarks.clients.turn import Turn
from benchmarks.clients.worker import OpenClient, Worker


class Trio:
    """What a worker wants of trio."""

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """Call a function that blocks."""
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)

    async def together(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them all, until all are done."""
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    async def open(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them one after another: this task closes what they open."""
        for function in functions:
            await function()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)


@asynccontextmanager
async def interruptible(turn: Turn) -> AsyncGenerator[trio.CancelScope]:
    """Give the scope to listen in: the caller cancels it when his time comes. Its user marks "free"."""
    scope = trio.CancelScope()
    if turn.cut_at is None:  # as with the other clients, it takes a task only where he interrupts
        yield scope
        return

    async def cut() -> None:
        await trio.sleep(turn.until_cut())
        turn.mark("cut")
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut)
        yield scope
        nursery.cancel_scope.cancel()


def run_on_trio(open_client: OpenClient) -> None:
    """Be the process of a client."""
    trio.run(Worker(open_client, Trio()).run)
