"""Reads the service's alignments: their characters, the words of these, and when each is heard.

An alignment is a list of characters with their times. It may be malformed, its times may count from any moment, it may
break off inside of a word, and it may have the two halves of a character as two characters.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from tts_trio.text import speakable
from tts_trio.text.scripts import CJK, CLUSTER, FIRST_UNSPACED, UNSPACED
from tts_trio.wire.events import Alignment

_SENTENCE_ENDS = frozenset(".!?…。！？")

_LONGEST_MS = 3_600_000  # of a time in an alignment
_LONGEST_WORD = 200  # characters of a word that is normalized


class Glyph(NamedTuple):
    """One character of an alignment, and its times in milliseconds from the alignment's zero."""

    char: str
    start_ms: float
    end_ms: float

    def later(self, ms: float) -> Glyph:
        """Return the character with its times moved by so many milliseconds."""
        return Glyph(self.char, self.start_ms + ms, self.end_ms + ms)


class Times(NamedTuple):
    """When a word and its marks are heard, in milliseconds. The pause of a mark may be long, and may have a sound."""

    start_ms: float
    """When the word begins."""
    end_ms: float
    """When its last letter or digit ends."""
    mark_ms: float
    """When the marks after that letter end."""


class ReadWord(NamedTuple):
    """One word of a reading."""

    key: str
    """The word's spelling for comparisons (`key_of`)."""
    ends_sentence: bool
    """Whether a mark after the word ends a sentence."""
    end: int
    """The index of the glyph after the word."""
    times: Times
    """When the word is heard."""


@attrs.frozen
class Reading:
    """A well-formed alignment, perhaps with characters of earlier alignments before its own.

    Attributes:
        glyphs: The characters, at least one.
        start_ms: When the first character of the alignment itself begins.
    """

    glyphs: Sequence[Glyph]
    start_ms: float

    def after(self, earlier: Sequence[Glyph]) -> Reading:
        """Return the reading with earlier characters before it, whose times count from the same zero."""
        return attrs.evolve(self, glyphs=[*earlier, *self.glyphs])

    @property
    def end_ms(self) -> float:
        """When the last character ends."""
        return self.glyphs[-1].end_ms

    @property
    def ends_in_blank(self) -> bool:
        """Whether it ends with a blank, as the service ends the alignment of a whole clip (wire/README.md, 2.5)."""
        return self.glyphs[-1].char.isspace()

    @property
    def breaks_off(self) -> bool:
        """Whether it may end in the middle of its last word."""
        return self.glyphs[-1].char.isalnum()

    @functools.cached_property
    def words(self) -> Sequence[ReadWord]:
        """The words, without those of punctuation only."""
        text = "".join(glyph.char for glyph in self.glyphs)
        return [
            ReadWord(key, ends_sentence(word), end, self.times(start, start + letters_end(word), end))
            for start, end in word_spans(text)
            if (key := key_of(word := text[start:end]))
        ]

    def times(self, start: int, letters: int, end: int) -> Times:
        """Return when a word is heard: its glyphs are `start` to `end`, its letters and digits `start` to `letters`."""
        return Times(self.glyphs[start].start_ms, self.glyphs[letters - 1].end_ms, self.glyphs[end - 1].end_ms)


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """Return the pattern of a word, compiled on first use: it takes 2 ms."""
    return re.compile(rf"[^\w\s]*(?:{CJK}|{CLUSTER})[^\w\s]*|(?:(?!{UNSPACED})\S)+|\S")


_SPACED_WORD = re.compile(r"\S+")  # which is what the other finds, where all words are parted by blanks


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end.

    A word is a run of characters between blanks, with its punctuation. Each Chinese or Japanese character is a word,
    and each cluster of a Thai, Lao, Khmer or Burmese text.
    """
    pattern = word_pattern() if max(text, default="") >= FIRST_UNSPACED else _SPACED_WORD
    return [match.span() for match in pattern.finditer(text)]


def letters_end(word: str) -> int:
    """Return where the last letter, digit or spoken sign of a word ends; the word's length if it has none."""
    for end in range(len(word), 0, -1):
        if speakable(word[end - 1]) or unicodedata.combining(word[end - 1]):
            return end
    return len(word)


def is_well_formed(alignment: Alignment) -> bool:
    """Tell whether an alignment has a time for each character, in order, and characters at both ends."""
    chars, starts, durations = alignment.chars, alignment.starts_ms, alignment.durations_ms
    if not 0 < len(chars) == len(starts) == len(durations):
        return False
    if starts[0] < 0 or starts[-1] > _LONGEST_MS or min(durations) < 0 or max(durations) > _LONGEST_MS:
        return False
    return bool(chars[0] and chars[-1]) and (len(starts) == 1 or sorted(starts) == [*starts])


def read_alignment(alignment: Alignment | None) -> Reading | None:
    """Return the reading of an alignment; None if there is no alignment, or it is malformed."""
    if alignment is None or not len(alignment.chars) == len(alignment.starts_ms) == len(alignment.durations_ms):
        return None
    glyphs: list[Glyph] = []
    earlier = 0.0
    for chars, start, duration in zip(alignment.chars, alignment.starts_ms, alignment.durations_ms, strict=True):
        if not (earlier <= start <= _LONGEST_MS and 0 <= duration <= _LONGEST_MS):
            return None
        glyphs += (Glyph(char, start, start + duration) for char in chars)
        earlier = start
    if not glyphs:
        return None
    if any("\ud800" <= glyph.char <= "\udfff" for glyph in glyphs):
        glyphs = list(_join_surrogates(glyphs))
    return Reading(glyphs, glyphs[0].start_ms)


def _join_surrogates(glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """Join the characters that JSON had in two halves of a surrogate pair, each with times of its own."""
    high: Glyph | None = None
    for glyph in glyphs:
        if high is not None and "\udc00" <= glyph.char <= "\udfff":
            point = 0x10000 + (ord(high.char) - 0xD800 << 10) + (ord(glyph.char) - 0xDC00)
            yield Glyph(chr(point), high.start_ms, glyph.end_ms)
            high = None
            continue
        if high is not None:
            yield high
        high = glyph if "\ud800" <= glyph.char <= "\udbff" else None
        if high is None:
            yield glyph
    if high is not None:
        yield high


def key_of(word: str) -> str:
    """Return the form in which two spellings of a word are equal: letters and digits, in one case, without accents."""
    if len(word) > _LONGEST_WORD:  # normalizing a word of accents takes a time that grows with its length squared
        return word
    return "".join(char for char in unicodedata.normalize("NFKD", word).casefold() if char.isalnum())


def ends_sentence(word: str) -> bool:
    """Whether a word ends a sentence."""
    return not _SENTENCE_ENDS.isdisjoint(word[-2:])
