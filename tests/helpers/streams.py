"""A stream around another one, for tests that interfere on the way."""

from __future__ import annotations

import attrs
import trio


@attrs.define(eq=False)
class Wrapped(trio.abc.Stream):
    """A stream that does what the one inside does; what is to go otherwise is overridden."""

    stream: trio.abc.Stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()
