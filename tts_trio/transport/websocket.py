"""One WebSocket: dial, read always, write whole frames, ping, close in bounded time.

`framing.py` does the framing, by trio-websocket where it needs that. It bounds nothing: a peer may stay silent in the
handshake and behind a Close frame, and a send that is cancelled tears a frame. So one task owns the socket, in a scope
that no user's cancellation reaches; another reads always, and closing is an event and a bounded wait. A frame is
written at once, without waiting, or where the socket does not take it, by a writer that no cancellation tears.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import trio
import trio_websocket

from tts_trio._nurseries import single_error, telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.errors.classification import classify
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.frames import PING, WHOLE_TEXT, client_frame
from tts_trio.transport.framing import FramedConnection
from tts_trio.transport.handshake import explain, trace_id
from tts_trio.transport.pings import Ping, Pings
from tts_trio.transport.streams import USER_AGENT, OpenStream
from tts_trio.transport.timers import TICK, Timer, has_expired

_PROBE_TIMEOUT = 1.0  # a pong takes one round trip; what does not come in so long is not on its way
_STUCK_SECONDS = 0.1  # a frame is written in no time, unless the peer does not read


class SocketUser(Protocol):
    """Whoever opens a WebSocket, and acts on what comes. Only `do_what_is_due` may wait."""

    def first_messages(self) -> Iterable[str]:
        """Return the messages that are written as soon as the socket is open."""
        ...

    def opened(self) -> None:
        """Note that the socket is hot: the first messages are written, and a pong has come back."""
        ...

    def received(self, message: str | bytes) -> None:
        """Act on a message."""
        ...

    def due(self) -> float:
        """Return when something is to be done on the open socket, in seconds of trio's clock.

        After it has become earlier, `reset_timer` of the socket is to be called, or `wake_by`.
        """
        ...

    async def do_what_is_due(self) -> None:
        """Do it."""
        ...


class WebSocket:
    """One WebSocket to the service, from its dialing to its end. `run` is its life; everything else is immediate.

    Attributes:
        is_open: Whether the socket ever became hot.
        ending: Whether it was lost, or told to close: nothing more is written to it.
        trace_id: The service's id of the connection (`x-trace-id` of the handshake), if it gave one.
        error: Why the socket ended, if not by `close`.
        sent: How many messages were handed over to be written, the first ones included.
        written: How many of these had begun to be written when the message that is being handed on came.
    """

    __slots__ = (
        "_answered", "_config", "_goodbye", "_messages", "_next_ping", "_nursery", "_open_stream", "_outbox", "_path",
        "_pings", "_timer", "_user", "_websocket", "_writing", "_writing_since", "ending", "error", "is_open", "sent",
        "trace_id", "written",
    )  # fmt: skip

    def __init__(self, config: TTSConfig, path: str, open_stream: OpenStream) -> None:
        """Prepare a WebSocket; nothing is dialed yet.

        Args:
            config: The host, the key and the timeouts.
            path: The path and query, below the base URL.
            open_stream: A function that opens the byte stream.
        """
        self.is_open = False
        self.trace_id: str | None = None
        self.error: TTSError | None = None
        self.sent = self.written = 0
        self._config = config
        self._path = path
        self._open_stream = open_stream
        self._user: SocketUser | None = None  # while it runs
        self._outbox: list[bytes] = []  # short, and a deque takes 600 bytes even where it is empty
        self._nursery: trio.Nursery | None = None  # of the writer; None until frames can be written
        self._websocket: FramedConnection | None = None
        self._writing = False  # whether there is a writer
        self._answered: trio.Event | None = None  # until the first pong has come, or none will
        self.ending = False
        self._goodbye: str | None = None
        self._timer = Timer()
        self._next_ping = math.inf
        self._pings = Pings()
        self._messages = 0  # that came
        self._writing_since = math.inf

    @property
    def stuck(self) -> bool:
        """Whether a frame waits to be written because the peer does not read."""
        return self._writing_since < math.inf and trio.current_time() > self._writing_since + _STUCK_SECONDS

    def send(self, *messages: str, more: bool = False) -> None:
        """Send messages in one write, or have the writer do it. Never blocks; a socket that is ending drops them.

        With `more` they wait for what is sent next, at once: each write is a record, and a system call.
        """
        if not self.ending:
            self._send(*messages, more=more)

    def probe(self) -> None:
        """Find out whether the socket is half-open. Never blocks.

        A ping is sent. The socket is lost if neither its pong nor any message comes within a second, or if nothing
        could be written for so long.
        """
        if not self.ending:
            self._ping(_PROBE_TIMEOUT, is_probe=True)

    def reset_timer(self) -> None:
        """Set the timer earlier, if something is due before it fires; on a socket that is ending nothing is."""
        if not self.ending:
            self._timer.bring_forward(self._next_deadline())

    def wake_by(self, due: float) -> None:
        """Set the timer to this time, if it fires later, and something may be due then."""
        if not self.ending:
            self._timer.bring_forward(due)

    def close(self, goodbye: str | None = None) -> None:
        """Begin to close, politely and in bounded time. Never blocks; only the first call counts.

        Args:
            goodbye: A last message, which is written before the Close frame.
        """
        if not self.ending:
            self._goodbye = goodbye
            self._end()

    def abandon(self, error: TTSError) -> None:
        """Lose the socket, for this reason. Never blocks; only the first reason counts."""
        if not self.ending:
            self.error = error
            if self._answered is not None:
                self._answered.set()
            self._end()

    def _end(self) -> None:
        self.ending = True
        self._timer.fire()

    async def run(self, turn: DialTurn, user: SocketUser) -> None:
        """Dial, then own the socket until it is closed or lost.

        Args:
            turn: The turn to dial, which ends with the dial.
            user: What is told of all that comes.

        Raises:
            TTSError: It never became hot. What happens later is in `error`.
        """
        self._user = user
        self._answered = trio.Event()
        try:
            with single_error:
                async with trio.open_nursery() as nursery:
                    with turn.limited(self._config.timeouts.connect, nursery):
                        websocket = self._websocket = self._over(await self._open_stream(self._config))
                        await self._shake_hands(websocket)
                        nursery.start_soon(self._read, websocket)
                        self._nursery = nursery
                        self._send(*user.first_messages(), more=True)
                        self._ping(self._config.timeouts.connect, is_probe=False)
                        await self._answered.wait()
                        self._answered = None
                    if self.error is not None:
                        raise self.error
                    # From here on it ends by the event, or by the peer.
                    nursery.cancel_scope.shield = self.is_open = True
                    if not self.ending:
                        user.opened()
                    await self._keep_time(user)
                    if self.error is None:
                        await self._say_goodbye(websocket)
                    if nursery.child_tasks:
                        nursery.cancel_scope.cancel(reason="the WebSocket is closed")
        except Exception as error:  # noqa: BLE001 - sorted by explain; what it does not know is logged there
            cause = self.error or self._explain(error)
            if cause is not error and cause.__cause__ is None:
                cause.__cause__ = telling_cause(error)
            self.abandon(cause)
            if not self.is_open:
                raise cause from cause.__cause__
        finally:
            self.ending = True
            self._nursery = None
            try:
                if self._websocket is not None and not self._websocket.stream.close_now():
                    await trio.aclose_forcefully(self._websocket.stream)
            finally:
                self._websocket = self._user = None  # which hold this object: no cycle is left to the collector

    def _over(self, stream: trio.abc.Stream) -> FramedConnection:
        return FramedConnection(stream, on_message=self._take, on_pong=self._pong)

    async def _shake_hands(self, websocket: FramedConnection) -> None:
        url = urlsplit(self._config.base_url)
        key = self._config.api_key.encode("ascii")
        headers = [(b"xi-api-key", key), (b"user-agent", USER_AGENT.encode("ascii"))]
        answer = await websocket.shake_hands(url.netloc, url.path.rstrip("/") + self._path, headers)
        self.trace_id = trace_id(answer)

    def _explain(self, error: Exception) -> TTSError:
        return explain(error, self._config, self._websocket and self._websocket.stream)

    @trio.lowlevel.enable_ki_protection
    async def _read(self, websocket: FramedConnection) -> None:
        try:
            await websocket.read()
        except Exception as error:
            self.abandon(self._explain(error))  # before anybody writes to a socket that nobody reads
            raise
        self._lose()  # before a writer that fails in the same turn, and knows less of the cause
        if self.error is not None:
            raise self.error

    def _take(self, message: str | bytes) -> None:
        assert self._websocket is not None
        assert self._user is not None
        self.written = self._websocket.stream.written_before
        if self.error is None:  # behind a message in fragments that is no text there may be others
            try:
                self._user.received(message)
            except Exception as error:  # noqa: BLE001 - logged there
                self.abandon(self._explain(error))
        if self.error is not None:
            raise self.error
        self._messages += 1

    # A frame is written in the turn of the loop in which it was handed over, if the stream can take it without waiting.
    # Where it cannot, a writer waits for it, and for the frames behind it. It ends when none is left.

    def _send(self, *messages: str, more: bool) -> None:
        self._outbox += [client_frame(WHOLE_TEXT, message.encode()) for message in messages]
        self.sent += len(messages)
        if not more:
            self._flush()

    def _flush(self) -> None:
        """Write what can be written at once, and start a writer for the rest, unless there is one."""
        if self._writing or self._websocket is None or self._nursery is None:  # not open yet
            return
        if self._websocket.send_now(self._outbox):
            self._outbox.clear()
        if self._outbox or self._websocket.stream.unsent:
            self._writing = True
            self._nursery.start_soon(self._write, self._websocket)

    @trio.lowlevel.enable_ki_protection
    async def _write(self, websocket: FramedConnection) -> None:
        try:
            while not self.ending and (self._outbox or websocket.stream.unsent):
                self._writing_since = trio.current_time()
                await websocket.send_frame(self._outbox.pop(0) if self._outbox else b"")
                self._writing_since = math.inf
            self._writing = False
        except trio_websocket.ConnectionClosed:
            self._lose()

    def _lose(self) -> None:
        """Lose the socket because the peer ended it."""
        closed = self._websocket and self._websocket.closed
        if closed is None:
            self.abandon(TTSConnectionError("the connection was lost", trace_id=self.trace_id))
        else:
            self.abandon(classify(closed.reason, close_code=closed.code, trace_id=self.trace_id))

    # The task that owns the socket keeps the time, too: that of its own pings, and of what else is to be done on it.

    async def _keep_time(self, user: SocketUser) -> None:
        """Do what is due when it is due, until the socket ends."""
        self._next_ping = trio.current_time() + self._config.ping_interval
        while not self.ending:
            stood_still = await self._timer.wait(self._next_deadline())
            self._pings.put_off(stood_still)
            if self._next_ping <= trio.current_time():
                self._next_ping = trio.current_time() + self._config.ping_interval
                self._ping(self._config.timeouts.ping, is_probe=False)
            await self._judge_pings()
            if not self.ending:
                await user.do_what_is_due()

    def _next_deadline(self) -> float:
        assert self._user is not None
        deadline = min(self._next_ping, self._user.due())
        if self._pings.waiting:
            deadline = min(deadline, trio.current_time() + TICK, self._pings.overdue_at())
        return deadline

    def _ping(self, timeout: float, *, is_probe: bool) -> None:
        """Send a ping that is to be answered in so many seconds."""
        now = trio.current_time()
        payload = self._pings.add(now, timeout, self._messages, is_probe=is_probe)
        self._outbox.append(client_frame(PING, payload))
        self._flush()
        self._timer.bring_forward(now + min(TICK, timeout))

    def _pong(self, payload: bytes) -> None:
        if self._pings.answer(payload):
            if self._answered is not None:
                self._answered.set()
            self._timer.put_off(self._next_deadline())

    async def _judge_pings(self) -> None:
        """Lose the socket where a pong is overdue."""
        if self._pings.overdue_at() > trio.current_time():
            return
        for ping in [ping for ping in self._pings.waiting if ping.overdue_at <= trio.current_time()]:
            if not await has_expired(partial(self._overdue_since, ping)):
                continue
            if not ping.is_probe:
                says = f"a ping within {self._config.timeouts.ping:g} s"
            # A peer that sends may yet read nothing: then what is written to it stays in the pipe.
            elif self._messages == ping.messages or self._writing_since <= ping.since:
                says = f"a probe within {_PROBE_TIMEOUT:g} s"
            else:
                self._pings.waiting.remove(ping)
                continue
            self.abandon(TTSConnectionError(f"the service did not answer {says}"))

    def _overdue_since(self, ping: Ping) -> float:
        return ping.overdue_at if ping in self._pings.waiting and not self.ending else math.inf

    async def _say_goodbye(self, websocket: FramedConnection) -> None:
        last = b"" if self._goodbye is None else client_frame(WHOLE_TEXT, self._goodbye.encode())
        with trio.move_on_after(self._config.timeouts.close), suppress(trio_websocket.ConnectionClosed):
            await websocket.close(last)
