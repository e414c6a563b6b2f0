"""One WebSocket: dial, read always, write whole frames, ping, close in bounded time.

trio-websocket does the framing; it is used here and nowhere else, and defensively. Its connect timeout does not fire
when the peer stays silent, a cancelled send tears a frame, closing can hang, and its defaults are 4 KiB reads and 1 MiB
messages. So one task owns the socket, in a scope that no user's cancellation reaches: it reads always, one writer
writes whole frames, and closing is an event and a bounded wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import attrs
import trio
import trio_websocket

from tts_trio._nurseries import single_error, telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.errors.classification import classify
from tts_trio.errors.redaction import guarded_logger, redact
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.framing import FramedConnection
from tts_trio.transport.handshake import HandshakeStream, explain
from tts_trio.transport.streams import USER_AGENT, OpenStream
from tts_trio.transport.timers import TICK, Timer, has_expired

logger = guarded_logger(__name__)

_PROBE_TIMEOUT = 1.0  # a pong takes one round trip; what does not come in so long is not on its way
_STUCK_SECONDS = 0.1  # a frame is written in no time, unless the peer does not read


@attrs.define(eq=False)
class _Ping:
    """A ping that is not answered yet.

    Attributes:
        payload: What its pong will name.
        since: When it was sent.
        messages: How many messages had come then.
        overdue_at: When its pong is overdue; later, where the loop stood still.
        is_probe: Whether any message will do for the pong.
    """

    payload: bytes
    since: float
    messages: int
    overdue_at: float
    is_probe: bool


class WebSocket:
    """One WebSocket to the service, from its dialing to its end. `run` is its life; everything else is immediate.

    Attributes:
        is_open: Whether the socket ever became hot.
        trace_id: The service's id of the connection (`x-trace-id` of the handshake), if it gave one.
        error: Why the socket ended, if not by `close`.
        closed: An event that is set when nothing of the socket is left.
        sent: How many messages were handed over to be written, the first ones included.
        written: How many of these had begun to be written when the message that is being handed on came.
    """

    def __init__(
        self,
        config: TTSConfig,
        path: str,
        *,
        open_stream: OpenStream,
        on_message: Callable[[str | bytes], None],
        due: Callable[[], float],
        on_due: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare a WebSocket; nothing is dialed yet.

        Args:
            config: The host, the key and the timeouts.
            path: The path and query, below the base URL.
            open_stream: A function that opens the byte stream.
            on_message: A function that is called with each message as it comes; it must not block.
            due: A function that returns when something is to be done on the open socket, in seconds of trio's clock.
                After it has become earlier, `reset_timer` is to be called.
            on_due: A function that does it.
        """
        self.is_open = False
        self.trace_id: str | None = None
        self.error: TTSError | None = None
        self.closed = trio.Event()
        self.sent = self.written = 0
        self._config = config
        self._path = path
        self._open_stream = open_stream
        self._on_message = on_message
        self._due = due
        self._on_due = on_due
        self._outbox: list[str | _Ping] = []  # as below: short, and a deque takes 600 bytes even where it is empty
        self._writer = trio.lowlevel.ParkingLot()
        self._closing = False
        self._goodbye: str | None = None
        self._timer = Timer(self._next_deadline)
        self._next_ping = math.inf
        self._pings = 0
        self._unanswered: list[_Ping] = []
        self._messages = 0  # that came
        self._writing_since = math.inf

    @property
    def ending(self) -> bool:
        """Whether it was lost, or told to close: nothing more is written to it."""
        return self._closing

    @property
    def stuck(self) -> bool:
        """Whether a frame waits to be written because the peer does not read."""
        return trio.current_time() > self._writing_since + _STUCK_SECONDS

    def send(self, message: str) -> None:
        """Hand a message to the writer. Never blocks; a message for a socket that is ending is dropped."""
        if not self._closing:
            self.sent += 1
            self._write_soon(message)

    def probe(self) -> None:
        """Find out whether the socket is half-open. Never blocks.

        A ping is sent. The socket is lost if neither its pong nor any message comes within a second, or if nothing
        could be written for so long.
        """
        if not self._closing:
            self._ping(_PROBE_TIMEOUT, is_probe=True)

    def reset_timer(self) -> None:
        """Set the timer earlier, if something is due before it fires; on a socket that is ending nothing is."""
        if not self._closing:
            self._timer.reset()

    def close(self, goodbye: str | None = None) -> None:
        """Begin to close, politely and in bounded time. Never blocks; only the first call counts.

        Args:
            goodbye: A last message, which is written before the Close frame.
        """
        if not self._closing:
            self._goodbye = goodbye
            self._end()

    def abandon(self, error: TTSError) -> None:
        """Lose the socket, for this reason. Never blocks; only the first reason counts."""
        if not self._closing:
            self.error = error
            self._end()

    def _end(self) -> None:
        self._closing = True
        self._timer.fire()

    async def run(self, turn: DialTurn, first_messages: Iterable[str], on_open: Callable[[], None]) -> None:
        """Dial, then own the socket until it is closed or lost.

        Args:
            turn: The turn to dial, which ends with the dial.
            first_messages: The messages that are written as soon as the socket is open.
            on_open: A function that is called when the socket is hot: the first messages are written, and a pong has
                come back.

        Raises:
            TTSError: It never became hot. What happens later is in `error`.
        """
        stream: HandshakeStream | None = None
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    async with turn.limited(self._config.timeouts.connect):
                        stream = HandshakeStream(await self._open_stream(self._config))
                        websocket = await self._upgrade(nursery, stream)
                        for message in first_messages:
                            self.sent += 1
                            await websocket.send_message(message)
                        await websocket.ping()
                    if self.error is not None:
                        raise self.error
                    # From here on it ends by the event, or by the peer.
                    nursery.cancel_scope.shield = self.is_open = True
                    if not self.ending:
                        on_open()
                    nursery.start_soon(self._write, websocket)
                    await self._keep_time()
                    if self.error is None:
                        await self._say_goodbye(websocket)
                    nursery.cancel_scope.cancel(reason="the WebSocket is closed")
        except Exception as error:  # noqa: BLE001 - sorted by explain; what it does not know is logged there
            cause = self.error or explain(error, self._config, stream)
            if cause is not error and cause.__cause__ is None:
                cause.__cause__ = telling_cause(error)
            self.abandon(cause)
            if not self.is_open:
                raise cause from cause.__cause__
        finally:
            self._closing = True
            try:
                if stream is not None:
                    await trio.aclose_forcefully(stream)
            finally:
                self.closed.set()

    async def _upgrade(self, nursery: trio.Nursery, stream: HandshakeStream) -> FramedConnection:
        url = urlsplit(self._config.base_url)

        def take(message: str | bytes) -> None:
            self.written = stream.written_before
            if self.error is None:  # behind a message in fragments that is no text there may be others
                try:
                    self._on_message(message)
                except Exception as error:  # noqa: BLE001 - logged there
                    self.abandon(explain(error, self._config, stream))
            if self.error is not None:
                raise self.error
            self._messages += 1

        websocket = FramedConnection(
            stream,
            url.netloc,
            url.path.rstrip("/") + self._path,
            [
                (b"xi-api-key", self._config.api_key.encode("ascii")),
                (b"user-agent", USER_AGENT.encode("ascii")),
            ],
            on_message=take,
            on_pong=self._pong,
            on_close=lambda: self._lose(websocket),
        )
        nursery.start_soon(self._read, websocket)
        await websocket.wait_open()
        stream.established = True
        self.trace_id = next(
            (redact(value.decode("latin-1")) for name, value in websocket.handshake_headers if name == b"x-trace-id"),
            None,
        )
        return websocket

    @trio.lowlevel.enable_ki_protection
    async def _read(self, websocket: FramedConnection) -> None:
        await websocket.read()
        self._lose(websocket)  # before a writer that fails in the same turn, and knows less of the cause
        if self.error is not None:
            raise self.error

    @trio.lowlevel.enable_ki_protection
    async def _write(self, websocket: FramedConnection) -> None:
        try:
            while not self._closing:
                if not self._outbox:
                    await self._writer.park()
                    continue
                message = self._outbox.pop(0)
                self._writing_since = trio.current_time()
                if isinstance(message, str):
                    await websocket.send_message(message)
                else:
                    await websocket.send_ping(message.payload)
                self._writing_since = math.inf
        except trio_websocket.ConnectionClosed:
            self._lose(websocket)

    def _write_soon(self, message: str | _Ping) -> None:
        self._outbox.append(message)
        self._writer.unpark()

    def _lose(self, websocket: FramedConnection) -> None:
        """Lose the socket because the peer ended it."""
        closed = websocket.closed
        if closed is None:
            self.abandon(TTSConnectionError("the connection was lost", trace_id=self.trace_id))
        else:
            self.abandon(classify(closed.reason, close_code=closed.code, trace_id=self.trace_id))

    # The task that owns the socket keeps the time, too: that of its own pings, and of what else is to be done on it.

    async def _keep_time(self) -> None:
        """Do what is due when it is due, until the socket ends."""
        self._next_ping = trio.current_time() + self._config.ping_interval
        while not self._closing:
            stood_still = await self._timer.wait()
            for ping in self._unanswered:
                ping.overdue_at += stood_still
            if self._next_ping <= trio.current_time():
                self._next_ping = trio.current_time() + self._config.ping_interval
                self._ping(self._config.timeouts.ping, is_probe=False)
            await self._judge_pings()
            if not self._closing:
                await self._on_due()

    def _next_deadline(self) -> float:
        deadline = min(self._next_ping, self._due())
        if self._unanswered:
            tick = trio.current_time() + TICK
            deadline = min(deadline, tick, *(ping.overdue_at for ping in self._unanswered))
        return deadline

    def _ping(self, timeout: float, *, is_probe: bool) -> None:
        """Send a ping that is to be answered in so many seconds."""
        self._pings += 1
        now = trio.current_time()
        ping = _Ping(self._pings.to_bytes(4), now, self._messages, now + timeout, is_probe)
        self._unanswered.append(ping)
        self._write_soon(ping)
        self._timer.reset()

    def _pong(self, payload: bytes) -> None:
        """Count the ping of this pong as answered, and all pings before it (RFC 6455, 5.5.3)."""
        if any(ping.payload == payload for ping in self._unanswered):
            while self._unanswered.pop(0).payload != payload:
                pass
            self._timer.put_off()

    async def _judge_pings(self) -> None:
        """Lose the socket where a pong is overdue."""
        for ping in [ping for ping in self._unanswered if ping.overdue_at <= trio.current_time()]:
            if not await has_expired(partial(self._overdue_since, ping)):
                continue
            if not ping.is_probe:
                says = f"a ping within {self._config.timeouts.ping:g} s"
            # A peer that sends may yet read nothing: then what is written to it stays in the pipe.
            elif self._messages == ping.messages or self._writing_since <= ping.since:
                says = f"a probe within {_PROBE_TIMEOUT:g} s"
            else:
                self._unanswered.remove(ping)
                continue
            self.abandon(TTSConnectionError(f"the service did not answer {says}"))

    def _overdue_since(self, ping: _Ping) -> float:
        return ping.overdue_at if ping in self._unanswered and not self._closing else math.inf

    async def _say_goodbye(self, websocket: FramedConnection) -> None:
        with trio.move_on_after(self._config.timeouts.close), suppress(trio_websocket.ConnectionClosed):
            if self._goodbye is not None:
                await websocket.send_message(self._goodbye)
            await websocket.aclose()
