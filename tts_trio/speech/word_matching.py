"""Words that were read, found among the words that were written: "сорок два" for "42", "Doctor" for "Dr.".

The service reports the words as it read them; the caller knows the words as they were written. Equal words anchor the
one sequence to the other (an edit distance over the words of one message), and the words between two anchors share the
time between them. Words are compared without case, accents and punctuation.
"""

from __future__ import annotations

import bisect
import enum
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from tts_trio.text import speakable
from tts_trio.wire.events import Alignment

# Scripts without blanks between words that can be cut anywhere: kana and Chinese characters.
# A range an atomic group: as one set they would take the regular expressions' compiler 50 times as long.
_CJK = "(?:(?>[\u3041-\u9fff])|(?>[\uf900-\ufaff])|(?>[\uff66-\uff9d])|(?>[\U00020000-\U000323af]))"
_WORD = re.compile(rf"[^\w\s]*{_CJK}[^\w\s]*|(?:(?!{_CJK})\S)+")
_ANY_CJK = re.compile(_CJK)
_INNER_PUNCTUATION = re.compile(r"\w[^\w\s'’]+\w")

_SENTENCE_ENDS = frozenset(".!?…。！？")
_ABBREVIATION_LENGTH = 3

_LONGEST_MS = 3_600_000
_LONGEST_WORD = 200
_MOST_COMPARISONS = 20_000  # about 15 ms, for a clip of 140 words; a sentence takes some hundreds

# What readings cost. Ordinary words are read as they were written, so that it is likelier that a word was put in beside
# them (as when a number is read) than that they were changed; words that end a sentence do so when read; and what ends
# like a clip ends where a phrase ends.
_CHANGED = 4
_ORDINARY_CHANGED = 8
_OTHER_ENDING = 3
_PUT_IN = 6
_LEFT_OUT = 6
_STOPS_SHORT = 4


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
            ReadWord(key, _ends_sentence(word), end, self.times(start, start + letters_end(word), end))
            for start, end in word_spans(text)
            if (key := _key(word := text[start:end]))
        ]

    def times(self, start: int, letters: int, end: int) -> Times:
        """When the word is heard whose glyphs are from `start` to `end`, its letters and digits to `letters`."""
        return Times(self.glyphs[start].start_ms, self.glyphs[letters - 1].end_ms, self.glyphs[end - 1].end_ms)


@attrs.frozen
class Found:
    """Where the words read were found.

    Attributes:
        skipped: How many of the words written, all of them whole phrases, come before what was read.
        times: When the words after those were read, in milliseconds as in the reading.
        read: How many glyphs of the reading that took; of those that follow it is not certain which words they read.
    """

    skipped: int
    times: Sequence[Times]
    read: int


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


def find_words(
    reading: Reading, written: Sequence[str], phrase_ends: Sequence[int], *, from_first: bool
) -> Found | None:
    """Find the words read at the beginning of the words written.

    Args:
        reading: What was read.
        written: The words that may have been read, in order; the first may be the rest of a word.
        phrase_ends: After how many of them a phrase ends, in order. A clip is usually one phrase, so where its last
            words were read otherwise than they were written, they are taken to reach to the end of the phrase.
        from_first: Whether the first word must be among those that are equal.

    Returns:
        None if the two have too little in common to be the same text: of the words of a phrase that one reads as they
        are written half must be equal, and if there are several phrases, a word of the last.
    """
    read = reading.words
    if not read or not written or len(read) * len(written) > _MOST_COMPARISONS:
        return None
    keys = [_key(word) for word in written]
    if from_first and read[0].key != keys[0]:
        return None
    ordinary = [_is_ordinary(word, key) for word, key in zip(written, keys, strict=True)]
    for steps, whole in _align(reading, written, keys, ordinary, phrase_ends):
        while steps and not whole and steps[-1].kind is not _Kind.EQUAL:
            steps.pop()  # what follows the last anchor may have been read in part only
        if not steps or (from_first and steps[0].kind is not _Kind.EQUAL):
            continue
        silent = next((at for at, step in enumerate(steps) if step.kind is not _Kind.NOT_READ), 0)
        skipped = max((end for end in phrase_ends if end <= silent), default=0)
        steps = steps[skipped:]
        if _is_plausible(steps, ordinary, [end for end in phrase_ends if end > skipped]):
            times = _share(steps, read, keys, reading.glyphs[0].start_ms)
            return Found(skipped, times, len(reading.glyphs) if whole else read[steps[-1].read].end)
    return None


def _is_plausible(steps: Sequence[_Step], ordinary: Sequence[bool], phrase_ends: Sequence[int]) -> bool:
    told = [step for step in steps if step.kind is not _Kind.NOT_WRITTEN]
    phrases = [
        list(phrase) for _, phrase in itertools.groupby(told, lambda step: bisect.bisect(phrase_ends, step.written))
    ]
    for phrase in phrases:
        expected = [step.kind is _Kind.EQUAL for step in phrase if ordinary[step.written]]
        if 2 * sum(expected) < len(expected):
            return False
    return len(phrases) == 1 or (bool(phrases) and any(step.kind is _Kind.EQUAL for step in phrases[-1]))


