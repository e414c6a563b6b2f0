"""The words of a stream of text: runs of non-blanks, each taken apart into its body, its tail and its mark."""

from __future__ import annotations

import enum
import re
import unicodedata

import attrs

from tts_trio.text.scripts import FIRST_UNSPACED, is_unspaced, words_in

RUNS = re.compile(r"([\S\u00a0\u2007\u202f]*)([^\S\u00a0\u2007\u202f]*)")
"""Matches a run of non-blanks and the blanks after it, at which text can be cut. A no-break space is no blank."""
# Marks of languages that write no blank after a mark. A phrase may end after them, and after the closing brackets
# behind them; after a mark of ASCII too, where letters of such a language are on both sides.
_UNSPACED_MARKS = "。！？，、；：।॥؟۔،؛։።፣፤፥፦፧፨។៕៖၊။"
_CLOSING = re.compile(rf"[{_UNSPACED_MARKS},.!?;:…」』”）’】》〉\ufe00-\ufe0f]+")
_UNSPACED_MARK = re.compile(f"[{_UNSPACED_MARKS}]")
LONGEST_MARK = 8
"""The most characters of such a mark with the closing brackets behind it."""
_LONGEST_INITIALS = 20  # the most characters of letters with full stops between them that count as one word
CHARACTERS_A_SECOND = 15.0
"""Characters in a second of speech at its usual speed, in the languages that were tried."""
SLICE = 1000
"""Characters that take a few milliseconds to read. A longer text is read in slices, so that trio's loop goes on."""
_SPOKEN_SIGNS = "$€£¥₽₴₸₺₹%№"  # that are read aloud although they are not letters
_NO_LETTER = "\u2139"  # a letter to Unicode, an emoji to everybody else
_SPOKEN = rf"(?:[^\W_{_NO_LETTER}]|[{_SPOKEN_SIGNS}])"
_IS_SPOKEN = re.compile(_SPOKEN)
_FIRST_TO_LAST_SPOKEN = re.compile(f"{_SPOKEN}(?:.*{_SPOKEN})?", re.DOTALL)
_AROUND = ".,;:!?…()«»“”‘’\"'"

_FULL_STOP = "."
_SENTENCE_MARKS = frozenset("!?！？。।॥؟۔։።፧፨។៕။‼⁇⁈⁉")
_CLAUSE_MARKS = frozenset(",;:—–，、；：،؛՝፣፤፥፦៖၊")
_MARKS = re.compile(f"[{_FULL_STOP}…{''.join(_CLAUSE_MARKS | _SENTENCE_MARKS)}]")
ENDING_MARKS = _SENTENCE_MARKS | {*_UNSPACED_MARKS, _FULL_STOP}
"""The marks behind which a sentence, or a word without a blank behind it, may end."""


class Mark(enum.Enum):
    """The kinds of punctuation after a word."""

    NONE = enum.auto()
    CLAUSE = enum.auto()
    ELLIPSIS = enum.auto()
    FULL_STOP = enum.auto()
    """A single full stop, which may end a sentence, an abbreviation or an ordinal."""
    SENTENCE = enum.auto()
    """A mark that ends a sentence for certain, such as "!"."""


def speakable(text: str) -> bool:
    """Whether a text has anything to speak: a letter, a digit, a sign of money or per cent.

    The service answers blanks, punctuation and emoji with silence, or not at all.
    """
    return _IS_SPOKEN.search(text) is not None


def mark_of(punctuation: str) -> Mark:
    """Return the kind of the punctuation between a word and the next blank, without quotes and brackets."""
    marks = _MARKS.findall(punctuation)
    if not marks:
        return Mark.NONE
    if marks[-1] in _CLAUSE_MARKS:
        return Mark.CLAUSE
    if not _SENTENCE_MARKS.isdisjoint(marks):
        return Mark.SENTENCE
    return Mark.FULL_STOP if marks == [_FULL_STOP] else Mark.ELLIPSIS


