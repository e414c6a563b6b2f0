"""The text that the caller gave, and how far in it the text is that was spoken of what was sent.

Where no transform has changed it, the text sent differs from it in nothing but blanks, so a place in the one is found
in the other by the number of characters before it that are no blanks. They are counted once, block by block, so that to
find a place costs the same wherever it is. What a transform has changed is a block of its own, which counts as spoken
when the last character is that is said for it.
"""

from __future__ import annotations

import bisect

_BLOCK = 256  # characters


class AcceptedText:
    """The text of one utterance as it was accepted, in order."""

    __slots__ = ("_blocks", "_changed", "_letters", "_open", "_open_length", "_told")

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._changed = set[int]()  # which of them are not said as they are written
        self._letters = [0]  # how many characters that are no blanks are said before each block, and in all of them
        self._open: list[str] = []  # what came after the blocks: a list of all tokens would take eight times the memory
        self._open_length = 0
        self._told = (0, "")  # what `beginning` returned last, and for how many letters

    def add(self, said: str, source: str) -> None:
        """Add text at the end.

        Args:
            said: What is said for it; its blanks do not matter.
            source: The text, as the caller gave it.
        """
        if said != source:
            self._close_blocks(whole=True)
            self._changed.add(len(self._blocks))
            self._append(source, said)
            return
        self._open.append(source)
        self._open_length += len(source)
        if self._open_length >= _BLOCK:
            self._close_blocks(whole=False)

    def _close_blocks(self, *, whole: bool) -> None:
        """Put what came into blocks, as far as it fills some; all of it, if `whole`."""
        text = "".join(self._open)
        end = len(text) if whole else len(text) - len(text) % _BLOCK
        for start in range(0, end, _BLOCK):
            block = text[start : min(start + _BLOCK, end)]
            self._append(block, block)
        self._open = [text[end:]]
        self._open_length = len(text) - end

    def _append(self, block: str, said: str) -> None:
        self._blocks.append(block)
        self._letters.append(self._letters[-1] + sum(map(len, said.split())))

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
        if block in self._changed:
            whole = self._letters[block + 1] == letters
            return "".join(self._blocks[: block + whole]).rstrip()
        remaining = letters - self._letters[block]
        for end, char in enumerate(text, 1):
            remaining -= not char.isspace()
            if not remaining:
                self._told = letters, "".join([*self._blocks[:block], text[:end]])
                return self._told[1]
        return self.text

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return where the text begins and ends that these letters are said for.

        Args:
            first: How many characters that are no blanks are said before it.
            last: How many up to its last one.
        """
        return self._place(first + 1)[0], self._place(last)[1]

    def _place(self, letters: int) -> tuple[int, int]:
        """Return where the last of so many letters begins and ends in the text, or what was changed to it."""
        block = bisect.bisect_left(self._letters, letters) - 1
        begins = sum(map(len, self._blocks[:block]))
        text = self._blocks[block] if block < len(self._blocks) else "".join(self._open)
        if block in self._changed:
            return begins, begins + len(text)
        places = [index for index, char in enumerate(text, begins) if not char.isspace()]
        at = places[letters - self._letters[block] - 1]
        return at, at + 1
