"""Finds the words that the service read among the words that were written: "сорок два" for "42", "Doctor" for "Dr.".

The service reports the words as it read them, and the caller knows the words as they were written. Equal words anchor
the one sequence to the other (by an edit distance over the words of one message), and the words between two anchors
share the time between them. Words are compared without case, accents and punctuation.
"""

from __future__ import annotations

import bisect
import enum
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from tts_trio.speech.readings import CJK, Reading, ReadWord, Times, ends_sentence, key_of

_ANY_CJK = re.compile(CJK)
_INNER_PUNCTUATION = re.compile(r"\w[^\w\s'’]+\w")
_ABBREVIATION_LENGTH = 3

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
    keys = [key_of(word) for word in written]
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


# How words are aligned: by the edit distance of the words read, one for each row, to the words written, one for each
# column. A cell holds the least cost of reading the words of the rows above as the words of the columns to its left,
# and `table` the step that led to it:
#
#     EQUAL        one word read is one word written: down and right, for nothing
#     CHANGED      the same, but the two differ ("Doctor" for "Dr.")
#     NOT_WRITTEN  a word was read besides (the "two" of "forty two" for "42"): down
#     NOT_READ     a word was written and is not heard (an emoji, or text that was said before): right
#
# All words read must be used, so a path ends in the last row. Its column is not known, because the text goes on after
# the words read: it is the end of a phrase, where clips end, or else the cheapest other column. From there the steps
# are followed back to the first cell:
#
#     read             forty     two          roubles
#     written          42                     roubles.
#     step             CHANGED   NOT_WRITTEN  EQUAL
#
# The words written between two EQUAL steps share the time between them (`_share`).


def _align(
    reading: Reading,
    written: Sequence[str],
    keys: Sequence[str],
    ordinary: Sequence[bool],
    phrase_ends: Sequence[int],
) -> Iterator[tuple[list[_Step], bool]]:
    """Align all words read with the beginning of the words written, the cheapest alignment first.

    Yields:
        The steps of an alignment, and whether it ends at the end of a phrase that may have been read whole. There is
        one alignment for each such end, and the cheapest of all others.
    """
    read = reading.words
    skipping = [_LEFT_OUT if key else 0 for key in keys]  # punctuation and emoji are passed in silence
    endings = [ends_sentence(word) for word in written]
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


def _is_ordinary(word: str, key: str) -> bool:
    """Whether a word is read as it is written: letters, no abbreviation, of a script that spells."""
    if not key.isalpha() or _ANY_CJK.search(word) or _INNER_PUNCTUATION.search(word):
        return False
    return len(key) > _ABBREVIATION_LENGTH or not word.endswith(".")
