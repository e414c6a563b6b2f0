"""`HotSocket`: one WebSocket, kept hot, and the utterances on it, one or several, each over a `Connection`."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from enum import Enum

import trio

from tts_trio.errors import TTSConnectionError, TTSError
from tts_trio.transport.connection import Connection
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.protocols import SocketOwner
from tts_trio.transport.slots import Slots
from tts_trio.transport.streams import OpenStream
from tts_trio.wire.blanks import is_unasked
from tts_trio.wire.endpoint import Endpoint
from tts_trio.wire.events import AudioReceived, ErrorReceived, Event, Final, Unreadable

logger = logging.getLogger(__name__)


class SocketState(Enum):
    """How far a socket is in its life."""

    DIALING = "dialing"
    HOT = "hot"
    AGING = "hot, and so old that another is dialed to take its place"
    RETIRING = "retiring: it takes no more utterances, and ends with the last of those that go on"
    ENDING = "ending"


_NEXT = {
    SocketState.DIALING: {SocketState.HOT},
    SocketState.HOT: {SocketState.AGING, SocketState.RETIRING},
    SocketState.AGING: {SocketState.HOT},
    SocketState.RETIRING: {SocketState.RETIRING, SocketState.HOT},
    SocketState.ENDING: set[SocketState](),
}
"""What may follow what. `ENDING` may follow anything: the WebSocket tells when it was closed, or lost."""

_SERVING = (SocketState.HOT, SocketState.AGING)


class HotSocket:
    """A WebSocket of a conversation. It offers a `Connection` as long as it can take another utterance.

    At the service an utterance holds its slot until its final has come, interrupted or not. Sound that still comes for
    an interrupted utterance is dropped.

    Attributes:
        began: When the dial began, in seconds of trio's clock; before, infinity.
        hot_since: When the socket became hot, in seconds of trio's clock; before, infinity.
        keep_alives: How many keep-alives were sent.
        slots: The contexts of the socket, and which utterance speaks over which.
    """

    __slots__ = (
        "_config", "_decode", "_endpoint", "_last_frame", "_owner", "_retired_for", "_state", "_websocket", "began",
        "hot_since", "keep_alives", "slots",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, open_stream: OpenStream, owner: SocketOwner) -> None:
        """Prepare a socket; nothing is dialed yet.

        Args:
            endpoint: The frames, with the configuration: the host, the voice, the key and the timeouts.
            open_stream: A function that opens the byte stream.
            owner: Whoever is told what becomes of the socket.
        """
        self.began = math.inf
        self.hot_since = math.inf
        self.keep_alives = 0
        self._state = SocketState.DIALING
        self._config = endpoint.config
        self._owner = owner
        self._endpoint = endpoint
        self.slots = Slots(endpoint)
        self._retired_for: TTSError | None = None
        self._last_frame = math.inf
        # Loaded late: trio-websocket is a third of the cost of `import trio`, and msgspec a tenth.
        from tts_trio.transport.websocket import WebSocket
        from tts_trio.wire.messages import decode

        self._decode = decode
        self._websocket = WebSocket(endpoint.config, endpoint.address, open_stream)

    def __repr__(self) -> str:
        return f"<HotSocket {self.state.name.lower()}, {len(self.slots)} contexts, {self.keep_alives} keep-alives>"

    @property
    def state(self) -> SocketState:
        """How far the socket is in its life."""
        return SocketState.ENDING if self._websocket.ending else self._state

    @property
    def error(self) -> TTSError | None:
        """The error that the socket was lost by; None where it was not lost."""
        return self._websocket.error

    @property
    def usable(self) -> bool:
        """Whether, by what is known here, it can take another utterance now."""
        return self.slots.idle is not None and not self._websocket.ending and not self._websocket.stuck

    @property
    def trace_id(self) -> str | None:
        """The service's id of the WebSocket, from the handshake; None where it gave none."""
        return self._websocket.trace_id

    def hot_for(self) -> float:
        """Return how long ago the socket became hot, in seconds; 0 if it never did."""
        return max(0.0, trio.current_time() - self.hot_since)

    def acquire(self, endpoint: Endpoint) -> Connection:
        """Take the idle connection for an utterance; another one is offered behind it, if there is room.

        Args:
            endpoint: The frames of the utterance. It is of the same kind as the socket's.
        """
        connection = self.slots.acquire(endpoint)
        if self._state is SocketState.AGING:
            self._go(SocketState.HOT)
        if self.slots.used_up:
            self._go(SocketState.RETIRING)
        self._offer()
        return connection

    def close(self, reason: TTSError | None = None) -> None:
        """Close the socket, an idle one with the endpoint's last frame; the speech of one in use is interrupted.

        Args:
            reason: The error of the utterances that go on over it.
        """
        self._websocket.close(None if len(self.slots) else self._endpoint.goodbye)
        self.slots.lose(reason or TTSConnectionError("the connection was closed"))

    def dial(self, turn: DialTurn, nursery: trio.Nursery) -> Awaitable[None]:
        """Dial the socket; `serve` is to follow with no checkpoint in between. The arguments are those of `WebSocket`.

        Raises:
            TTSError: It did not become hot.
        """
        self.began = trio.current_time()
        return self._websocket.dial(turn, self, nursery)

    def serve(self) -> Awaitable[None]:
        """Own the socket until it ends."""
        return self._websocket.serve()

    def let_go(self) -> None:
        """Fail the utterances that go on over the socket, which has ended."""
        self.slots.lose(self.error or TTSConnectionError("the connection was closed"))
        self.slots.clear()

    # For its connections.

    def write(self, frames: list[str], *, more: bool = False) -> int:
        """Write frames of a connection, and return the number of the last one; `more` as in `WebSocket.send`."""
        self._last_frame = trio.current_time()
        self._websocket.send(*frames, more=more)
        self._websocket.wake_by(self._last_frame + self._config.keep_alive_interval)  # a context may wait for text now
        return self._websocket.sent

    def probe(self) -> None:
        """Send a ping, in the background; the socket is lost if no answer comes."""
        self._websocket.probe()

    # For its WebSocket, as are `due`, `do_what_is_due`, `overdue_at`, `give_up` and `received`.

    def first_messages(self) -> list[str]:
        """Return the frames that are written as soon as the socket is open."""
        return self.slots.first_frames()

    def opened(self) -> None:
        """Offer the first connection."""
        self._go(SocketState.HOT)
        self.hot_since = self._last_frame = trio.current_time()
        self.slots.offer(self)
        self._owner.socket_hot(self.began)

    # How a slot becomes free. An utterance releases its connection when it was spoken, or interrupted. But at the
    # service its context holds one of the few slots of the socket until the service has reported its final. There are
    # five cases:
    #
    # 1. The connection was never acquired. The next context is offered in its place; if there can be none, the socket
    #    closes, with the last frame of the endpoint.
    # 2. The context was begun with the socket, and no text was sent for it: the utterance was interrupted before it had
    #    any, or said from memory. It is offered again.
    # 3. The socket retires, and this was its last utterance. It closes without that frame: `stream-input` would speak,
    #    and bill, the rest. A socket of `stream-input` ends like this, since it retires as soon as its only context is
    #    acquired.
    # 4. The final has not come. The slot stays taken; the final frees it (`_receive_event`), or, if it does not come,
    #    the socket retires (`overdue_at`). The next utterance will be spoken over this socket, and soon, so the
    #    socket is probed now.
    # 5. The final has come, or the service never knew the context. The slot is free.

    def release(self, connection: Connection) -> None:
        """Take a connection back from its utterance; its slot is free when the service says so."""
        if self.state is SocketState.ENDING:
            return
        if connection is self.slots.idle:
            self.slots.withdraw()
            if self.slots.used_up:
                self.close()
            else:
                self._offer()
        elif connection.context.is_as_begun and self._retired_for is None:
            self._go(SocketState.HOT)
            self.slots.offer_again(self, connection)
            self._owner.slot_changed()
        elif self.state is SocketState.RETIRING and not self.slots.utterances:
            self._end()
        elif connection.context.holds_slot:
            self.probe()
        else:
            self._free(connection)
        self._websocket.reset_timer()

    def retire(self, error: TTSError) -> None:
        """Take no more utterances, and end, for this reason, with the last of those that go on."""
        if self.state is SocketState.ENDING:
            return
        self._retired_for = error
        self.slots.withdraw()
        if self.slots.utterances:
            self._go(SocketState.RETIRING)
            self._owner.slot_changed()
        else:
            self._end()

    # Its life.

    def _go(self, state: SocketState) -> None:
        assert state in _NEXT[self.state], f"{self.state} -> {state}"
        self._state = state

    def _end(self) -> None:
        if self._retired_for is None:
            self._websocket.close()
        else:
            self._websocket.abandon(self._retired_for)

    def _offer(self) -> None:
        """Offer a connection for the next utterance, if none is offered; an utterance less is spoken in any case."""
        if self.state in _SERVING:
            self.slots.offer(self)
            self._owner.slot_changed()

    def _free(self, connection: Connection) -> None:
        """Free the slot of a context that the service has closed."""
        self.slots.free(connection)
        self._offer()

    def due(self) -> float:
        """Return when something is to be done, in seconds of trio's clock."""
        waiting = (c.last_frame for c in self.slots if c.context.awaits_text)
        keep_alive = min(waiting, default=math.inf) + self._config.keep_alive_interval
        return min(keep_alive, self._old_at(), self.overdue_at())

    def _old_at(self) -> float:
        """Return when an idle socket is to be replaced: at its lifetime, or before the service closes it."""
        if self.state is not SocketState.HOT or self.slots.utterances:
            return math.inf
        idle = self._endpoint.idle_seconds
        idle_at = self._last_frame + max(idle / 2, idle - self._config.timeouts.connect)
        return min(self.hot_since + self._config.spare_lifetime, idle_at)

    def overdue_at(self) -> float:
        """Return when the final of a released connection is overdue, so that the socket retires."""
        if self.state not in _SERVING:
            return math.inf
        return self.slots.silent_since() + self._config.timeouts.reply

    def give_up(self) -> None:
        """Retire the socket: it has lost a slot."""
        self.retire(TTSConnectionError("the service did not report the end of an interrupted utterance"))

    def do_what_is_due(self) -> None:
        """Keep contexts alive, and have an old socket replaced."""
        now = trio.current_time()
        if self._old_at() <= now:
            self._go(SocketState.AGING)
            if not self._owner.replace_old():
                self.close()
        for connection in self.slots:
            if connection.context.awaits_text and connection.last_frame + self._config.keep_alive_interval <= now:
                self.keep_alives += 1
                connection.keep_alive()

    # What the service says.

    def received(self, message: str | bytes) -> None:
        """Act on a message of the service."""
        for event in self._decode(message):
            self._receive_event(event)

    def _receive_event(self, event: Event) -> None:
        context_id = event.context_id and self._endpoint.context_of(event.context_id)
        connection = self.slots.held.get(context_id)
        is_unknown = connection is None and not self.slots.was_acquired(context_id)
        if is_unknown and is_unasked(event, self._config.format):
            self.retire(TTSConnectionError("the service sent a message for an utterance that was never begun"))
            return
        match event:
            case AudioReceived():
                if connection is None:  # of an utterance that has ended
                    return
                unasked = self._websocket.written < connection.first_text
                if unasked and is_unasked(event, self._config.format):
                    self._end_utterance(connection, TTSConnectionError("the service sent audio before it had text"))
                else:
                    connection.received(event)
            case Final():
                if connection is not None:
                    connection.received(event)
                    if connection.state == "ended":
                        self._free(connection)
                        self._websocket.reset_timer()
            case ErrorReceived():
                self._receive_error(event, context_id, connection)
            case Unreadable():
                logger.warning("skipped a frame of the service: %s", event.reason)

    def _receive_error(self, event: ErrorReceived, context_id: str | None, connection: Connection | None) -> None:
        error = event.to_error(self.trace_id)
        if context_id is None:
            self._websocket.abandon(error)  # the service closes the socket about 0.8 s later
        elif not self.slots.was_acquired(context_id):
            self.retire(error)
        elif connection is None:  # if the socket was meant, the service closes it
            logger.warning("the service reported an error of an utterance that had ended: %s", error)
        else:
            self._end_utterance(connection, error)

    def _end_utterance(self, connection: Connection, error: TTSError) -> None:
        """Fail an utterance and retire the socket: the service sent an error for it, or sound before it had text."""
        connection.context.final_received()
        connection.on_lost(error)
        self.retire(error)
