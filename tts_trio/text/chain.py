"""The transforms of one reply, in a row, and which part of the caller's text each piece of what they say stands for.

How it works. A transform answers in pairs: a text, and how many characters of what it was fed this text stands for, in
order. What the first one says is fed to the second, so what the second one counts are characters of the first one's
text. `_Link` counts them back: it queues, for each pair of the transform before, how long its text is and how many
characters of the source it stands for. A text as long as its source is taken to be the source's own characters, one by
one, and may be counted in parts. Any other text counts when its last character does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tts_trio.config.protocols import Transform, TransformFactory
from tts_trio.errors import ConfigurationError

Piece: TypeAlias = tuple[str, str]
"""A text to speak, and the caller's text that it stands for. Either may be ""; mostly they are the same."""

_Pair: TypeAlias = tuple[str, int]


class Chain:
    """The transforms of one reply.

    Args:
        factories: What makes each transform, in the order in which the text passes them.
    """

    def __init__(self, factories: Sequence[TransformFactory]) -> None:
        self._links = [_Link(factory()) for factory in factories]
        self._source = ""  # the caller's text for which nothing is said yet

    def feed(self, text: str) -> list[Piece]:
        """Take a piece of the caller's text of any size, and return what is certain to be said."""
        self._source += text
        return self._through([(text, len(text))], lambda _: ())

    def pause(self) -> list[Piece]:
        """Give up what waits for more text, as the stream of tokens has stalled."""
        return self._through([], lambda transform: transform.pause())

    def close(self) -> list[Piece]:
        """Return all that is left. No more text will be fed."""
        pieces = self._through([], lambda transform: transform.close())
        return [*pieces, ("", rest)] if (rest := self.drop()) else pieces

    @property
    def holds(self) -> bool:
        """Whether text waits for more text."""
        return bool(self._source)

    def drop(self) -> str:
        """Drop the text that waits, and return it as the caller gave it."""
        source, self._source = self._source, ""
        return source

    def _through(self, pairs: list[_Pair], ending: Callable[[Transform], Iterable[_Pair]]) -> list[Piece]:
        for link in self._links:
            pairs = link.pass_on(pairs, ending)
        pieces: list[Piece] = []
        for said, length in pairs:
            pieces.append((said, self._source[:length]))
            self._source = self._source[length:]
        return pieces


class _Link:
    """One transform, and what it was fed and has not answered for."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform
        self._fed: deque[tuple[int, int]] = deque()  # how long each text is, and how much of the source it stands for

    def pass_on(self, pairs: list[_Pair], ending: Callable[[Transform], Iterable[_Pair]]) -> list[_Pair]:
        """Feed what the transform before has said, and return what this one says, counted in the source."""
        said: list[_Pair] = []
        for text, length in pairs:
            answers = [*self._transform.feed(text)] if text else []
            if not self._fed and len(answers) == 1 and answers[0][1] == len(text):
                said.append((answers[0][0], length))  # mostly, so that nothing has to be counted
            else:
                self._fed.append((len(text), length))
                self._count(answers, said)
        self._count(ending(self._transform), said)
        if silent := self._silent():
            said.append(("", silent))
        return said

    def _count(self, pairs: Iterable[_Pair], said: list[_Pair]) -> None:
        for text, length in pairs:
            if silent := self._silent():
                said.append(("", silent))
            said.append((text, self._take(length)))

    def _silent(self) -> int:
        """Take what stands before the next character that was fed, and is not said."""
        source = 0
        while self._fed and not self._fed[0][0]:
            source += self._fed.popleft()[1]
        return source

    def _take(self, characters: int) -> int:
        """Take so many characters of what was fed, and return how many of the source they stand for."""
        source = 0
        while characters:
            if not self._fed:
                raise ConfigurationError(
                    f"transforms: {self._transform!r} answered for {characters} more characters than it was fed; the "
                    "lengths of its pieces must add up to the text that it was fed",
                    field="transforms",
                )
            length, stands_for = self._fed.popleft()
            if length > characters:
                whole = characters if length == stands_for else 0
                self._fed.appendleft((length - characters, stands_for - whole))
                return source + whole
            source += stands_for
            characters -= length
        return source
