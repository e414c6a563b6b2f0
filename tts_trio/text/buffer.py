"""The buffer of text that was not yet returned in a phrase."""

from __future__ import annotations

from codecs import utf_32_le_decode, utf_32_le_encode

_WIDTH = 4  # bytes of a character
_AT_ONCE = 300  # characters that are read to find the blanks


class Buffer:
    """Text to which characters are added at the end and from which they are cut off at the beginning.

    The cost of both does not grow with the length of the text. Positions are counted from the first character that was
    ever added, so they stay valid when text is cut off.

    Attributes:
        start: The position of the first character in the buffer.
        end: The position after the last one.
    """

    __slots__ = ("_data", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._data = bytearray()

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._data += utf_32_le_encode(text, "surrogatepass")[0]
        self.end += len(text)

    def read(self, start: int, end: int) -> str:
        """Return the text between two positions, as far as the buffer has it."""
        first, last = max(0, start - self.start), max(0, end - self.start)
        return utf_32_le_decode(self._data[first * _WIDTH : last * _WIDTH], "surrogatepass")[0]

    def cut(self, end: int) -> str:
        """Cut off the text before a position, and return it."""
        text = self.read(self.start, end)
        del self._data[: len(text) * _WIDTH]
        self.start += len(text)
        return text

    def cut_blanks(self, end: int) -> None:
        """Cut off the blanks at the beginning of the text before a position."""
        blanks = _AT_ONCE
        while blanks == _AT_ONCE:
            beginning = self.read(self.start, min(end, self.start + _AT_ONCE))
            blanks = len(beginning) - len(beginning.lstrip())
            del self._data[: blanks * _WIDTH]
            self.start += blanks
