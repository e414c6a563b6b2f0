"""Finds the place in the sent text to which the times of a message belong.

`alignment` (the characters sent) decides where it continues the text. Otherwise the words of `normalizedAlignment` (the
characters read) are searched (`word_matching.py`). If neither continues the text, a phrase came without times, and a
later phrase is tried. An alignment that is found nowhere gives no times.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence

import attrs

from tts_trio.speech.readings import Reading, Times, letters_end, word_pattern, word_spans
from tts_trio.text import speakable

# A text can be read in fewer words than it was written in.
_WORDS_TO_SPARE = 8

# Words compared with words, for one message: some 30 ms. A sentence takes some hundreds.
_MOST_WORK = 40_000

_BLANKS = re.compile(r"\s*")
_SPEECHLESS = re.compile(r"[\W_]*")


@attrs.frozen
class Place:
    """The words that a message times.

    Attributes:
        reading: The one of its two alignments that says so.
        first: Index of the first word.
        times: When that word and the following are heard, in milliseconds as in the reading.
        cursor: How far the text is aligned with it, in characters.
        cut_ms: When the word began in which that is, if it is inside one.
        known: How many glyphs of the reading that took.
        spelled_from: Where the characters of the reading begin in the text, if they are those of the text.
    """

    reading: Reading
    first: int
    times: Sequence[Times]
    cursor: int
    cut_ms: float | None
    known: int
    spelled_from: int | None = None


class SentText:
    """The phrases sent over a connection.

    Attributes:
        text: All of them.
        length: The length of the text, without the blanks at its end, in characters.
        starts: Where the words begin. A list for these and one for the ends: a pair for each word is an object more.
        ends: Where they end.
        cursor: How far the text is aligned, in characters.
        covered: How many characters are aligned, those after them included that are silent.
    """

    __slots__ = ("_letters", "_phrases", "covered", "cursor", "ends", "length", "starts", "text")

    def __init__(self) -> None:
        self.text: str = ""
        self.length = 0
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.cursor = self.covered = 0
        self._letters: list[int] = [0]  # how many characters the words before each word have, and all of them
        self._phrases: list[int] = [0]  # how many words there are before each phrase, and in all
        word_pattern()  # compiles it now, and not when the first phrase is waited for

    def add(self, phrase: str) -> None:
        """Note a phrase that left, in order. A word never continues in the next phrase."""
        offset = len(self.text)
        self.text += phrase
        for start, end in word_spans(phrase):
            self.starts.append(offset + start)
            self.ends.append(offset + end)
            self._letters.append(self._letters[-1] + end - start)
        self._phrases.append(len(self.ends))
        self.length = self.ends[-1] if self.ends else 0
        self.align(self.cursor)

    def align(self, cursor: int) -> bool:
        """Note how far the text is aligned, and tell whether more of it is covered."""
        covered, silent = self.covered, _SPEECHLESS.match(self.text, cursor)
        self.cursor = cursor
        self.covered = silent.end() if silent else cursor
        return self.covered > covered

    @property
    def is_covered(self) -> bool:
        """Whether nothing is to be heard behind what is aligned."""
        text, at = self.text, self.covered
        return at == len(text) or not (speakable(text[at]) or speakable(text[at:]))

    @property
    def word(self) -> int:
        """Index of the word in which, or before which, the cursor stands."""
        return bisect.bisect_right(self.ends, self.cursor)

    @property
    def is_inside_phrase(self) -> bool:
        """Whether the cursor is."""
        word = bisect.bisect_right(self.ends, self.cursor)
        inside_word = word < len(self.starts) and self.starts[word] < self.cursor
        return inside_word or self._phrases[bisect.bisect_left(self._phrases, word)] != word

    def word_at(self, offset: int) -> int:
        """Index of the first word that ends after this offset."""
        return bisect.bisect_right(self.ends, offset)

    def letters(self, offset: int) -> int:
        """How many characters before this offset are no blanks."""
        word = self.word_at(offset)
        inside = max(0, offset - self.starts[word]) if word < len(self.starts) else 0
        return self._letters[word] + inside

    def is_spoken(self, word: int) -> bool:
        """Whether there is anything in a word that is to be heard."""
        return speakable(self.text[self.starts[word] : self.ends[word]])

    def end_of(self, said: str) -> int | None:
        """Return how far these characters go on with the text, blanks around them aside.

        Returns:
            None if they are not those at the cursor, one by one: `locate` finds out what they are.
        """
        begin = _BLANKS.match(self.text, self.cursor)
        said = said.strip()
        if not said or begin is None or not self.text.startswith(said, begin.end()):
            return None
        return begin.end() + len(said)

    def repeats(self, said: str) -> bool:
        """Whether these are the last words that were aligned, and not words that are to come."""
        said = said.strip()
        aligned, to_come = self.text[: self.cursor].rstrip(), self.text[self.cursor :]
        return bool(said) and f" {aligned}".endswith(f" {said}") and said not in to_come

    def locate(self, source: Reading | None, said: Reading, *, may_pass: bool) -> Place | None:
        """Find the text that a message times: at the cursor, or else from the beginning of a later phrase.

        Args:
            source: What its times of the characters sent say, if there are any.
            said: What it says in all, behind what came before and was not found.
            may_pass: Whether there was audio in which speech was heard that has no times, and may be passed.
        """
        first = self.word
        later = self._phrases[bisect.bisect_right(self._phrases, first) :]
        begins = [(phrase, self.starts[phrase]) for phrase in later if phrase < len(self.starts)]
        farthest = len(self.text) if may_pass else self.covered
        work = 0
        for index, offset in [(first, self.cursor), *begins]:
            work += len(said.words) * (len(said.words) + _WORDS_TO_SPARE)
            if index > first and work > _MOST_WORK:
                return None
            place = (
                (source and self.match(source, index, offset))
                or self._find(said, index, offset, from_first=index > first)
                or (source and source is not said and self._find(source, index, offset, from_first=True))
            )
            if place and (place.first == first or self.starts[place.first] <= farthest):
                return place
        return None

    def match(self, reading: Reading, first: int, offset: int) -> Place | None:
        """Match the source's own characters, blanks aside, with the text from an offset on, inside or before a word."""
        text, cursor = self.text, offset
        times: list[Times] = []
        begun: int | None = None  # the glyph with which the word begins, or the rest of it
        letters = end = letters_until = 0  # the glyph after its last letter; where it ends in the text, and its letters
        for index, glyph in enumerate(reading.glyphs):
            if glyph.char.isspace():
                continue
            while cursor < len(text) and text[cursor].isspace():
                cursor += 1
            if cursor == len(text) or text[cursor] != glyph.char:
                return None
            if begun is None:
                begun, letters = index, index + 1
                word = first + len(times)
                start, end = self.starts[word], self.ends[word]
                letters_until = start + letters_end(text[start:end])
            cursor += 1
            if cursor <= letters_until:
                letters = index + 1
            if cursor == end:
                times.append(reading.times(begun, letters, index + 1))
                begun = None
        if cursor == offset:
            return None
        if begun is not None and cursor >= letters_until:  # only its marks are still to come
            times.append(reading.times(begun, letters, len(reading.glyphs)))
            begun = None
        start_ms = None if begun is None else reading.glyphs[begun].start_ms
        return Place(reading, first, times, cursor, start_ms, len(reading.glyphs), offset)

    def _find(self, reading: Reading, first: int, offset: int, *, from_first: bool) -> Place | None:
        """Find words that were read otherwise than they were written."""
        words = slice(first, first + len(reading.words) + _WORDS_TO_SPARE)
        spans = zip(self.starts[words], self.ends[words], strict=True)
        written = [self.text[max(offset, start) : end] for start, end in spans]
        phrases = self._phrases[bisect.bisect_right(self._phrases, first) :]
        ends = [end - first for end in itertools.takewhile(lambda end: end <= first + len(written), phrases)]
        from tts_trio.speech.word_matching import find_words  # loaded late: mostly the characters are those of the text

        found = find_words(reading, written, ends, from_first=from_first)
        if found is None:
            return None
        first += found.skipped
        cursor = self.ends[first + len(found.times) - 1]
        return Place(reading, first, found.times, cursor, None, found.read)