class _Kind(enum.IntEnum):
    """How a word read and a word written go together."""

    EQUAL = 0
    CHANGED = 1
    NOT_WRITTEN = 2
    NOT_READ = 3


class _Step(NamedTuple):
    kind: _Kind
    read: int
    written: int


def _align(
    reading: Reading,
    written: Sequence[str],
    keys: Sequence[str],
    ordinary: Sequence[bool],
    phrase_ends: Sequence[int],
) -> Iterator[tuple[list[_Step], bool]]:
    """Ways to read all that was read from the beginning of what was written, the cheapest first.

    Yields:
        The steps, and whether they lead to the end of a phrase that may have been read to its end. There is one way
        for each such end, and the cheapest of all others.
    """
    read = reading.words
    skipping = [_LEFT_OUT if key else 0 for key in keys]  # punctuation and emoji are passed in silence
    endings = [_ends_sentence(word) for word in written]
    above = [0, *itertools.accumulate(skipping)]
    table = [bytes([_Kind.NOT_READ]) * len(above)]
    for word in read:
        row, kinds = [above[0] + _PUT_IN], bytearray([_Kind.NOT_WRITTEN])
        for column, key in enumerate(keys):
            cost, kind = above[column], _Kind.EQUAL
            if word.key != key:
                other_ending = _OTHER_ENDING if word.ends_sentence != endings[column] else 0
                cost += other_ending + (_ORDINARY_CHANGED if ordinary[column] else _CHANGED)
                kind = _Kind.CHANGED
            if above[column + 1] + _PUT_IN < cost:
                cost, kind = above[column + 1] + _PUT_IN, _Kind.NOT_WRITTEN
            if row[column] + skipping[column] < cost:
                cost, kind = row[column] + skipping[column], _Kind.NOT_READ
            row.append(cost)
            kinds.append(kind)
        above = row
        table.append(bytes(kinds))
    ends: Sequence[int] = () if reading.breaks_off else phrase_ends
    elsewhere = min((column for column in range(1, len(above)) if column not in ends), key=above.__getitem__, default=0)
    if elsewhere and ends:
        above[elsewhere] += _STOPS_SHORT
    for column in sorted({elsewhere, *ends} - {0}, key=above.__getitem__):
        yield _steps(table, column), column in ends


def _steps(table: Sequence[bytes], column: int) -> list[_Step]:
    steps: list[_Step] = []
    row = len(table) - 1
    while row or column:
        kind = _Kind(table[row][column])
        row -= kind is not _Kind.NOT_READ
        column -= kind is not _Kind.NOT_WRITTEN
        steps.append(_Step(kind, row, column))
    return steps[::-1]


def _share(steps: Sequence[_Step], read: Sequence[ReadWord], keys: Sequence[str], begin_ms: float) -> list[Times]:
    """Give every word written in these steps its time: that of its equal, or its share of the time between two."""
    times: list[Times] = []
    for equal, group in itertools.groupby(steps, key=lambda step: step.kind is _Kind.EQUAL):
        run = list(group)
        said = [read[step.read].times for step in run if step.kind is not _Kind.NOT_READ]
        meant = [keys[step.written] for step in run if step.kind is not _Kind.NOT_WRITTEN]
        if equal or len(said) == len(meant):
            times += said
        elif meant:
            ended_ms = times[-1].mark_ms if times else begin_ms
            following = run[-1].read + (run[-1].kind is not _Kind.NOT_READ)
            if said:
                span = Times(said[0].start_ms, *said[-1][1:])
            else:
                end = read[following].times.start_ms if following < len(read) else ended_ms
                span = Times(ended_ms, end, end)
            times += _split(span, [max(1, len(key)) for key in meant])
        elif times:  # said besides: it belongs to the word before
            times[-1] = Times(times[-1].start_ms, *said[-1][1:])
    return times


def _split(span: Times, weights: Sequence[int]) -> Iterator[Times]:
    per_weight = (span.end_ms - span.start_ms) / sum(weights)
    borders = [span.start_ms + per_weight * so_far for so_far in itertools.accumulate(weights, initial=0)]
    for start, end in itertools.pairwise(borders[:-1]):
        yield Times(start, end, end)
    yield Times(borders[-2], *span[1:])


def _key(word: str) -> str:
    """What two spellings of one word have in common."""
    if len(word) > _LONGEST_WORD:  # to normalise takes the square of its length, if all of it are accents
        return word
    return "".join(char for char in unicodedata.normalize("NFKD", word).casefold() if char.isalnum())


def _ends_sentence(word: str) -> bool:
    return not _SENTENCE_ENDS.isdisjoint(word[-2:])


def _is_ordinary(word: str, key: str) -> bool:
    """Whether a word is read as it is written: letters, no abbreviation, of a script that spells."""
    if not key.isalpha() or _ANY_CJK.search(word) or _INNER_PUNCTUATION.search(word):
        return False
    return len(key) > _ABBREVIATION_LENGTH or not word.endswith(".")
