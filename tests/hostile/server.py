"""The hostile server: its thread, its port, and what both protocols share of a connection."""

from __future__ import annotations

import itertools
import random
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import attrs
import trio

from tests.hostile.faults import Fault, Faults, Place
from tests.hostile.peer import Gone, Peer
from tests.hostile.script import Script

_READ = 65536
_TICK = 0.005  # seconds
_LATE = 0.02  # seconds: the shortest timeout is four times as long
_DRAIN = 2.0  # seconds, within which a client that is done closes its end


class Written(NamedTuple):
    """What the client wrote at once.

    Attributes:
        end: How many bytes it had written with it.
        read: How many bytes of the connection it had read when it wrote this; infinitely many where nobody read.
    """

    end: int
    read: float


@attrs.define(eq=False, slots=False)
class HostileServer:
    """One seed's server, on a port of its own.

    Attributes:
        port: The port.
        faults: What goes wrong.
        log: What happened, with its times.
        left_open: Connections that the client did not close.
        crossed: Poison that a request crossed on its way, so that nobody could know it for what it was.
        untimed: Texts of phrases that were sent without times that can be read.
        writes: By the client's port: what the client wrote, and has not been read here.
        lied: Keys of conversations to which times were told for sound that never came.
        flooded: Keys of conversations, or static texts, to which sound was sent as fast as it was taken, without end.
        requests: How many there were over HTTP.
        open: How many connections there are.
        errors: What went wrong here.
        done: Set when all is over.
    """

    script: Script
    context: ssl.SSLContext
    faults: Faults = attrs.field(init=False)
    log: list[tuple[float, str]] = attrs.field(factory=list)
    left_open: list[int] = attrs.field(factory=list)
    crossed: set[str] = attrs.field(factory=set)
    untimed: list[str] = attrs.field(factory=list)
    writes: dict[int, deque[Written]] = attrs.field(factory=dict)
    lied: set[str] = attrs.field(factory=set)
    flooded: set[str] = attrs.field(factory=set)
    requests: int = 0
    open: int = 0
    errors: list[str] = attrs.field(factory=list)
    _numbers: Any = attrs.field(factory=lambda: itertools.count(1))
    _listening: socket.socket = attrs.field(init=False)
    _over: trio.Event = attrs.field(init=False)
    _thread: ServerThread = attrs.field(init=False)
    _scopes: set[trio.CancelScope] = attrs.field(factory=set)
    done: threading.Event = attrs.field(factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(self.script.seed)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._hostile = {c.key: c.hostile for c in self.script.conversations}

    @property
    def port(self) -> int:
        return self._listening.getsockname()[1]

    @property
    def unasked_format(self) -> str:
        """What is said on a connection of which nobody knows whose it is has this format."""
        return self.script.conversations[0].config["output_format"]

    def hostile_to(self, key: str) -> bool:
        return self._hostile.get(key, True)

    def note(self, what: str) -> None:
        self.log.append((time.perf_counter(), what))

    def draw(self, place: Place, *which: object, key: str | None = None) -> tuple[Fault | None, random.Random]:
        """Draw a fault; none for a conversation to which the server is honest."""
        fault, rng = self.faults.draw(place, *which)
        if fault is not None and (not all(self._hostile.values()) if key is None else not self.hostile_to(key)):
            fault = None
        if fault is not None:
            self.note(f"{place} {which}: {fault}")
        return fault, rng

    def was_late(self, since: float) -> bool:
        """Whether it got no processor for a while, or gets none now."""
        return self._thread.was_late(since)

    def heal(self) -> None:
        """Begin to be a good server, as after a restart: connections that there are end."""
        self.faults.over = True
        self._thread.token.run_sync_soon(self._drop)

    def finish(self) -> None:
        """Stop: the client is done, and has closed its connections."""
        self._thread.token.run_sync_soon(self._stop)

    async def serve(self, thread: ServerThread) -> None:
        """Serve until `finish`; in the server's thread."""
        self._over = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._listening))
                nursery.start_soon(self._accept, listener, nursery)
                await self._over.wait()
                await listener.aclose()
        except Exception as error:  # noqa: BLE001 - told by the client's side
            self.errors.append(f"the server failed: {error!r}")
        finally:
            self.done.set()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                nursery.start_soon(self._serve_one, await listener.accept())

    async def _serve_one(self, tcp: trio.SocketStream) -> None:
        number = next(self._numbers)
        self.open += 1
        peer = Peer(self, tcp, number)
        try:
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    await peer.serve()
                except* (Gone, trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
            self._scopes.discard(scope)
            await self._end(peer, tcp, number, dropped=scope.cancelled_caught)
        finally:
            self.open -= 1
            await trio.aclose_forcefully(tcp)

    async def _end(self, peer: Any, tcp: trio.SocketStream, number: int, *, dropped: bool) -> None:
        if peer.resets or (dropped and not self._over.is_set()):
            tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            if not self._over.is_set():
                tcp.socket.shutdown(socket.SHUT_WR)
            await self._drain(tcp, number)

    async def _drain(self, tcp: trio.SocketStream, number: int) -> None:
        """Wait for the client's end of it."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            with trio.move_on_after(_DRAIN if self._over.is_set() else 30) as patience:
                while await tcp.receive_some(_READ):
                    pass
            if patience.cancelled_caught:
                self.left_open.append(number)
                self.note(f"connection {number} was not closed by the client")
        self._scopes.discard(scope)
        if scope.cancelled_caught and self._over.is_set():
            await self._drain(tcp, number)

    def _drop(self) -> None:
        for scope in list(self._scopes):
            scope.cancel()

    def _stop(self) -> None:
        self._over.set()
        self._drop()


class ServerThread:
    """The thread in which all servers of a run have their loop."""

    token: trio.lowlevel.TrioToken

    def __init__(self) -> None:
        self._late_at = 0.0
        self._ticked_at = time.perf_counter()

    def was_late(self, since: float) -> bool:
        """Whether it got no processor for a while, or gets none now: it was not as honest as it wanted to be."""
        return self._late_at >= since or time.perf_counter() - self._ticked_at > _TICK + _LATE

    def start(self, server: HostileServer) -> None:
        """Have a server serve."""
        server._thread = self
        self.token.run_sync_soon(self._nursery.start_soon, server.serve, self)

    async def _main(self, ready: threading.Event) -> None:
        async with trio.open_nursery() as self._nursery:
            self.token = trio.lowlevel.current_trio_token()
            ready.set()
            while True:
                await trio.sleep(_TICK)
                before, self._ticked_at = self._ticked_at, time.perf_counter()
                if self._ticked_at - before > _TICK + _LATE:
                    self._late_at = self._ticked_at

    @classmethod
    @contextmanager
    def running(cls) -> Generator[ServerThread]:
        """Run it for as long as the block lasts."""
        self = cls()
        ready = threading.Event()
        thread = threading.Thread(target=trio.run, args=(self._main, ready), name="hostile servers", daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            self.token.run_sync_soon(self._nursery.cancel_scope.cancel)
            thread.join(10)
