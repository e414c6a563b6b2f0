"""One WebSocket: dial, read always, write whole frames, ping, close in bounded time.

`framing.py` does the framing, by trio-websocket where it needs that. It bounds nothing: a peer may stay silent in the
handshake and behind a Close frame, and a send that is cancelled tears a frame. So one task owns the socket, in scopes
that no user's cancellation reaches. It reads always, and its reading ends when something is due. Closing ends the
reading too, and is a bounded wait. A frame is written at once, without waiting, or where the socket does not take it,
by a writer that no cancellation tears.
"""

from __future__ import annotations

import math
from contextlib import suppress
from urllib.parse import urlsplit

import trio
import trio_websocket

from tts_trio._nurseries import telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.errors.classification import classify
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.frames import PING, PONG, WHOLE_TEXT, Pinged, Pong, client_frame
from tts_trio.transport.framing import FramedConnection
from tts_trio.transport.handshake import explain, trace_id
from tts_trio.transport.pings import Pings
from tts_trio.transport.protocols import SocketUser
from tts_trio.transport.streams import USER_AGENT, OpenStream
from tts_trio.transport.timers import TICK, Timer, has_expired

_PROBE_TIMEOUT = 1.0  # a pong takes one round trip; what does not come in so long is not on its way
_STUCK_SECONDS = 0.1  # a frame is written in no time, unless the peer does not read


