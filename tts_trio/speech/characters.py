"""Divides the words of an utterance into characters, each with its times, for the lips of an avatar."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from operator import attrgetter

from tts_trio.speech.readings import letters_end
from tts_trio.speech.results import Word
from tts_trio.speech.segment import Segment


class Characters:
    """The characters of the words known so far; those of a word that stays are made once."""

    def __init__(self) -> None:
        self._words: tuple[Word, ...] = ()
        self._characters: list[Word] = []
        self._counts: list[int] = []  # of the characters up to the end of each word
        self._told: tuple[Word, ...] = ()

    def of(self, words: tuple[Word, ...], segments: Sequence[Segment]) -> tuple[Word, ...]:
        """Return the characters of the words, in order.

        Args:
            words: The words.
            segments: What went over each connection, with the times that the service sent for its characters.
        """
        if words is not self._words:
            pairs = zip(words, self._words, strict=False)
            kept = next((index for index, (new, old) in enumerate(pairs) if new is not old), len(self._counts))
            kept = min(kept, len(words), len(self._counts))
            del self._counts[kept:]
            del self._characters[self._counts[-1] if kept else 0 :]
            for word in words[kept:]:
                segment = segments[bisect.bisect_right(segments, word.start, key=attrgetter("offset")) - 1]
                self._characters += _spell(word, segment)
                self._counts.append(len(self._characters))
            self._words, self._told = words, tuple(self._characters)
        return self._told


def _spell(word: Word, segment: Segment) -> Iterator[Word]:
    """Divide a word. The service's times are stretched to those of the word; without them all letters last as long."""
    letters = letters_end(word.text)
    at = word.start - segment.offset
    times = None if word.filler else segment.spoken.times_of(at, at + letters)
    length_ms = word.end_ms - word.start_ms
    if times is None:
        bounds = [(length_ms * at / letters, length_ms * (at + 1) / letters) for at in range(letters)]
    else:
        first_ms, last_ms = times[0][0], times[-1][1]
        factor = length_ms / (last_ms - first_ms)
        bounds = [((start - first_ms) * factor, (end - first_ms) * factor) for start, end in times]
    bounds += [(length_ms, length_ms)] * (len(word.text) - letters)  # marks, which have no sound
    places = itertools.pairwise(itertools.count(word.start, 0 if word.filler else 1))
    for text, (start_ms, end_ms), place in zip(word.text, bounds, places, strict=False):
        ends_ms = min(word.end_ms, word.start_ms + end_ms)
        yield Word(text, *place, word.start_ms + start_ms, ends_ms, word.estimated or times is None, word.filler)
