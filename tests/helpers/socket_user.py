"""Who a WebSocket, its stream, and a hot socket report to, for the tests of these themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from tts_trio._nurseries import single_error
from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.frames import Pinged, Pong
from tts_trio.transport.websocket import WebSocket


class User:
    """Notes what comes, and does nothing by itself.

    Attributes:
        hot: An event that is set when the socket is hot.
        ended: An event that is set when nothing of the socket is left.
        messages: What has come.
        overdue: When the peer is late with what it owes, in seconds of trio's clock.
        given_up: How often it was late.
        act: What is called with each message.
    """

    def __init__(self, *first: str, act: Callable[[str | bytes], object] = lambda _message: None) -> None:
        """Write these messages first, and call `act` with each that comes."""
        self.hot, self.ended = trio.Event(), trio.Event()
        self.messages: list[str | bytes] = []
        self.overdue = math.inf
        self.given_up = 0
        self._first = first
        self.act = act

    async def run(self, websocket: WebSocket, base_url: str) -> None:
        """Run the socket to its end."""
        try:
            with single_error:
                async with trio.open_nursery() as nursery:
                    await websocket.dial(await DialTurn.wait(base_url), self, nursery)
                    await websocket.serve()
        finally:
            self.ended.set()

    def first_messages(self) -> tuple[str, ...]:
        return self._first

    def opened(self) -> None:
        self.hot.set()

    def received(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.act(message)

    def due(self) -> float:
        return self.overdue

    def do_what_is_due(self) -> None:
        pass

    def overdue_at(self) -> float:
        return self.overdue

    def give_up(self) -> None:
        self.given_up += 1
        self.overdue = math.inf


class Taken:
    """Notes what comes."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.controls: list[Pinged | Pong] = []

    def take(self, message: str | bytes) -> None:
        self.messages.append(message)

    def take_control(self, frame: Pinged | Pong) -> None:
        self.controls.append(frame)


class Owner:
    """Does nothing about what becomes of its socket."""

    def socket_hot(self, began: float) -> None:
        pass

    def slot_changed(self) -> None:
        pass

    def replace_old(self) -> bool:
        return True
