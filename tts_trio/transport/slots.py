"""`Slots`: which connection speaks over which context of a socket."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tts_trio.errors import TTSError
from tts_trio.transport.connection import Connection, Socket
from tts_trio.wire.context import Context
from tts_trio.wire.endpoint import Endpoint


class Slots:
    """The contexts of one socket: the next one, offered as an idle connection, and those that hold a slot.

    At the service an utterance holds its slot until its final has come, interrupted or not.

    Attributes:
        idle: The connection for the next utterance; None where none is offered.
        held: The connections whose contexts hold a slot, in use or not, by context.
    """

    __slots__ = ("_acquired", "_begun", "_endpoint", "_next", "held", "idle")

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the contexts of a socket; none is offered yet.

        Args:
            endpoint: The endpoint, which says how many contexts there may be, at once and in all.
        """
        self.idle: Connection | None = None
        self._endpoint = endpoint
        self._begun = 0  # how many contexts there were before the next one
        self._next = Context.of(endpoint, 0)
        self.held: dict[str | None, Connection] = {}
        self._acquired: set[str | None] = set()  # all contexts that an utterance ever had, and did not give back

    def __len__(self) -> int:
        """Return how many slots are held."""
        return len(self.held)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over the idle connection, and those that hold a slot."""
        return iter([*([] if self.idle is None else [self.idle]), *self.held.values()])

    @property
    def used_up(self) -> bool:
        """Whether no context can follow those that there are: a socket of `stream-input` has one in its life."""
        return self._next is None

    @property
    def served(self) -> bool:
        """Whether an utterance ever had one of the contexts."""
        return bool(self._acquired)

    @property
    def utterances(self) -> int:
        """How many utterances go on."""
        return sum(connection.state == "in use" for connection in self.held.values())

    def was_acquired(self, context_id: str | None) -> bool:
        """Tell whether an utterance ever had this context."""
        return context_id in self._acquired

    def silent_since(self) -> float:
        """Return since when nothing has come of the released connection that is silent for the longest time."""
        return min((connection.silent_since for connection in self.held.values()), default=math.inf)

    def first_frames(self) -> list[str]:
        """Return the frames that are written as soon as the socket is open."""
        return [] if self._next is None else self._next.socket_opened()

    def offer(self, socket: Socket) -> None:
        """Offer an idle connection over the socket, if there is none, and room for it."""
        if self.idle is None and self._next is not None and len(self.held) < self._endpoint.contexts:
            self.idle = Connection(socket, self._next)
            self._begun += 1
            self._next = Context.of(self._endpoint, self._begun)

    def offer_again(self, socket: Socket, connection: Connection) -> None:
        """Offer the context of an ended connection, for which no text was sent, as an idle one over the socket."""
        self.free(connection)
        self._acquired.discard(connection.context.context_id)  # what comes for it meanwhile is unasked, as before
        self.idle = Connection(socket, connection.context)
        self.idle.last_frame = connection.last_frame

    def withdraw(self) -> None:
        """Offer no connection any more."""
        self.idle = None

    def acquire(self, endpoint: Endpoint) -> Connection:
        """Take the idle connection for an utterance, which speaks by this endpoint: it holds a slot from now on."""
        connection, self.idle = self.idle, None
        assert connection is not None
        connection.context.endpoint = endpoint
        context_id = connection.context.context_id
        self.held[context_id] = connection
        self._acquired.add(context_id)
        connection.acquire()
        return connection

    def lose(self, error: TTSError) -> None:
        """Fail all utterances with this error, and offer no connection any more."""
        connections = list(self)
        self.withdraw()
        for connection in connections:
            connection.on_lost(error)

    def clear(self) -> None:
        """Let go of the connections: the socket has ended, and a connection holds its socket."""
        self.held.clear()

    def free(self, connection: Connection) -> None:
        """Let another have the slot of a connection: the service has closed its context, or never knew it."""
        self.held.pop(connection.context.context_id, None)
