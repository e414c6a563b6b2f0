"""A link with a round-trip time, over a stream that has none."""

from __future__ import annotations

import math

import trio


class SlowLink(trio.abc.Stream):
    """Delays all bytes by half of the round trip in each direction."""

    def __init__(
        self, stream: trio.abc.Stream, round_trip: float, nursery: trio.Nursery, *, dialed: bool = False
    ) -> None:
        """Begin.

        Args:
            stream: The link without a delay.
            round_trip: Seconds.
            nursery: Where the tasks live that carry the bytes; they end with the link.
            dialed: What comes in was sent by somebody who had to dial first: it cannot have left before a TCP
                handshake was over, which takes one round trip.
        """
        self._stream = stream
        self._delay = round_trip / 2
        self._late: tuple[float, bytes] | None = None  # what has come, and until when it is on its way
        self._open_at = trio.current_time() + (round_trip if dialed else 0.0)
        self._to_send, outgoing = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        arrived, self._arrived = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        nursery.start_soon(self._carry_out, outgoing)
        nursery.start_soon(self._carry_in, arrived)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, without waiting for the other side."""
        await trio.lowlevel.checkpoint()
        await self._to_send.send((trio.current_time() + self._delay, bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what has arrived, or `b""` at the end."""
        try:
            if self._late is None:  # else the last call was cancelled
                self._late = await self._arrived.receive()
        except trio.EndOfChannel:
            return b""
        due, data = self._late
        await trio.sleep_until(due)
        self._late = None
        return data

    async def aclose(self) -> None:
        """Close both directions."""
        self._to_send.close()
        self._arrived.close()
        await self._stream.aclose()

    async def _carry_out(self, outgoing: trio.MemoryReceiveChannel[tuple[float, bytes]]) -> None:
        async for due, data in outgoing:
            await trio.sleep_until(due)
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _carry_in(self, arrived: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        with arrived:
            while True:
                try:
                    data = bytes(await self._stream.receive_some())
                    left = max(trio.current_time(), self._open_at)
                    await arrived.send((left + self._delay, data))
                    if not data:
                        return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
