"""`HotSocket`: one WebSocket, kept hot, and the utterances on it, one or several, each over a `Connection`."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable

import trio

from tts_trio._nurseries import single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.formats import AudioClock
from tts_trio.errors import TTSConnectionError, TTSError, unexpected
from tts_trio.errors.classification import classify
from tts_trio.transport.connection import Connection, is_silence
from tts_trio.transport.dialling import DialTurn
from tts_trio.transport.lateness import has_passed
from tts_trio.transport.streams import OpenStream
from tts_trio.wire import endpoint_for
from tts_trio.wire.context import Context
from tts_trio.wire.events import AudioReceived, ErrorReceived, Event, Final, Unreadable, decode

logger = logging.getLogger(__name__)

_LONGEST_REST = 60.0  # seconds that the service may go on to speak what was interrupted
_LONGEST_SILENCE = 1.0  # seconds of the clip that a blank may give


class HotSocket:
    """A WebSocket of a conversation. It offers a `Connection` as long as it can take another utterance.

    At the service an utterance holds its slot until its final has come, interrupted or not; what comes meanwhile of one
    that was interrupted goes to nobody.

    Attributes:
        began: When its dial began, in seconds of trio's clock.
        dialling: It is not hot yet.
        hot_since: When it became hot, in seconds of trio's clock; infinity before.
        keep_alives: How many keep-alives were sent.
        served: Whether an utterance was begun on it.
    """

    def __init__(
        self,
        config: TTSConfig,
        open_stream: OpenStream,
        *,
        on_hot: Callable[[HotSocket], None],
        on_slot: Callable[[], None],
        on_old: Callable[[HotSocket], None],
    ) -> None:
        """Prepare a socket; nothing is dialled yet.

        Args:
            config: Where to and how.
            open_stream: Opens the byte stream.
            on_hot: Called when it can serve its first utterance.
            on_slot: Called when it takes, or takes no more, another utterance.
            on_old: Called when it is idle and wants to be replaced, before the service, or a middlebox, closes it.
        """
        self.began = math.inf
        self.dialling = True
        self.keep_alives = 0
        self.served = False
        self._config = config
        self._on_hot = on_hot
        self._on_slot = on_slot
        self._on_old = on_old
        self._endpoint = endpoint_for(config)
        self._ids = map(str, itertools.count(1))
        self._offered: Connection | None = None
        self._connections: dict[str | None, Connection] = {}  # by context: those that hold a slot
        self._begun: set[str | None] = set()  # all contexts that there were
        self._distrust: TTSError | None = None
        self._told_old = False
        self.hot_since = math.inf
        self._last_frame = math.inf
        self._timer = trio.CancelScope()
        from tts_trio.transport.websocket import (
            WebSocket,  # loaded late: trio-websocket is a third of the cost of `import trio`
        )

        self._websocket = WebSocket(config, self._endpoint.path(), open_stream=open_stream, on_message=self._receive)

    def __repr__(self) -> str:
        state = "dialling" if self.dialling else "ending" if self._websocket.ending else "open"
        return f"<HotSocket {state}, {len(self._connections)} contexts, {self.keep_alives} keep-alives>"

    @property
    def error(self) -> TTSError | None:
        """Why it was lost, or None."""
        return self._websocket.error

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, it can take another utterance now."""
        return self._offered is not None and not self._websocket.ending and not self._websocket.stuck

    @property
    def is_open(self) -> bool:
        """Whether the service is reached over it."""
        return not self.dialling and not self._websocket.ending

    @property
    def utterances(self) -> int:
        """How many go on over it."""
        return sum(connection.state == "in use" for connection in self._connections.values())

    @property
    def trace_id(self) -> str | None:
        """The service's id of it, from the handshake; None where it gave none."""
        return self._websocket.trace_id

    @property
    def offered(self) -> Connection | None:
        """The connection for the next utterance; None where it takes no more."""
        return self._offered

    def hot_for(self) -> float:
        """Return how long ago it became hot, in seconds; 0 if it never did."""
        return max(0.0, trio.current_time() - self.hot_since)

    def give_out(self) -> Connection:
        """Give the connection that it offers to an utterance; it is not offered again."""
        connection = self._offered
        assert connection is not None
        self._offered = None
        self._told_old = False
        self.served = True
        connection.state = "in use"
        self._connections[connection.context.context_id] = connection
        self._begun.add(connection.context.context_id)
        if self._endpoint.begins_early:
            connection.write(connection.context.begin())
        self._offer()
        return connection

    def close(self, reason: TTSError | None = None) -> None:
        """End it: an idle one says goodbye to the service; one in use just closes, which interrupts the speech.

        Args:
            reason: Told to the utterances that go on over it.
        """
        self._websocket.close(None if self._connections else self._endpoint.goodbye)
        self._lose_connections(reason or TTSConnectionError("the connection was closed"))

    async def run(self, turn: DialTurn) -> None:
        """Dial it and keep it until it ends.

        Args:
            turn: The turn to dial; it ends with the dial.

        Raises:
            TTSError: It never became hot.
        """
        self.began = trio.current_time()
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    first = self._new_connection() if self._endpoint.contexts == 1 else None
                    frames = [] if first is None else first.context.begin()
                    await self._websocket.run(turn, frames, lambda: self._opened(nursery, first))
                    nursery.cancel_scope.cancel(reason="the connection has ended")
        finally:
            self.dialling = False
            self._lose_connections(self.error or TTSConnectionError("the connection was closed"))

    # For its connections.

    def write(self, connection: Connection, frames: list[str]) -> None:
        """Write frames of a connection."""
        connection.last_frame = self._last_frame = trio.current_time()
        for frame in frames:
            self._websocket.send(frame)
        self._set_timer()

    def rely_on(self) -> None:
        """Find out in the background whether anybody is there, now that something depends on it."""
        self._websocket.rely_on()

    def released(self, connection: Connection) -> None:
        """Take note that an utterance is done with its connection; its slot is free when the service says so."""
        connection.ended_at = connection.given_up_at = trio.current_time()
        if connection is self._offered:
            self._withdraw()
        elif self._endpoint.contexts == 1:
            self._websocket.close()
        elif connection.context.open:
            self._websocket.rely_on()  # the next turn is near, and comes over it: is there anybody?
        else:
            self._free(connection)
        if self._distrust is not None and not self.utterances:
            self._websocket.lose(self._distrust)
        self._set_timer()

    def distrust(self, error: TTSError) -> None:
        """Give no more utterances to it; it ends, for this reason, with those that go on over it."""
        self._distrust = error
        self._offered = None
        if self.utterances:
            self._on_slot()
        else:
            self._websocket.lose(error)

    # Its life.

    def _new_connection(self) -> Connection:
        context_id = None if self._endpoint.contexts == 1 else next(self._ids)
        return Connection(self, Context(self._endpoint, context_id))

    def _opened(self, nursery: trio.Nursery, first: Connection | None) -> None:
        self.dialling = False
        self.hot_since = self._last_frame = trio.current_time()
        self._offered = first or self._new_connection()
        self._offered.last_frame = self.hot_since
        nursery.start_soon(self._keep_time)
        self._on_hot(self)

    def _offer(self) -> None:
        room = 1 < self._endpoint.contexts > len(self._connections)
        if self._offered is None and room and self._distrust is None and not self._websocket.ending:
            self._offered = self._new_connection()
            self._on_slot()

    def _withdraw(self) -> None:
        """What was offered was closed instead of being taken."""
        if self._endpoint.contexts == 1:
            self.close()
        else:
            self._offered = None
            self._offer()

    def _free(self, connection: Connection) -> None:
        """The service has closed a context: its slot can be used again."""
        if self._connections.pop(connection.context.context_id, None) is not None:
            self._offer()

    def _lose_connections(self, error: TTSError) -> None:
        offered, self._offered = self._offered, None
        for connection in [offered, *self._connections.values()]:
            if connection is not None:
                connection.lost(error)

    def _set_timer(self) -> None:
        self._timer.deadline = self._due()

    @trio.lowlevel.enable_ki_protection
    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._due()) as self._timer:
                await trio.sleep_forever()
            await has_passed(self._lost_slot_at)
            try:
                self._do_what_is_due(trio.current_time())
            except Exception as error:
                logger.exception("the timer of a connection failed")
                return self._websocket.lose(unexpected("connection", error))

    def _due(self) -> float:
        waiting = self._waiting_for_text()
        keep_alive = min((c.last_frame for c in waiting), default=math.inf) + self._config.keep_alive_interval
        return min(keep_alive, self._old_at(), self._lost_slot_at())

    def _waiting_for_text(self) -> list[Connection]:
        offered = [] if self._offered is None else [self._offered]
        return [c for c in [*offered, *self._connections.values()] if c.context.takes_text]

    def _old_at(self) -> float:
        """When it is to be replaced: for its age, or because the service may close it, there being no context."""
        if self._told_old or self.utterances:
            return math.inf
        idle = self._endpoint.idle_seconds
        idle_at = self._last_frame + max(idle / 2, idle - self._config.connect_timeout)
        return min(self.hot_since + self._config.spare_lifetime, idle_at)

    def _lost_slot_at(self) -> float:
        """When a slot, whose final did not come, is taken for lost, and the socket with it."""
        if self._distrust is not None:
            return math.inf
        return min((c.ended_at for c in self._connections.values()), default=math.inf) + self._config.reply_deadline

    def _do_what_is_due(self, now: float) -> None:
        if self._old_at() <= now:
            self._told_old = True
            self._on_old(self)
        if self._lost_slot_at() <= now:
            self.distrust(TTSConnectionError("the service did not report the end of an interrupted utterance"))
        for connection in self._waiting_for_text():
            if connection.last_frame + self._config.keep_alive_interval <= now:
                self.keep_alives += 1
                connection.keep_alive()

    # What the service says.

    def _receive(self, message: str | bytes) -> None:
        for event in decode(message):
            self._receive_event(event)

    def _receive_event(self, event: Event) -> None:
        # Where the socket is one context, it is not named.
        context_id = event.context_id if self._endpoint.contexts > 1 else None
        connection = self._connections.get(context_id)
        if context_id not in self._begun and self._is_unasked(event):
            self.distrust(TTSConnectionError("the service sent something that nobody had asked for"))
            return
        match event:
            case ErrorReceived():
                error = classify(
                    event.message,
                    codes=(event.code,),
                    close_code=event.close_code,
                    field=event.param,
                    trace_id=self.trace_id,
                )
                if context_id is None:
                    self._websocket.lose(error)  # it closes about 0.8 s later: no need to wait for that
                elif context_id not in self._begun:
                    self.distrust(error)
                elif connection is None:  # if the socket was meant, the service closes it
                    logger.warning("the service complained of an utterance that had ended: %s", error)
                else:
                    connection.context.final_received()
                    connection.lost(error)
                    self.distrust(error)
            case Unreadable():
                logger.warning("skipped a frame of the service: %s", event.reason)
            case AudioReceived():
                if connection is not None and not connection.context.asked and self._is_unasked(event):
                    error = TTSConnectionError("the service sent sound before it had text")
                    connection.context.final_received()
                    connection.lost(error)
                    self.distrust(error)
                elif connection is not None:
                    if connection.state == "ended":  # its slot is not lost: the rest of it is still being spoken
                        connection.ended_at = min(trio.current_time(), connection.given_up_at + _LONGEST_REST)
                    connection.received(event)
            case Final():
                if connection is not None:
                    connection.received(event)
                    if connection.state == "ended":
                        self._free(connection)
                        self._set_timer()

    def _is_unasked(self, event: Event) -> bool:
        """Whether an event without text before it is more than the silence of a blank, which may come without times."""
        match event:
            case AudioReceived():
                clip = AudioClock(self._config.format)
                clip.feed(event.audio)
                timed = event.alignment is not None or event.normalized_alignment is not None
                return not is_silence(event) if timed else clip.seconds > _LONGEST_SILENCE
            case Final():
                return True
            case _:
                return False
