"""`Surroundings`: what the pools of one conversation share, and what is counted for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from tts_trio.errors import TTSError
from tts_trio.transport.streams import OpenStream


@attrs.define(eq=False)
class Counts:
    """What was counted since the conversation began, for the sockets of all kinds.

    Attributes:
        dials: The number of dials that were begun.
        losses: The number of sockets that were lost after they had become hot.
        keep_alives: The number of keep-alive frames that were sent over sockets that are closed.
    """

    dials: int = 0
    losses: int = 0
    keep_alives: int = 0


class SocketTelemetry(Protocol):
    """Records dials and losses."""

    def dial_ended(self, seconds: float, error: TTSError | None = None) -> None:
        """Record a dial.

        Args:
            seconds: How long it took.
            error: Why it failed; None: the socket is hot.
        """
        ...

    def socket_lost(self, error: TTSError) -> None:
        """Record the loss of a hot socket."""
        ...


@attrs.frozen(eq=False)
class Surroundings:
    """What the pools of one conversation share.

    Attributes:
        nursery: The nursery of the tasks that own the sockets.
        open_stream: The function that opens byte streams to the service.
        counts: What was counted.
        check_open: A function that raises RuntimeError where the connection manager is closed.
        telemetry: What is told of dials and losses.
        slot_changed: A function that is called when a socket has gained or lost room for an utterance.
    """

    nursery: trio.Nursery
    open_stream: OpenStream
    counts: Counts
    check_open: Callable[[], None]
    telemetry: SocketTelemetry
    slot_changed: Callable[[], None]