def split_unspaced(run: str, *, known: int) -> list[str]:
    """Cut a run after each mark of a language that writes no blank after it: "你好。再见" is two words.

    Args:
        run: The run, or its end.
        known: How many of its first characters were cut before; they are left out.

    Returns:
        The words of the other characters. Each may be empty, and the last one may go on.
    """
    words: list[str] = []
    start = known
    if not run.isascii():
        for match in _CLOSING.finditer(run):
            end = match.end()
            if known <= end < len(run) and _parts(run[: match.start()][-1:], match[0], run[end]):
                words.append(run[start:end])
                start = end
    words.append(run[start:])
    return words


def _parts(before: str, marks: str, after: str) -> bool:
    """Whether marks part the words on both sides of them, of which these are the nearest characters."""
    if _UNSPACED_MARK.search(marks):
        return not (before.isdigit() and after.isdigit())
    if _FULL_STOP in marks:  # not "例子.com", nor "د.محمد"
        return is_unspaced(before) and is_unspaced(after)
    return marks[0] in ",!?;:" and _is_caseless(before) and _is_caseless(after)


def _is_caseless(char: str) -> bool:
    """Whether a character is of a script without capitals; False for ""."""
    return (char.isalpha() and char.lower() == char.upper()) or unicodedata.category(char or " ")[0] == "M"


@attrs.define  # a frozen one takes three times as long to make, and there is one for each word of a reply
class Word:
    """A run of non-blanks that has something to speak.

    Attributes:
        core: The run from its first to its last spoken character, in lower case, with ``е`` for ``ё``. Of single
            letters with full stops ("т. д.", "p. m.") it is all letters so far, without blanks: "т.д".
        capital: Whether the word begins with a capital letter.
        mark: The kind of the punctuation after the word.
        body: The run without that punctuation, as it is written.
        tail: The punctuation.
        count: The number of words that it counts as; more than one only in languages that write no blanks.
        end: The position of its end in the text of the reply.
        is_number: Whether it begins with a figure, a sign of money aside: "42", "1,5", "$45", "14th".
        after_number: Whether the word before it is a number.
        is_code: Whether it is written in capitals and figures: "RB", "1Z", "XVII", "UA1204".
        starts_line: Whether it is the first word of its line.
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
        """Whether the word is a time of day: "10:30"."""
        return ":" in self.core

    @property
    def is_letter(self) -> bool:
        """Whether the word is one letter, or single letters with full stops: an initial, "т", "U.S"."""
        return all(len(part) == 1 and part.isalpha() for part in self.core.split("."))


def core_of(word: str) -> str:
    """Return a word as the lists of `Lexicon` have it: in lower case, without marks around it, with ``е`` for ``ё``."""
    return word.strip(_AROUND).lower().replace("ё", "е").replace("’", "'")


def read_word(run: str, *, end: int, previous: Word | None, starts_line: bool) -> Word | None:
    """Take a run of non-blanks apart; None: it has nothing to speak."""
    if run.isalpha() and _NO_LETTER not in run:  # most words: there are no marks in them, nor around them
        spoken, end_of_body, tail, mark = run, len(run), "", Mark.NONE
    else:
        found = _FIRST_TO_LAST_SPOKEN.search(run)
        if found is None:
            return None
        spoken, end_of_body = found[0], found.end()
        tail = run[end_of_body:]
        mark = mark_of(tail) if tail else Mark.NONE
    core = core_of(spoken)
    if (
        previous is not None
        and previous.mark is mark is Mark.FULL_STOP
        and len(core) == 1
        and core.isalpha()
        and previous.is_letter
        and len(previous.core) < _LONGEST_INITIALS
    ):
        core = f"{previous.core}.{core}"
    return Word(
        core=core,
        capital=spoken[0].isupper(),
        is_code=len(spoken) > 1 and spoken.isalnum() and spoken == spoken.upper() and not spoken.isdigit(),
        mark=mark,
        body=run[:end_of_body],
        tail=tail,
        count=1 if core[0] < FIRST_UNSPACED else words_in(core),
        end=end,
        is_number=core[0].isdigit() or (core[0] in _SPOKEN_SIGNS and core[1:2].isdigit()),
        after_number=previous is not None and previous.is_number and previous.mark is Mark.NONE,
        starts_line=starts_line,
    )
