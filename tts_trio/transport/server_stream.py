"""The stream of a WebSocket, out of which messages and control frames are taken, and what the handshake said.

A peer may hang up in the handshake, also in the middle of a refusal, whose status trio-websocket tells only with its
whole body. So a hang-up raises here, and the answer is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from tts_trio.transport.frames import WHOLE_TEXT, Frames, Pinged, Pong
from tts_trio.transport.protocols import Taker
from tts_trio.transport.tls_stream import TLSStream

_TEXT_BEGINS = bytes((WHOLE_TEXT,))
_MAX_REFUSAL = 65536  # of a refused handshake, as much is kept to say why
_AT_ONCE = 32  # messages, or frames, in one turn of the loop: of two bytes each, a read has room for 32,768


class HungUp(Exception):
    """The peer closed the connection in the middle of the handshake."""


class ServerStream(trio.abc.AsyncResource):
    """The byte stream to a WebSocket server.

    A frame may wait for another that is being written, so what had been written when something came is noted here.

    Attributes:
        established: Whether the WebSocket is open.
        stopped: Whether the last `receive` has returned because of `stop`; until the next one begins.
        answer: The bytes that came before it was open.
        written: How many messages of text the stream has begun to write.
        written_before: How many of them it had begun to write when the last bytes came.
    """

    __slots__ = (
        "_count", "_frames", "_handing_on", "_pieces", "_stream", "_taker", "_tls", "answer", "established", "stopped",
        "written", "written_before",
    )  # fmt: skip

    def __init__(self, stream: trio.abc.Stream, longest: int, taker: Taker) -> None:
        """Take the messages, the pings and the pongs out of a stream.

        Args:
            stream: The byte stream.
            longest: The longest message that is taken out, in bytes.
            taker: Whoever is given them.
        """
        self.established = False
        self.answer = bytearray()
        self.written = self.written_before = 0
        self._stream = stream
        self._tls = stream if isinstance(stream, TLSStream) else None
        self._taker = taker
        self._frames = Frames(longest)
        self._pieces: Iterable[str | Pinged | Pong | bytes] = ()  # of what came, those that were not handed on yet
        self._count = 0  # of the pieces in this turn of the loop, or in a few
        self._handing_on = False  # whether a piece is handed on just now; what raises there ends all reading
        self.stopped = False

    @property
    def granted(self) -> bool:
        """Whether the server has granted the WebSocket; its answer is the first that `receive` returns."""
        return self._frames.granted

    @property
    def over(self) -> bool:
        """Whether a Close frame has come, or what is no frame."""
        return self._frames.over

    async def receive(self, max_bytes: int) -> bytes:
        """Hand on what is whole, and return what comes that is left to wsproto, or `b""` at the end.

        It also returns `b""` where it was `stopped`. Then, or where it was cancelled, the next call goes on behind what
        was handed on.

        Raises:
            HungUp: The peer hung up in the handshake.
        """
        self.stopped = False
        await self._give_way()
        while True:  # noqa: ASYNC913 - to receive waits
            for piece in self._pieces:
                self._count += 1
                if isinstance(piece, bytes):
                    return piece
                self._handing_on = True
                if isinstance(piece, str):
                    self._taker.take(piece)
                else:
                    self._taker.take_control(piece)
                self._handing_on = False
                if self.stopped:
                    return b""
                if self._count >= _AT_ONCE:
                    await self._give_way()
            piece = data = None  # while the next message is waited for, 22 KB of the last one would stay
            self._pieces = ()
            try:
                if self._tls is not None:  # a read takes a whole record, so that the descriptor tells of the next one
                    await trio.lowlevel.wait_readable(self._tls.socket)
                    data = self._tls.receive_now(max_bytes)
                if data is None:
                    data = await self._stream.receive_some(max_bytes)
            except trio.BrokenResourceError as error:
                if self.established:
                    raise
                raise HungUp from error
            self.written_before = self.written
            if not self.established:
                self.answer += data[: _MAX_REFUSAL - len(self.answer)]
                if not data:
                    raise HungUp
            if not data:
                return b""
            self._pieces = self._frames.cut(data)

    def stop(self) -> bool:
        """Have `receive` return behind the piece that it hands on; False: it hands on none, and is to be cancelled.

        Of what it has returned, and is left to wsproto, others hand on the parts: then this says False, too.
        """
        self.stopped = self._handing_on
        return self.stopped

    async def _give_way(self) -> None:
        """Let other tasks run, if so much was handed on."""
        if self._count >= _AT_ONCE:
            self._count = 0
            await trio.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write a frame, or the handshake, and raise `HungUp` where the peer hangs up in that."""
        self.written += data[:1] == _TEXT_BEGINS
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            if self.established:
                raise
            raise HungUp from error

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Write frames together without waiting, if the stream can do that; return whether it has taken all of them.

        What it does not send at once is sent before all else by the next `send_all`, for which `unsent` asks. A message
        is not taken while bytes wait to be read: they came before it, and `written_before` is to tell that.
        """
        if self._tls is None:
            return False
        texts = sum(frame[:1] == _TEXT_BEGINS for frame in frames)
        if (texts and self._tls.has_input()) or not self._tls.send_now(b"".join(frames)):
            return False
        self.written += texts
        return True

    @property
    def unsent(self) -> bool:
        """Whether a part of a frame waits for the next `send_all`."""
        return self._tls is not None and bool(self._tls.unsent)

    def close_now(self) -> bool:
        """Close the stream without waiting, if that can be done; return whether it is closed."""
        if self._tls is None:
            return False
        self._tls.close()
        return True

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
