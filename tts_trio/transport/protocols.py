"""What each part of a socket knows of the part above it, which it reports to. None of it blocks.

`ServerStream` reports to a `Taker`, the `WebSocket`; that one to a `SocketUser`, the `HotSocket`; and that one to a
`SocketOwner`, the `SocketPool`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tts_trio.transport.frames import Pinged, Pong  # which loads wsproto


class Taker(Protocol):
    """Whoever is given what comes over a WebSocket."""

    def take(self, message: str | bytes) -> None:
        """Act on a message; what it raises, a `TTSError` or nothing, ends the reading."""
        ...

    def take_control(self, frame: Pinged | Pong) -> None:
        """Act on a ping, or on the answer to one."""
        ...


class SocketUser(Protocol):
    """Whoever opens a WebSocket, and acts on what comes, without waiting."""

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

    def do_what_is_due(self) -> None:
        """Do it."""
        ...

    def overdue_at(self) -> float:
        """Return when the peer is late with what it owes; `due` is no later. What comes in time moves it."""
        ...

    def give_up(self) -> None:
        """Act on a peer that is late, by all that has come."""
        ...


class SocketOwner(Protocol):
    """Whoever has sockets, and acts on what becomes of them."""

    def socket_hot(self, began: float) -> None:
        """Note that a socket can serve its first utterance, whose dial began then, in seconds of trio's clock."""
        ...

    def slot_changed(self) -> None:
        """Note that a socket has room for another utterance, or has none any more."""
        ...

    def replace_old(self) -> bool:
        """Dial a socket in the place of an idle one, before others would close that; False: it can close at once."""
        ...
