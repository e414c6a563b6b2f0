"""The words of one utterance, and their times as the service said them.

To take a message apart into words costs more than all else that is done with it, and few ask for the words before the
utterance is over. So a message that goes on with the text is only noted; it is taken apart when somebody asks, or when
it is to be told whether audio is missing and a bound does not tell. What is asked twice is not made twice.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import add, attrgetter
from typing import Any, NamedTuple

import attrs

from tts_trio.speech.readings import read_alignment
from tts_trio.speech.results import Word
from tts_trio.speech.sent_text import Place, SentText
from tts_trio.wire.events import Alignment

# How much longer than its audio the times of a clip may be, up to its last letter. The text-to-speech models' audio is
# as long as its times, the mark and the blank at their end included (wire/README.md, 2.5): only a frame of a codec may
# be missing (26 ms of mp3, 20 of opus), which is less than a letter of the fastest speech.
_ROUNDED_MS = 30.0

ROUNDING_MS = 0.5
"""Alignments are in whole milliseconds, audio is not: a word that ends within the rounding has ended."""

_MOST_NOTED = 500  # characters: less than a millisecond of work, and some 40 KB


class _Timed(NamedTuple):
    """A word, and when it is heard; its marks may end later than its last letter."""

    start: int
    end: int
    start_ms: float
    end_ms: float
    mark_ms: float


class Reached(NamedTuple):
    """All text up to an offset has been spoken by a time."""

    offset: int
    ms: float


@attrs.frozen
class Origin:
    """Where the text and the audio of a connection begin in those of the utterance.

    Attributes:
        offset: Where the text begins, in characters.
        started_ms: Where the audio begins.
    """

    offset: int = 0
    started_ms: float = 0.0

    def word(self, text: str, start: int, end: int, start_ms: float, end_ms: float, *, estimated: bool = False) -> Word:
        """Make a word, of where it begins and ends in the text of a connection, and when, in its audio."""
        return Word(
            text[start:end],
            start + self.offset,
            end + self.offset,
            start_ms + self.started_ms,
            end_ms + self.started_ms,
            estimated,
        )


class TimedWords:
    """The words that the service timed, clip by clip; none overlaps the next. Some may lie beyond the audio so far."""

    __slots__ = (
        "_characters", "_clip_ms", "_clip_words", "_cut_ms", "_later", "_latest_ms", "_noted", "_origin", "_sent",
        "_spelled", "_timed", "_told", "_told_state", "_untimed",
    )  # fmt: skip

    def __init__(self, sent: SentText, origin: Origin) -> None:
        self._sent = sent
        self._origin = origin
        self._timed: list[_Timed] = []
        self._untimed: list[Reached] = []  # where text ended whose words have no times of their own
        self._told: tuple[Word, ...] = ()  # the first of them, as they were last given out
        # How many of these have ended, how many are told, and until when, if some end within the rounding after that.
        self._told_state: tuple[int, int, float] = (0, 0, 0.0)
        self._cut_ms: float | None = None  # when the word began that is aligned in part
        self._clip_ms = 0.0  # where the clip that is being timed began
        self._clip_words = 0  # its first word in `_timed`
        self._latest_ms = 0.0  # no mark of a word ends later
        # What is to be done when somebody asks: functions in order, each with its arguments behind it, in one list of
        # plain values. The garbage collector looks again and again at every object that stays, and where hundreds of
        # calls speak, each object that a message is noted in has left the processor's caches.
        self._later: list[Any] = []
        self._noted = 0  # characters that it has
        # The characters that the service timed, without an object for each: where they begin in the text, what their
        # times count from, what they are, and when they begin and end. They are placed when somebody asks for them.
        self._spelled: list[tuple[int, float, str, array[float], array[float]]] = []
        self._characters: dict[int, tuple[float, float]] = {}

    # What comes, in the order of the audio.

    def note(self, alignment: Alignment, cursor: int, base_ms: float) -> None:
        """Note a message whose characters are those of the text from the cursor on."""
        chars, starts_ms, durations_ms = alignment.chars, alignment.starts_ms, alignment.durations_ms
        count = len(chars)
        self._later += (TimedWords._take_apart, cursor, base_ms, count, *chars, *starts_ms, *durations_ms)
        self._latest_ms = max(self._latest_ms, base_ms + max(map(add, starts_ms, durations_ms)))
        self._noted += count
        if self._noted > _MOST_NOTED:
            self._catch_up()

    def record(self, place: Place, base_ms: float, *, passed: bool) -> None:
        """Time the words of a place.

        Args:
            place: The place.
            base_ms: What its times count from.
            passed: Whether there are words before it that have no times.
        """
        self._catch_up()
        if passed:
            self._pass(place.first, max(self._clip_ms, self.heard_ms))
            self._cut_ms = None
        self._record(place, base_ms)
        self._latest_ms = max(self._latest_ms, self.heard_ms)

    def begin_clip(self, ms: float, held_back_ms: float, overrun: float) -> bool:
        """Note that the clip before has ended here, and that another begins; False: some of its audio is missing."""
        if self._latest_ms > ms:  # mostly all its times lie in its audio
            if self.are_missing(ms, held_back_ms, overrun):
                return False
            self.end_clip(ms)
        self._later += (TimedWords._begin_clip, ms)
        return True

    def end_clip(self, ms: float) -> None:
        """Compress the times of a clip into its audio, which ended here, if they are longer."""
        if self._latest_ms > ms:
            self._later += (TimedWords._compress, ms)

    def end(self, ms: float) -> None:
        """Note that all words have ended by a time, which is the end."""
        self.end_clip(ms)
        self._later += (TimedWords._end, len(self._sent.ends), ms)

    # What is asked.

    def __bool__(self) -> bool:
        """Tell whether any word has times."""
        self._catch_up()
        return bool(self._timed)

    @property
    def heard_ms(self) -> float:
        """When the marks after the last word end."""
        self._catch_up()
        return self._timed[-1].mark_ms if self._timed else 0.0

    def are_missing(self, ms: float, held_back_ms: float, overrun: float) -> bool:
        """Tell whether the audio ended before the last word did, if it ended here."""
        if self._latest_ms - ms <= _ROUNDED_MS:
            return False
        self._catch_up()
        if not self._timed:
            return False
        end_ms = self._timed[-1].end_ms
        return end_ms - ms > _ROUNDED_MS + held_back_ms + overrun * (end_ms - self._clip_ms)

    def until(self, ms: float) -> tuple[Word, ...]:
        """Return the words that have ended by a time; what was made for an earlier call is not made again."""
        ended, count = self._count(ms), self._count(ms + ROUNDING_MS)
        state = ended, count, ms if ended < count else 0.0
        if state != self._told_state:
            kept = min(ended, self._told_state[0])
            text, origin = self._sent.text, self._origin
            self._told = self._told[:kept] + tuple(
                origin.word(text, timed.start, timed.end, min(timed.start_ms, ms), min(timed.end_ms, ms))
                for timed in self._timed[kept:count]
            )
            self._told_state = state
        return self._told

    def reached(self, ms: float, heard_ms: float) -> Reached:
        """Return how far the text has been spoken by a time; `heard_ms` is that of all the audio."""
        reached = Reached(0, 0.0)
        if ended := self._count(ms):
            timed = self._timed[ended - 1]
            reached = Reached(timed.end, min(timed.mark_ms, heard_ms))
        if passed := bisect.bisect_right(self._untimed, ms, key=attrgetter("ms")):
            reached = max(self._untimed[passed - 1], reached, key=attrgetter("offset"))
        return reached

    def times_of(self, start: int, end: int) -> Sequence[tuple[float, float]] | None:
        """Return when the characters of a part of the text begin and end, in milliseconds as the service sent them.

        Returns:
            None if the service did not time each of them.
        """
        self._catch_up()
        text = self._sent.text
        for offset, base_ms, characters, starts, ends in self._spelled:
            at = offset
            for character, start_ms, end_ms in zip(characters, starts, ends, strict=True):
                if not character.isspace():
                    while text[at].isspace():
                        at += 1
                    self._characters[at] = base_ms + start_ms, base_ms + end_ms
                    at += 1
        self._spelled.clear()
        times = [self._characters[at] for at in range(start, end) if at in self._characters]
        return times if len(times) == end - start and times[0][0] < times[-1][1] else None

    def _count(self, ms: float) -> int:
        self._catch_up()
        return bisect.bisect_right(self._timed, ms, key=attrgetter("end_ms"))

    # What was put off.

    def _catch_up(self) -> None:
        if self._later:
            later, self._later, self._noted = iter(self._later), [], 0
            for step in later:
                step(self, later)

    def _take_apart(self, later: Iterator[Any]) -> None:
        cursor, base_ms, count = islice(later, 3)
        chars, starts_ms, durations_ms = (tuple(islice(later, count)) for _ in range(3))
        reading = read_alignment(Alignment(chars, starts_ms, durations_ms))
        place = reading and self._sent.match(reading, self._sent.word_at(cursor), cursor)
        if place is not None:  # it always is: the characters were compared when it was noted
            self._record(place, base_ms)

    def _record(self, place: Place, base_ms: float) -> None:
        if place.spelled_from is not None:
            characters, starts, ends = zip(*place.reading.glyphs, strict=True)
            times = array("f", starts), array("f", ends)
            self._spelled.append((place.spelled_from, base_ms, "".join(characters), *times))
        cut_ms = self._cut_ms
        for index, times in enumerate(place.times, place.first):
            start, end = self._sent.starts[index], self._sent.ends[index]
            last = self._timed[-1] if self._timed else None
            if last is not None and last.start == start:  # its letters came before: these are its marks
                self._timed[-1] = last._replace(mark_ms=base_ms + times.mark_ms)
                continue
            earliest_ms = 0.0 if last is None else last.mark_ms
            start_ms = max(earliest_ms, base_ms + times.start_ms if cut_ms is None else cut_ms)
            end_ms = max(start_ms, base_ms + times.end_ms)
            self._timed.append(_Timed(start, end, start_ms, end_ms, max(end_ms, base_ms + times.mark_ms)))
            cut_ms = None
        if place.cut_ms is None:
            self._cut_ms = None
        else:
            self._cut_ms = base_ms + place.cut_ms if cut_ms is None else cut_ms

    def _pass(self, words: int, ms: float) -> None:
        """Note that so many words have ended by a time, whether or not they have times of their own."""
        offset = self._sent.ends[words - 1] if words else 0
        timed = self._timed[-1].end if self._timed else 0
        if offset > max(timed, self._untimed[-1].offset if self._untimed else 0):
            self._untimed.append(Reached(offset, ms))

    def _end(self, later: Iterator[Any]) -> None:
        words, ms = islice(later, 2)
        self._cut_ms = None
        if ms > 0:
            self._pass(words, ms)

    def _begin_clip(self, later: Iterator[Any]) -> None:
        self._clip_ms, self._clip_words = next(later), len(self._timed)

    def _compress(self, later: Iterator[Any]) -> None:
        ms = next(later)
        clip = self._timed[self._clip_words :]
        if not clip or clip[-1].mark_ms <= ms:
            return
        clip_ms = self._clip_ms
        length_ms = clip[-1].end_ms - clip_ms
        factor = min(1.0, (ms - clip_ms) / length_ms) if length_ms else 0.0

        def compress(time_ms: float) -> float:
            return min(ms, clip_ms + (time_ms - clip_ms) * factor)

        self._timed[self._clip_words :] = [
            _Timed(word.start, word.end, *map(compress, (word.start_ms, word.end_ms, word.mark_ms))) for word in clip
        ]
        self._told_state = (min(self._clip_words, self._told_state[0]), -1, 0.0)
