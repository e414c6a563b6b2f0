"""Opens connections to the service that the demo can cut in the middle of a word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from tts_trio.config.config import TTSConfig


@attrs.define(eq=False)
class _Way(trio.abc.Stream):
    """A connection that breaks when `cut` is called."""

    stream: trio.abc.Stream
    link: Link
    _reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _is_cut: bool = False

    def cut(self) -> None:
        self._is_cut = True
        self._reading.cancel(reason="the demo cuts this connection")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._check()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        self._check()
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check()
        data = b""
        with trio.CancelScope() as self._reading:
            data = await self.stream.receive_some(max_bytes)
        self._check()
        self.link.latest = self
        return data

    async def aclose(self) -> None:
        await self.stream.aclose()

    def _check(self) -> None:
        if self._is_cut:
            raise trio.BrokenResourceError("connection reset by the demo")


@attrs.define(eq=False)
class Link:
    """Opens connections, and cuts the one that received data last.

    Attributes:
        dial: Opens a connection.
        latest: The connection that received data last.
    """

    dial: Callable[[TTSConfig], Awaitable[trio.abc.Stream]]
    latest: _Way | None = None

    async def open_stream(self, config: TTSConfig) -> trio.abc.Stream:
        """Open a connection."""
        return _Way(await self.dial(config), self)

    def cut(self) -> None:
        """Cut the connection that received data last, as a middlebox that drops a flow."""
        if self.latest is not None:
            self.latest.cut()
