"""Words as a stream of text brings them: runs of non-blanks, taken apart into head, body, tail and mark."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

import attrs

# Where text can be cut. The no-break spaces are for keeping together what they stand between.
_RUNS = re.compile(r"[^\S\u00a0\u2007\u202f]+|(?:\S|[\u00a0\u2007\u202f])+")
# Languages that write no blanks can be cut after their marks; closing brackets belong to the mark.
_UNSPACED_MARKS = frozenset("。！？，、；：")
_CLOSING = re.compile(r"[。！？，、；：…」』”）’】》〉\ufe00-\ufe0f]+")
LONGEST_MARK = 8
"""Characters of such a mark and what belongs to it."""
_LONGEST_INITIALS = 20  # characters of letters with full stops between them that are read as one word
CHARACTERS_A_SECOND = 15.0
"""Of speech at its usual speed, in the languages that were tried."""
_SLICE = 1000  # characters: a few milliseconds
# Signs that are read aloud though they are no letters.
_SPOKEN_SIGNS = frozenset("$€£¥₽₴₸₺₹%№")
_AROUND = ".,;:!?…()«»“”‘’\"'"
_INFORMATION = "ℹ"  # a letter to Unicode, an emoji to everybody else

_FULL_STOP = "."
_SENTENCE_MARKS = frozenset("!?！？。।॥؟۔‼⁇⁈⁉")
_CLAUSE_MARKS = frozenset(",;:—–，、；：،؛")


class Mark(enum.Enum):
    """What the punctuation after a word says."""

    NONE = enum.auto()
    CLAUSE = enum.auto()
    ELLIPSIS = enum.auto()
    FULL_STOP = enum.auto()
    """May end a sentence, an abbreviation, an ordinal."""
    SENTENCE = enum.auto()


def speakable(text: str) -> bool:
    """Whether there is anything to speak: a letter, a digit, a sign of money or per cent.

    Blanks, punctuation and emoji are not: the service answers them with silence, or with nothing.
    """
    return _first_spoken(text) < len(text)


def _first_spoken(text: str) -> int:
    """Where the first character is that is spoken; the length of the text if there is none."""
    for i, char in enumerate(text):
        if _is_spoken(char):
            return i
    return len(text)


def _is_spoken(char: str) -> bool:
    return (char.isalnum() and char != _INFORMATION) or char in _SPOKEN_SIGNS


def mark_of(punctuation: str) -> Mark:
    """What the characters between a word and the next blank say, quotes and brackets aside."""
    if not punctuation:
        return Mark.NONE
    marks = [
        char
        for char in punctuation
        if char == _FULL_STOP or char == "…" or char in _CLAUSE_MARKS or char in _SENTENCE_MARKS
    ]
    if not marks:
        return Mark.NONE
    if marks[-1] in _CLAUSE_MARKS:
        return Mark.CLAUSE
    if not _SENTENCE_MARKS.isdisjoint(marks):
        return Mark.SENTENCE
    return Mark.FULL_STOP if marks == [_FULL_STOP] else Mark.ELLIPSIS


def runs(token: str) -> Iterator[tuple[bool, str]]:
    """Split a token into runs: (is it blank?, its text)."""
    for match in _RUNS.finditer(token):
        run = match[0]
        yield run[0].isspace() and run[0] not in "\u00a0\u2007\u202f", run


def slices(text: str) -> Iterator[str]:
    """Cut a text, however long, into pieces that can be read without holding up the loop."""
    return (text[start : start + _SLICE] for start in range(0, len(text), _SLICE))


def split_unspaced(run: str, *, known: int) -> Iterator[str]:
    """Cut what is new of a run after the marks of a language that writes no blanks: "你好。再见" is two words.

    Args:
        run: The run, or its end.
        known: How many characters of it are not new; they are left out.

    Returns:
        The words, of which the last one may go on; each may be empty.
    """
    start = known
    if not _UNSPACED_MARKS.isdisjoint(run):
        for match in _CLOSING.finditer(run):
            end = match.end()
            if not known <= end < len(run) or _UNSPACED_MARKS.isdisjoint(match[0]):
                continue
            if not (run[end].isdigit() and run[max(0, match.start() - 1) : match.start()].isdigit()):
                yield run[start:end]
                start = end
    yield run[start:]


@attrs.frozen
class Word:
    """A run of non-blanks with something to speak in it.

    Attributes:
        core: What is between the first and the last character that is spoken, in lower case, ``ё`` as ``е``;
            of letters with full stops between ("т. д.", "p. m.") all of them, without blanks: "т.д".
        capital: Whether it begins with a capital letter.
        mark: What the punctuation after it says.
        body: What is before that punctuation, as it is written.
        tail: The punctuation.
        count: How many words it counts for; more than one only where no blanks are written.
        end: Where it ends in the text it was found in.
        is_number: Whether it begins with a figure, a sign of money aside: "42", "1,5", "$45", "14th".
        after_number: Whether the word before it is a number.
        is_code: Whether it is written in capitals and figures: "RB", "1Z", "XVII", "UA1204".
        starts_line: Whether nothing to speak stands before it in its line.
    """

    core: str
    capital: bool
    mark: Mark
    body: str
    tail: str
    count: int
    end: int
    is_number: bool
    after_number: bool
    is_code: bool
    starts_line: bool

    @property
    def is_time(self) -> bool:
        """Whether it is a time of day: "10:30"."""
        return ":" in self.core

    @property
    def is_letter(self) -> bool:
        """Whether it is one letter, or letters with full stops between: an initial, "т", "U.S"."""
        return all(len(part) == 1 and part.isalpha() for part in self.core.split("."))


def core_of(word: str) -> str:
    """What the lists of words know a word by: lower case, no marks around it, ``е`` for ``ё``."""
    return word.strip(_AROUND).lower().replace("ё", "е").replace("’", "'")


def _is_code(body: str) -> bool:
    """Whether a word of two characters or more is written in capitals and figures."""
    return len(body) > 1 and body.isalnum() and body == body.upper() and not body.isdigit()


def read_word(run: str, *, end: int, previous: Word | None, starts_line: bool) -> Word:
    """Take a run of non-blanks apart; it must have something to speak (`speakable`)."""
    first = _first_spoken(run)
    last = len(run) - 1 - _first_spoken(run[::-1])
    tail = run[last + 1 :]
    core = core_of(run[first : last + 1])
    mark = mark_of(tail)
    if (
        previous is not None
        and previous.mark is mark is Mark.FULL_STOP
        and len(core) == 1
        and core.isalpha()
        and previous.is_letter
        and len(previous.core) < _LONGEST_INITIALS
    ):
        core = f"{previous.core}.{core}"
    unspaced = core[0] >= "\u2e80"
    return Word(
        core=core,
        capital=run[first].isupper(),
        is_code=_is_code(run[first : last + 1]),
        mark=mark,
        body=run[: last + 1],
        tail=tail,
        count=max(1, len(core) // 2) if unspaced else 1,
        end=end,
        is_number=core[0].isdigit() or (core[0] in _SPOKEN_SIGNS and core[1:2].isdigit()),
        after_number=previous is not None and previous.is_number and previous.mark is Mark.NONE,
        starts_line=starts_line,
    )
