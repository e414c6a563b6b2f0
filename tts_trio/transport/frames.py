"""The frames that every WebSocket carries: text, pings and pongs of a server; text, pings, pongs and a Close of ours.

Nearly all that the service sends is text, each message in one frame, pings and pongs. To read or to write such a frame
costs trio-websocket and wsproto more CPU than its TLS costs, so that is done here. Messages in fragments or in bytes,
a Close frame, and all that breaks the protocol are left as they come, in order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

import attrs

from tts_trio.transport.upgrade import end_of_grant

# RFC 6455, 5.2. The first byte of a frame holds FIN, three bits for extensions, and the opcode. The second holds MASK,
# which a server does not set, and the size. A size over 125 follows, in 2 bytes or, if it needs them, in 8.
WHOLE_TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_BEGINS_MESSAGE = {0x01, 0x02, WHOLE_TEXT, 0x82}
_GOES_ON = {0x00, 0x80}
_UNFINISHED = {0x00, 0x01, 0x02}
_CONTROL = {CLOSE, PING, PONG}
_MASK = 0x80
_LONGER = {126: (4, 126), 127: (10, 65536)}  # where the payload begins, and the least size

_ALL = sys.maxsize


@attrs.frozen
class Pinged:
    """A ping of the server.

    Attributes:
        payload: What its answer is to carry.
    """

    payload: bytes


@attrs.frozen
class Pong:
    """The answer to a ping.

    Attributes:
        payload: What the ping carried.
    """

    payload: bytes


def client_frame(first: int, payload: bytes) -> bytes:
    """Return a frame of a client, which masks what it says.

    Args:
        first: The first byte: `WHOLE_TEXT`, `CLOSE`, `PING` or `PONG`.
        payload: What the frame carries.
    """
    size = len(payload)
    if size < 126:
        head = bytes((first, _MASK | size))
    elif size < 65536:
        head = bytes((first, _MASK | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, _MASK | 127)) + size.to_bytes(8)
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


class Frames:
    """What one server sends, from its answer to the handshake on.

    Attributes:
        granted: Whether the answer has come, and grants the WebSocket.
    """

    __slots__ = ("_at", "_in_fragments", "_left", "_longest", "_received", "granted")

    def __init__(self, longest: int) -> None:
        """Expect the answer.

        Args:
            longest: The longest message that is waited for, in bytes. A longer one is left to wsproto.
        """
        self._longest = longest
        self._received = bytearray()  # the beginning of the answer, or of a message, of which more is to come
        self._at: int = 0  # how far `cut` has read
        self.granted = False
        self._in_fragments = False
        self._left: int = 0  # bytes to come that are left to wsproto

    @property
    def over(self) -> bool:
        """Whether all that still comes is left to wsproto: a Close frame has come, or what is no frame."""
        return self._left > _ALL // 2

    def cut(self, data: bytes | bytearray) -> Iterator[str | Pinged | Pong | bytes]:
        """Take what was received, and yield it in order.

        Messages of text are yielded as `str`, pings as `Pinged`, pongs as `Pong`, and as `bytes` the answer to the
        handshake, whole if it grants the WebSocket, and what is left to wsproto.

        The iterator is to be exhausted before the next call.
        """
        source = data
        if self._received:
            self._received += data
            source = self._received
        self._at = 0
        if not self.granted and not self._left:
            end = end_of_grant(source)
            if end:
                self.granted = True
                self._at = end
                yield bytes(source[:end])
            elif end == 0:
                self._left = _ALL
        while self._at < len(source) and (self.granted or self._left):
            message = None if self._left else self._read(source)
            if message is not None:
                yield message
            elif self._left:
                piece = bytes(source[self._at : self._at + self._left])
                self._at += len(piece)
                self._left -= len(piece)
                yield piece
            else:
                break
        if source is self._received:
            del self._received[: self._at]
        elif self._at < len(source):
            self._received += source[self._at :]

    def _read(self, source: bytes | bytearray) -> str | Pinged | Pong | None:
        """Read a message of text, a ping or a pong.

        None: more is to come, or `_left` tells that wsproto is to read it.
        """
        at, known = self._at, len(source)
        if known < at + 2:
            return None
        first, size = source[at], source[at + 1]
        is_data = first in (_GOES_ON if self._in_fragments else _BEGINS_MESSAGE)
        if size & _MASK or not (is_data or (first in _CONTROL and size not in _LONGER)):
            self._left = _ALL
            return None
        begin, least = at + 2, 0
        if size in _LONGER:
            head, least = _LONGER[size]
            begin = at + head
            if known < begin:
                return None
            size = int.from_bytes(source[at + 2 : begin])
        end = begin + size
        if first in (PING, PONG):
            if known < end:
                return None
            self._at = end
            payload = bytes(source[begin:end])
            return Pong(payload) if first == PONG else Pinged(payload)
        if first == WHOLE_TEXT and least <= size <= self._longest:
            if known < end:
                return None
            try:
                message = str(memoryview(source)[begin:end], "utf-8")  # which copies it once
            except UnicodeDecodeError:
                self._left = _ALL
                return None
            self._at = end
            return message
        self._left = end - at if size >= least and first != CLOSE else _ALL
        if is_data:
            self._in_fragments = first in _UNFINISHED
        return None