class WebSocket:
    """One WebSocket to the service. `dial` and `serve` are its life, from beginning to end; all else is immediate.

    Attributes:
        is_open: Whether the socket ever became hot.
        ending: Whether it was lost, or told to close: nothing more is written to it.
        trace_id: The service's id of the connection (`x-trace-id` of the handshake), if it gave one.
        error: Why the socket ended, if not by `close`.
        sent: How many messages were handed over to be written, the first ones included.
        written: How many of these had begun to be written when the message that is being handed on came.
    """

    __slots__ = (
        "_answered", "_config", "_goodbye", "_heard_at", "_messages", "_now", "_nursery", "_open_stream", "_outbox",
        "_path", "_pings", "_timer", "_user", "_websocket", "_writer", "_writing_since", "ending", "error", "is_open",
        "sent", "trace_id", "written",
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
        self._writer: trio.CancelScope | None = None
        self._answered = False  # whether a pong has come
        self.ending = False
        self._goodbye: str | None = None
        self._timer = Timer()
        self._pings = Pings(config.ping_interval)
        self._messages = 0  # that came
        self._heard_at = -math.inf  # when the last of them came
        self._now = trio.lowlevel.current_clock().current_time  # which `trio.current_time` calls
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
            self.ending = True
            self._stop_reading()

    def abandon(self, error: TTSError) -> None:
        """Lose the socket, for this reason. Never blocks; only the first reason counts."""
        if not self.ending:
            self.error, self.ending = error, True
            self._stop_reading()

    async def dial(self, turn: DialTurn, user: SocketUser, nursery: trio.Nursery) -> None:
        """Dial, until the socket is hot. Call `serve` next, with no checkpoint in between.

        Args:
            turn: The turn to dial, which ends with the dial.
            user: What is told of all that comes.
            nursery: The nursery of the tasks that watch the dial, and that write. It stays open as long as the socket.

        Raises:
            TTSError: It did not become hot.
        """
        self._user = user
        try:
            with turn.limited(self._config.timeouts.connect, nursery):
                websocket = self._websocket = FramedConnection(await self._open_stream(self._config), self)
                await self._shake_hands(websocket)
                self._nursery = nursery
                self._send(*user.first_messages(), more=True)
                self._ping(self._config.timeouts.connect, is_probe=False)
                while not self._answered and self.error is None:
                    with self._timer.scope(math.inf):
                        await self._read(websocket)
            if self.error is not None:
                raise self.error
            self.is_open = True
        except Exception as error:  # noqa: BLE001 - sorted by explain; what it does not know is logged there
            cause = self._fail(error)
            raise cause from cause.__cause__
        finally:
            if not self.is_open:
                await self._drop()  # noqa: ASYNC102 - shielded there

    async def serve(self) -> None:
        """Own the hot socket until it is closed or lost; `error` tells why."""
        websocket, user = self._websocket, self._user
        assert websocket is not None
        assert user is not None
        try:
            if not self.ending:
                user.opened()
            while not self.ending:
                with self._timer.scope(self._next_deadline(), shield=True):
                    await self._read(websocket)
                self._pings.put_off(self._timer.late())
                if self._overdue_at() <= trio.current_time():
                    await self._judge(websocket, user)
                if self._pings.is_due(trio.current_time(), -math.inf if self.stuck else self._heard_at):
                    self._ping(self._config.timeouts.ping, is_probe=False)
                if not self.ending:
                    user.do_what_is_due()
            if self.error is None:
                await self._say_goodbye(websocket)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            await self._drop()  # noqa: ASYNC102 - shielded there

    async def _drop(self) -> None:
        """Let go of the stream, and of all that holds this object: no cycle is left to the collector."""
        self.ending = True
        websocket, self._websocket = self._websocket, None
        self._nursery = self._user = None
        if self._writer is not None:
            self._writer.cancel(reason="the WebSocket is closed")
        if websocket is not None:
            await websocket.drop()

    async def _shake_hands(self, websocket: FramedConnection) -> None:
        url = urlsplit(self._config.base_url)
        key = self._config.api_key.encode("ascii")
        headers = [(b"xi-api-key", key), (b"user-agent", USER_AGENT.encode("ascii"))]
        answer = await websocket.shake_hands(url.netloc, url.path.rstrip("/") + self._path, headers)
        self.trace_id = trace_id(answer)

    def _fail(self, error: Exception) -> TTSError:
        """Lose the socket by an error, and return the reason."""
        cause = self.error or explain(error, self._config, self._websocket and self._websocket.stream)
        if cause is not error and cause.__cause__ is None:
            cause.__cause__ = telling_cause(error)
        self.abandon(cause)
        return cause

    @trio.lowlevel.enable_ki_protection
    async def _read(self, websocket: FramedConnection) -> None:
        """Read until the socket is ending, or lost. Where that was cancelled, call it again, and nothing is missing."""
        try:
            await websocket.read()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        self._lose()  # before a writer that fails in the same turn, and knows less of the cause

    def _stop_reading(self) -> None:
        """End the reading: behind what is handed on just now, without the cost of a cancellation; else by the timer."""
        if self._websocket is not None and not self._websocket.stream.stop():
            self._timer.fire()

    # For its stream.

    def take(self, message: str | bytes) -> None:
        """Act on a message."""
        assert self._websocket is not None
        assert self._user is not None
        self.written = self._websocket.stream.written_before
        if self.error is None:  # behind a message in fragments that is no text there may be others
            try:
                self._user.received(message)
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)
        if self.error is not None:
            raise self.error
        self._messages += 1
        self._heard_at = self._now()

    def take_control(self, frame: Pinged | Pong) -> None:
        """Act on a ping, or on the answer to one."""
        if isinstance(frame, Pinged):
            if self._outbox and self._outbox[-1][0] == PONG:  # where a peer reads nothing: one will do
                self._outbox.pop()
            self._put(PONG, frame.payload)
        elif self._pings.answer(frame.payload):
            if not self._answered:
                self._answered = True
                self._timer.fire()  # what has come behind the pong is taken first: the peer may refuse
            elif self._user is not None:
                self._timer.put_off(self._next_deadline())

    # A frame is written in the turn of the loop in which it was handed over, if the stream can take it without waiting.
    # Where it cannot, a writer waits for it, and for the frames behind it. It ends when none is left.

    def _put(self, first: int, payload: bytes) -> None:
        """Send a control frame; a socket that is ending drops it."""
        if not self.ending:
            self._outbox.append(client_frame(first, payload))
            self._flush()

    def _send(self, *messages: str, more: bool) -> None:
        self._outbox += [client_frame(WHOLE_TEXT, message.encode()) for message in messages]
        self.sent += len(messages)
        if not more:
            self._flush()

    def _flush(self) -> None:
        """Write what can be written at once, and start a writer for the rest, unless there is one."""
        if self._writer is not None or self._websocket is None or self._nursery is None:  # not open yet
            return
        if self._websocket.send_now(self._outbox):
            self._outbox.clear()
        if self._outbox or self._websocket.stream.unsent:
            self._writer = trio.CancelScope(shield=True)
            self._nursery.start_soon(self._write, self._websocket, self._writer)

    @trio.lowlevel.enable_ki_protection
    async def _write(self, websocket: FramedConnection, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while not self.ending and (self._outbox or websocket.stream.unsent):
                    self._writing_since = trio.current_time()
                    await websocket.send_frame(self._outbox.pop(0) if self._outbox else b"")
                    self._writing_since = math.inf
        except trio_websocket.ConnectionClosed:
            self._lose()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            self._writer = None

    def _lose(self) -> None:
        """Lose the socket because the peer ended it."""
        closed = self._websocket and self._websocket.closed
        if closed is None:
            self.abandon(TTSConnectionError("the connection was lost", trace_id=self.trace_id))
        else:
            self.abandon(classify(closed.reason, close_code=closed.code, trace_id=self.trace_id))

    def _next_deadline(self) -> float:
        assert self._user is not None
        deadline = min(self._pings.due_at, self._user.due())
        if self._pings.waiting:
            deadline = min(deadline, trio.current_time() + TICK, self._pings.overdue_at())
        return deadline

    def _overdue_at(self) -> float:
        if self.ending or self._user is None:
            return math.inf
        return min(self._pings.overdue_at(), self._user.overdue_at())

    def _ping(self, timeout: float, *, is_probe: bool) -> None:
        """Send a ping that is to be answered in so many seconds."""
        now = trio.current_time()
        payload = self._pings.add(now, timeout, self._messages, is_probe=is_probe)
        self._put(PING, payload)
        self._timer.bring_forward(now + min(TICK, timeout))

    async def _judge(self, websocket: FramedConnection, user: SocketUser) -> None:
        """Lose the socket where the peer is late, by all that had come by now. Another task reads meanwhile."""
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(self._read, websocket)
            is_late = await has_expired(self._overdue_at)
            nursery.cancel_scope.cancel(reason="it was judged")
        if not is_late:
            return
        ping = self._pings.unanswered(now, self._messages, self._writing_since)
        if ping is not None:
            kind, seconds = ("probe", _PROBE_TIMEOUT) if ping.is_probe else ("ping", self._config.timeouts.ping)
            self.abandon(TTSConnectionError(f"the service did not answer a {kind} within {seconds:g} s"))
        if not self.ending and user.overdue_at() <= now:
            user.give_up()

    async def _say_goodbye(self, websocket: FramedConnection) -> None:
        last = b"" if self._goodbye is None else client_frame(WHOLE_TEXT, self._goodbye.encode())
        with trio.move_on_after(self._config.timeouts.close, shield=True), suppress(trio_websocket.ConnectionClosed):
            await websocket.close(last)
            await self._read(websocket)
