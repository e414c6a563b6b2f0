"""Tell whether a client's bytes end between two WebSocket frames or in the middle of one."""

from __future__ import annotations

_MASK_BYTES = 4
_EXTENDED_LENGTHS = {126: 2, 127: 8}


class FrameBoundary:
    """Follows a client's bytes from frame to frame; it needs nothing but their headers."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._payload = 0  # bytes of it that are still to come

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end in the middle of a frame."""
        return bool(self._header) or self._payload > 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        position = 0
        while position < len(data):
            if self._payload:
                taken = min(self._payload, len(data) - position)
                self._payload -= taken
                position += taken
            else:
                self._header.append(data[position])
                position += 1
                self._read_header()

    def _read_header(self) -> None:
        header = self._header
        if len(header) < 2:
            return
        short = header[1] & 0x7F
        extended = _EXTENDED_LENGTHS.get(short, 0)
        if len(header) == 2 + extended + (_MASK_BYTES if header[1] & 0x80 else 0):
            self._payload = int.from_bytes(header[2 : 2 + extended]) if extended else short
            header.clear()
