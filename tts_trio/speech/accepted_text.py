"""The text that the caller gave, and how far in it the text is that was spoken of what was sent.

The text sent differs from it in nothing but blanks, so a place in the one is found in the other by the number of
characters before it that are no blanks. They are counted once, block by block, so that to find a place costs the same
wherever it is.
"""

from __future__ import annotations

import bisect

_BLOCK = 256  # characters


class AcceptedText:
    """The text of one utterance as it was accepted, in order."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._letters = [0]  # how many characters that are no blanks there are before each block, and in all of them
        self._open: list[str] = []  # what came after the blocks: a list of all tokens would take eight times the memory
        self._open_length = 0
        self._told = (0, "")  # what `beginning` returned last, and for how many letters

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._open.append(text)
        self._open_length += len(text)
        if self._open_length >= _BLOCK:
            whole = "".join(self._open)
            end = len(whole) - len(whole) % _BLOCK
            for start in range(0, end, _BLOCK):
                block = whole[start : start + _BLOCK]
                self._blocks.append(block)
                self._letters.append(self._letters[-1] + sum(map(len, block.split())))
            self._open = [whole[end:]]
            self._open_length -= end

    @property
    def text(self) -> str:
        """All of it."""
        return "".join([*self._blocks, *self._open])

    def beginning(self, letters: int) -> str:
        """Return the text up to the last of so many characters that are no blanks; all of it, if it has fewer."""
        if not letters:
            return ""
        if letters == self._told[0]:
            return self._told[1]
        block = bisect.bisect_left(self._letters, letters) - 1
        text = self._blocks[block] if block < len(self._blocks) else "".join(self._open)
        remaining = letters - self._letters[block]
        for end, char in enumerate(text, 1):
            remaining -= not char.isspace()
            if not remaining:
                self._told = letters, "".join([*self._blocks[:block], text[:end]])
                return self._told[1]
        return self.text
