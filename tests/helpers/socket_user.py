"""The user of a WebSocket, for the tests of the socket itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from tts_trio.transport.dialing import DialTurn
from tts_trio.transport.websocket import WebSocket


class User:
    """Notes what comes, and does nothing by itself.

    Attributes:
        hot: An event that is set when the socket is hot.
        ended: An event that is set when nothing of the socket is left.
        messages: What has come.
    """

    def __init__(self, *first: str, act: Callable[[str | bytes], object] = lambda _message: None) -> None:
        """Write these messages first, and call `act` with each that comes."""
        self.hot, self.ended = trio.Event(), trio.Event()
        self.messages: list[str | bytes] = []
        self._first = first
        self._act = act

    async def run(self, websocket: WebSocket, base_url: str) -> None:
        """Run the socket to its end."""
        try:
            await websocket.run(await DialTurn.wait(base_url), self)
        finally:
            self.ended.set()

    def first_messages(self) -> tuple[str, ...]:
        return self._first

    def opened(self) -> None:
        self.hot.set()

    def received(self, message: str | bytes) -> None:
        self.messages.append(message)
        self._act(message)

    def due(self) -> float:
        return math.inf

    async def do_what_is_due(self) -> None:
        await trio.lowlevel.checkpoint()
