"""A byte stream of one HTTP connection, watched while nothing is expected of it."""

from __future__ import annotations

import select

import trio

from tts_trio.transport.timers import grace_after
from tts_trio.transport.tls_stream import TLSStream

_RECEIVE_BYTES = 65536
_LAST_LOOK = 0.001  # seconds, in which what has come already is read


class WatchedStream:
    """A byte stream whose peer speaks only when it is asked.

    While nothing is expected, the task of `watch` reads: this is how the end of the connection, or something unasked,
    is noticed before the next request, over any stream, with TLS too. That read is not cancelled when a request is
    sent. It stays, and gets the beginning of the answer, so that nothing can be lost between the two.

    Attributes:
        received: How many bytes were received since this was last set to 0.
        ended: Whether the peer closed the connection, or it broke.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.received = 0
        self.ended = False
        self._stream = stream
        self._poll = _poll(stream)
        self._watched: trio.Event | None = None
        self._ahead = b""

    def expect_nothing(self) -> None:
        """Leave the next read to `watch`, which has to be run then."""
        assert self._watched is None
        self._watched = trio.Event()
        self._ahead = b""

    async def watch(self) -> None:
        """Read, and return when there is something to read or the connection has ended."""
        assert self._watched is not None
        try:
            self._ahead = await self._receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # as at the end of the stream: `receive` gives b""
        finally:
            self._watched.set()

    async def is_quiet(self) -> bool:
        """Tell whether nothing has come; what has is read by `watch` meanwhile.

        A descriptor is asked, which takes a microsecond. Where it has something, or there is none, `watch` is let read:
        its task needs one pass of the loop to begin, one in which its read ends, and its turn in the third.
        """
        assert self._watched is not None
        if self._poll is None or self._poll.poll(0):
            for _ in range(3):
                await trio.lowlevel.cancel_shielded_checkpoint()
        return not self._watched.is_set()

    async def send(self, data: bytes, deadline: float) -> None:
        """Write all of it.

        Raises:
            trio.TooSlowError: The peer did not take it in time.
            trio.BrokenResourceError, trio.ClosedResourceError: The connection broke, or was closed here.
        """
        if isinstance(self._stream, TLSStream):  # it takes nearly all requests at once, which need no deadline
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._stream.send_now(data):
                if not self._stream.unsent:
                    return
                data = b""
        with trio.fail_at(deadline):
            await self._stream.send_all(data)

    async def receive(self, deadline: float) -> bytes:
        """Read what has come, or wait for more; `b""` at the end.

        The deadline is judged after a last look, which takes what had come by then: a loop that was blocked, or a
        process that was stopped, does not make the peer late.

        Raises:
            trio.TooSlowError: Nothing came in time.
            trio.BrokenResourceError, trio.ClosedResourceError: The connection broke, or was closed here.
        """
        with trio.move_on_at(deadline - _LAST_LOOK):
            return await self._next()
        with trio.move_on_at(max(deadline, trio.current_time() + _LAST_LOOK + grace_after(deadline))):
            return await self._next()
        raise trio.TooSlowError

    async def aclose(self) -> None:
        """Close at once, without a close_notify that could wait for the peer."""
        await trio.aclose_forcefully(self._stream)

    async def _next(self) -> bytes:
        if self._watched is None:
            return await self._receive()
        await self._watched.wait()
        self._watched = None
        return self._ahead

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except trio.ClosedResourceError:
            raise
        except Exception:
            self.ended = True
            raise
        self.received += len(data)
        self.ended = not data
        return data


def _poll(stream: trio.abc.Stream) -> select.poll | None:
    """Return what asks the descriptor whether there is something to read; None where that is not all there may be.

    `TLSStream` reads whole records, and keeps nothing back; a TLS in a proxy's TLS may.
    """
    if not isinstance(stream, trio.SocketStream | TLSStream) or not hasattr(select, "poll"):  # Windows has none
        return None
    poll = select.poll()
    poll.register(stream.socket.fileno(), select.POLLIN)
    return poll
