"""A trio stream as httpcore wants it, watched while nothing is expected of it."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager, suppress

import httpcore
import trio

from tts_trio.config import TTSConfig
from tts_trio.transport import without_key

_RECEIVE_BYTES = 65536


class WatchedStream(httpcore.AsyncNetworkStream):
    """A byte stream of one HTTP connection.

    While the connection is idle, `watch` reads: this is how its end is noticed before the next request, over any
    stream, with TLS too. That read is not cancelled when a request comes. It stays, and gets the beginning of the
    answer, so that nothing can be lost between the two.

    Attributes:
        received: Bytes received since this was last set to 0.
        ended: The peer closed the connection, or it broke.
        step: What is being done, for messages.
    """

    def __init__(self, stream: trio.abc.Stream, config: TTSConfig) -> None:
        self.received = 0
        self.ended = False
        self.step = "sending the request"
        self._stream = stream
        self._config = config
        self._watched: trio.Event | None = None
        self._ahead = b""
        self._unwritten = bytearray()

    def expect_nothing(self) -> None:
        """Leave the next read to `watch`, which has to be run then."""
        self._watched = trio.Event()

    async def watch(self) -> None:
        """Read, and return when there is something to read or the connection has ended."""
        assert self._watched is not None
        try:
            self._ahead = await self._receive(_RECEIVE_BYTES)
        except httpcore.ReadError:
            self._ahead = b""
        finally:
            self._watched.set()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Read what has come, or wait for more; `b""` at the end.

        Raises:
            httpcore.ReadTimeout: Nothing came for so many seconds.
            httpcore.ReadError: The connection broke, or was closed here.
        """
        with _mapped(trio.TooSlowError, httpcore.ReadTimeout), trio.fail_after(_seconds(timeout)):
            if self._unwritten:
                with suppress(httpcore.WriteError):  # the peer may have answered before it closed
                    await self._write()
            self.step = "reading the answer" if self.received else "waiting for the answer"
            if self._watched is None:
                return await self._receive(max_bytes)
            await self._watched.wait()
            self._watched = None
            return self._ahead

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Take what is to be written. It leaves in one piece, head and body, when the answer is waited for."""
        self.step = "sending the request"
        self._unwritten += buffer

    async def _write(self) -> None:
        unwritten, self._unwritten = bytes(self._unwritten), bytearray()
        with _mapped((trio.BrokenResourceError, trio.ClosedResourceError), httpcore.WriteError):
            await self._stream.send_all(unwritten)

    async def aclose(self) -> None:
        """Close at once, without a goodbye that could wait for the peer."""
        await trio.aclose_forcefully(self._stream)

    async def _receive(self, max_bytes: int) -> bytes:
        with _mapped((trio.BrokenResourceError, trio.ClosedResourceError), httpcore.ReadError):
            try:
                data = bytes(await self._stream.receive_some(max_bytes))
            except trio.BrokenResourceError:
                self.ended = True
                raise
        self.received += len(data)
        self.ended = not data
        return without_key(data, self._config)


@contextmanager
def _mapped(found: type[Exception] | tuple[type[Exception], ...], raised: type[Exception]) -> Generator[None]:
    try:
        yield
    except found as error:
        raise raised(str(error)) from error


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout
