"""What the service's times say: characters, the words of these, and when they are heard.

An alignment is a list of characters with their times. It may be malformed, count from anywhere, break off inside a
word, and bring a character in two halves.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from tts_trio.text import speakable
from tts_trio.wire.events import Alignment

# Scripts without blanks between words that can be cut anywhere: kana and Chinese characters.
# A range an atomic group: as one set they would take the regular expressions' compiler 50 times as long.
CJK = "(?:(?>[\u3041-\u9fff])|(?>[\uf900-\ufaff])|(?>[\uff66-\uff9d])|(?>[\U00020000-\U000323af]))"
_WORD = re.compile(rf"[^\w\s]*{CJK}[^\w\s]*|(?:(?!{CJK})\S)+")

_SENTENCE_ENDS = frozenset(".!?…。！？")

_LONGEST_MS = 3_600_000
_LONGEST_WORD = 200


class Glyph(NamedTuple):
    """One character of an alignment and its time, in milliseconds from where the alignment counts."""

    char: str
    start_ms: float
    end_ms: float

    def later(self, ms: float) -> Glyph:
        """The same, counted from somewhere else."""
        return Glyph(self.char, self.start_ms + ms, self.end_ms + ms)


class Times(NamedTuple):
    """When a word is heard, in milliseconds: the pause of a mark after it may be long, and have a sound of its own."""

    start_ms: float
    end_ms: float
    """When its last letter or digit ends."""
    mark_ms: float
    """When the marks after that end."""


class ReadWord(NamedTuple):
    """One word of a reading; `end` is the index of the glyph after it."""

    key: str
    ends_sentence: bool
    end: int
    times: Times


@attrs.frozen
class Reading:
    """A well-formed alignment, or a piece of one together with what came before it.

    Attributes:
        glyphs: Its characters, at least one.
        start_ms: When the message began to count.
    """

    glyphs: Sequence[Glyph]
    start_ms: float

    def after(self, earlier: Sequence[Glyph]) -> Reading:
        """The same with earlier characters before it, their times as in this one."""
        return attrs.evolve(self, glyphs=[*earlier, *self.glyphs])

    @property
    def end_ms(self) -> float:
        """When its last character ends."""
        return self.glyphs[-1].end_ms

    @property
    def ends_in_blank(self) -> bool:
        """Whether it ends as the service ends the alignment of a whole clip (wire/README.md, 2.5)."""
        return self.glyphs[-1].char.isspace()

    @property
    def breaks_off(self) -> bool:
        """Whether it ends in the middle of its last word, or may."""
        return self.glyphs[-1].char.isalnum()

    @functools.cached_property
    def words(self) -> Sequence[ReadWord]:
        """Its words, without those that are punctuation only."""
        text = "".join(glyph.char for glyph in self.glyphs)
        return [
            ReadWord(key, ends_sentence(word), end, self.times(start, start + letters_end(word), end))
            for start, end in word_spans(text)
            if (key := key_of(word := text[start:end]))
        ]

    def times(self, start: int, letters: int, end: int) -> Times:
        """When the word is heard whose glyphs are from `start` to `end`, its letters and digits to `letters`."""
        return Times(self.glyphs[start].start_ms, self.glyphs[letters - 1].end_ms, self.glyphs[end - 1].end_ms)


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the words of a text begin and end.

    Words are what stands between blanks, with its punctuation; each Chinese or Japanese character is one.
    """
    return (match.span() for match in _WORD.finditer(text))


def letters_end(word: str) -> int:
    """Where the last letter, digit or spoken sign of a word ends; at its end if it has none."""
    for end in range(len(word), 0, -1):
        if speakable(word[end - 1]) or unicodedata.combining(word[end - 1]):
            return end
    return len(word)


def read_alignment(alignment: Alignment | None) -> Reading | None:
    """Check an alignment and take it apart; None if there is none or it is malformed."""
    if alignment is None or len({len(column) for column in attrs.astuple(alignment, recurse=False)}) != 1:
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
    """Put characters together that JSON brought in two halves, each with a time of its own."""
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
    """What two spellings of one word have in common."""
    if len(word) > _LONGEST_WORD:  # to normalize takes the square of its length, if all of it are accents
        return word
    return "".join(char for char in unicodedata.normalize("NFKD", word).casefold() if char.isalnum())


def ends_sentence(word: str) -> bool:
    """Whether a word ends a sentence."""
    return not _SENTENCE_ENDS.isdisjoint(word[-2:])
