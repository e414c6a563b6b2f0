"""Keeps hot the sockets of one kind: dials them ahead of need, and replaces those that are used or lost.

Two configurations are of one kind where a socket can serve both: what is said in its address, and before it has an
utterance, is the same.
"""

from __future__ import annotations

import copy
import logging
import math

import trio

from tts_trio._nurseries import without_frames
from tts_trio.config.defaults import spare_connections
from tts_trio.errors import ConcurrencyError, TTSConnectionError, TTSError, unexpected
from tts_trio.limits.limiter import learn_from
from tts_trio.transport.connection import Connection
from tts_trio.transport.dialing import DialBackoff, DialTurn
from tts_trio.transport.hot_socket import HotSocket, SocketState
from tts_trio.transport.surroundings import Surroundings
from tts_trio.transport.timers import Countdown
from tts_trio.wire.endpoint import Endpoint

logger = logging.getLogger(__name__)


class SocketPool:
    """The sockets of one kind. No socket is dialed before one is expected or waited for, or `replenish` is called.

    Attributes:
        sockets: The sockets, each with the scope around its dial; None: that is over.
    """

    __slots__ = (
        "_acquiring", "_around", "_backoff", "_changed", "_closed", "_config", "_dial_now", "_down_since", "_endpoint",
        "_failures", "_last_failure", "_permanent_error", "_permanent_error_raised", "_spares", "_waiting", "sockets",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, surroundings: Surroundings) -> None:
        """Prepare a pool.

        Args:
            endpoint: The endpoint, with the configuration of the sockets.
            surroundings: What the pools of the conversation share.
        """
        self.sockets: dict[HotSocket, trio.CancelScope | None] = {}
        self._config = endpoint.config
        self._spares = spare_connections(endpoint.config)
        self._endpoint = endpoint
        self._around = surroundings
        self._closed = False
        self._acquiring = 0  # callers in `acquire`
        self._waiting = 0  # callers that wait for a hot socket
        self._changed: trio.Event | None = None  # None: nobody waits for it
        self._dial_now: trio.Event | None = None
        self._backoff = DialBackoff()
        self._last_failure: TTSError | None = None
        self._failures = 0  # dials that failed
        self._down_since = math.inf  # when the first of the dials failed that failed since the last success
        self._permanent_error: TTSError | None = None  # stops the dialing until the next explicit call
        self._permanent_error_raised = False  # whether a caller has got this error

    @property
    def hot(self) -> int:
        """How many sockets can take an utterance now."""
        return sum(socket.usable for socket in self.sockets)

    @property
    def dialing(self) -> int:
        """How many sockets are being dialed, or will be after a backoff."""
        return sum(socket.state is SocketState.DIALING for socket in self.sockets)

    @property
    def in_use(self) -> int:
        """How many utterances are spoken over the sockets now."""
        return sum(socket.slots.utterances for socket in self.sockets)

    @property
    def needed(self) -> bool:
        """Whether an utterance is spoken over one of the sockets, or waits for one."""
        return bool(self.in_use or self._acquiring)

    @trio.lowlevel.enable_ki_protection
    async def acquire(self, endpoint: Endpoint) -> Connection:
        """Wait for a hot socket, and acquire a connection that speaks by this endpoint, which is of the same kind."""
        self._acquiring += 1
        try:
            connection = (await self._hot_socket()).acquire(endpoint)
        finally:
            self._acquiring -= 1
        self._note_acquired()
        return connection

    def acquire_spare(self, endpoint: Endpoint, beside: Connection) -> Connection | None:
        """Acquire a connection that is free at once, on another socket than that of a connection if there is one.

        Returns:
            None if there is none, or if somebody waits for one.
        """
        socket = None if self._closed or self._acquiring else self._oldest_usable(beside) or self._oldest_usable()
        if socket is None:
            return None
        connection = socket.acquire(endpoint)
        self._note_acquired()
        return connection

    def expect(self) -> None:
        """Dial for an utterance that is expected, also where an error of the last dial had stopped the dialing."""
        self._permanent_error = None
        self.replenish()

    def _note_acquired(self) -> None:
        self.replenish()
        self._probe_spares()

    def close(self) -> None:
        """Begin to close all sockets, those that are idle with the closing handshake, and dial none any more."""
        self._closed = True
        for socket, scope in self.sockets.items():
            socket.close(TTSError("the connection manager was closed"))
            if scope is not None:
                scope.cancel(reason="the connection manager is closed")
        self._announce()

    async def wait_closed(self) -> None:
        """Wait until no socket is left."""
        while self.sockets:
            await self._change().wait()

    async def connect(self) -> None:
        """Wait for a socket that can take an utterance, and dial what else is wanted."""
        await self._hot_socket()
        self.replenish()

    async def _hot_socket(self) -> HotSocket:
        """Wait for a socket that can take an utterance. The caller must acquire it before its next checkpoint."""
        await trio.lowlevel.checkpoint()
        self._around.check_open()
        socket = self._oldest_usable()
        if socket is None:
            return await self._wait_for_hot()
        self._permanent_error = None  # this explicit call begins the dialing again
        return socket

    def _oldest_usable(self, beside: Connection | None = None) -> HotSocket | None:
        """Return the oldest socket that can take an utterance; an aging one only if there is no other."""
        usable = [socket for socket in self.sockets if socket.usable and (beside is None or beside not in socket.slots)]
        return max(usable, key=lambda s: (s.state is not SocketState.AGING, -s.hot_since), default=None)

    async def _wait_for_hot(self) -> HotSocket:
        if self._permanent_error is not None and self._permanent_error_raised:
            self._permanent_error = None
        self._waiting += 1
        if self._dial_now is not None:
            self._dial_now.set()
            self._dial_now = None
        self.replenish(at_once=True)
        timeout, failures = self._config.timeouts.connect, self._failures
        countdown = Countdown(timeout)
        try:
            while True:
                self._around.check_open()
                if self._permanent_error is not None:
                    self._permanent_error_raised = True
                    raise copy.copy(self._permanent_error) from self._permanent_error.__cause__
                socket = self._oldest_usable()
                if socket is not None:
                    return socket  # with no checkpoint in between, at which another call could acquire it
                if self._failures > failures and self._is_down():
                    assert self._last_failure is not None
                    raise copy.copy(self._last_failure) from self._last_failure.__cause__
                if not await countdown.wait(self._change()):
                    break
        finally:
            self._waiting -= 1
        raise TTSConnectionError(
            f"no connection within {timeout:g} s (timeouts.connect)"
            + (f"; the last dial failed: {self._last_failure}" if self._last_failure else "")
        ) from self._last_failure and self._last_failure.__cause__

    def _is_down(self) -> bool:
        """Whether all dials have failed for `timeouts.connect` and none goes on, so that waiting cannot help."""
        away = trio.current_time() - self._down_since >= self._config.timeouts.connect
        return away and not any(s.state is SocketState.DIALING and s.began < math.inf for s in self.sockets)

    def _announce(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _change(self) -> trio.Event:
        """Return the event of the next change."""
        if self._changed is None:
            self._changed = trio.Event()
        return self._changed

    def replenish(self, *, at_once: bool = False) -> None:
        """Dial as many sockets as are wanted and neither ready nor being dialed, after a backoff or at once."""
        if self._closed or self._permanent_error is not None:
            return
        for socket in self.sockets:
            self._backoff.connection_is_up(socket.hot_since)
        wanted, ready, dialing = self._needs()
        for _ in range(wanted - ready - dialing):
            socket = HotSocket(self._endpoint, self._around.open_stream, self)
            # A cancellation around the manager's block reaches these dials only when the block has been left.
            self.sockets[socket] = trio.CancelScope(shield=True)
            self._around.nursery.start_soon(self._serve, socket, 0.0 if at_once else self._backoff.wait())

    def _needs(self) -> tuple[int, int, int]:
        """Return how many sockets are wanted, are ready, and are being dialed.

        Wanted are the spares, or one for each waiting caller. While no socket is open it is at most one, so that a
        wrong key or a service that is down costs one dial a time. Ready are those that can take an utterance and do not
        age.
        """
        ready = dialing = utterances = 0
        is_open = False
        for socket in self.sockets:
            state = socket.state
            dialing += state is SocketState.DIALING
            is_open = is_open or state not in (SocketState.DIALING, SocketState.ENDING)
            ready += state is not SocketState.AGING and socket.usable
            utterances += socket.slots.utterances
        kept = self._endpoint.sockets_to_keep(self._spares, speaking=utterances > 0)
        wanted = max(kept, math.ceil(self._waiting / self._endpoint.contexts))
        return wanted if is_open else min(wanted, 1), ready, dialing

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, socket: HotSocket, delay: float) -> None:
        """Run one socket, from its dial until it is lost or closed."""
        try:
            try:
                dialed = await self._dial(socket, delay)
                if dialed:
                    self.sockets[socket] = None
                    await socket.serve()
            finally:
                socket.let_go()
            if dialed:
                self._socket_ended(socket)
        except TTSError as error:
            self._around.telemetry.dial_ended(trio.current_time() - socket.began, error)
            self._dial_failed(error)
        except Exception as error:
            logger.exception("the task of a connection failed")
            self._dial_failed(unexpected("connection", error))
        finally:
            if socket.error is not None:  # which is kept
                without_frames(socket.error)
            self._around.counts.keep_alives += socket.keep_alives
            del self.sockets[socket]
            self.slot_changed()

    async def _dial(self, socket: HotSocket, delay: float) -> bool:
        """Dial a socket; False: the manager was closed, or another dial has got a permanent error meanwhile."""
        scope = self.sockets[socket]
        assert scope is not None
        with scope:
            if delay:
                with trio.move_on_after(delay):
                    if self._dial_now is None:
                        self._dial_now = trio.Event()
                    await self._dial_now.wait()  # an explicit call ends the backoff
            else:
                await trio.lowlevel.checkpoint()  # a block that is cancelled while it is entered dials nothing
            turn = await DialTurn.wait(self._config.base_url)
            try:
                if self._permanent_error is not None:  # this one would get it too
                    return False
                self._around.counts.dials += 1
                await socket.dial(turn, self._around.nursery)
                return True
            finally:
                turn.end()
        return False

    # For its sockets.

    def socket_hot(self, began: float) -> None:
        """Note that a socket can serve its first utterance, whose dial began then."""
        self._down_since = math.inf
        self._around.telemetry.dial_ended(trio.current_time() - began)
        old = next((s for s in self.sockets if s.state is SocketState.AGING and s.usable), None)
        if old is not None:
            old.close()
        self.slot_changed()

    def slot_changed(self) -> None:
        """Dial missing sockets and wake waiting callers: a socket has gained or lost room for an utterance."""
        self._around.slot_changed()
        self.replenish()
        self._announce()

    def replace_old(self) -> bool:
        """Replace a spare before the service or a middlebox closes it; False: there are enough without it.

        It can be used until the new one is hot.
        """
        wanted, ready, _ = self._needs()
        if ready >= wanted:
            return False
        self.replenish()
        return True

    def _dial_failed(self, error: TTSError) -> None:
        logger.info("a dial failed: %s", error)
        self._failures += 1
        self._down_since = min(self._down_since, trio.current_time())
        self._backoff.dial_failed()
        self._last_failure = error
        if isinstance(error, ConcurrencyError) and self._config.limiter is not None:
            learn_from(error, self._config.limiter)
        if not error.retryable:
            self._stop_dialing(error)

    def _socket_ended(self, socket: HotSocket) -> None:
        error = socket.error
        if error is None:
            self._backoff.connection_works(socket.hot_since)
            return
        self._backoff.connection_lost(socket.hot_since)
        self._probe_spares()
        logger.info("a connection was lost after %.1f s: %s", socket.hot_for(), error)
        self._around.counts.losses += 1
        self._around.telemetry.socket_lost(error)
        self._last_failure = error
        if not error.retryable:
            self._stop_dialing(error, raised=socket.slots.served)

    def _probe_spares(self) -> None:
        """Probe the hot sockets: what cuts the socket in use often cuts its spare too."""
        for socket in self.sockets:
            if socket.usable:
                socket.probe()

    def _stop_dialing(self, error: TTSError, *, raised: bool = False) -> None:
        self._permanent_error, self._permanent_error_raised = error, raised
