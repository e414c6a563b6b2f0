"""One reply, sans-IO: tokens in, phrases out, and the time as an argument."""

from __future__ import annotations

from typing import Protocol

import attrs

from tts_trio.text.boundaries import Grade, grade, segmenter
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.policy import PhrasePolicy
from tts_trio.text.words import Mark, Word, read_word, runs, speakable, split_unspaced

_SENTENCE_CHARACTERS = 300
"""How far back a sentence is shown to the segmenter, so that a token costs the same however long it is."""


class Phrases(Protocol):
    """What turns the tokens of one reply into phrases; `Phraser`, or anything with the same methods.

    Times are seconds on one monotonic clock. Every phrase ends in exactly one blank.
    """

    def feed(self, token: str, now: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can leave."""
        ...

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before."""
        ...

    def expire(self, now: float) -> list[str]:
        """Return what leaves because the stream has stalled."""
        ...

    def close(self) -> list[str]:
        """Return all that is left: the reply is complete."""
        ...

    def lead(self, seconds: float) -> None:
        """Take note of how much speech is ahead of the listener."""
        ...

    @property
    def pending(self) -> str:
        """The text accepted and not yet given out."""
        ...


@attrs.frozen
class _Place:
    """A place where a phrase may end: after so many characters of the text, with so many words before it."""

    end: int
    words: int
    grade: Grade


class Phraser:
    """Gathers the tokens of one reply to phrases, by a `PhrasePolicy`.

    Joined again, the phrases are the text that was fed, with each cut read as one space: where a phrase ends,
    the blanks of the source become the one space that ends it, and that space is added where the source had
    none: at its end, after a sentence at which it stalled, and in languages that write no blanks. What has
    nothing to speak (`speakable`) stays with the words before it, or after it in a line of its own; where
    there are none it is not given out at all.

    Args:
        policy: When and where phrases end.
        language_code: ISO 639-1. None: Russian and English are told by their script.
    """

    def __init__(self, policy: PhrasePolicy, *, language_code: str | None = None) -> None:
        self._policy = policy
        self._lexicon = lexicon_for(language_code)
        self._text = ""  # accepted, not given out, and before the run that is being received
        self._run = ""  # the run of non-blanks that is being received
        self._word: Word | None = None  # the last whole word of _text
        self._words = 0  # how many words _text has
        self._places: list[_Place] = []  # in _text, in order
        self._given = False  # whether a phrase has been given out
        self._fresh_line = True  # whether the run stands first in its line
        self._fed_at: float | None = None  # None: nothing was fed since the patience was over
        self._silent_at = 0.0  # when the speech given out so far is over, as far as is known
        self._lead: float | None = None  # reported, and not yet placed on the clock
        segmenter()  # load it before the first token, not with it

    @property
    def pending(self) -> str:
        """The text accepted and not yet given out."""
        return self._text + self._run

    def lead(self, seconds: float) -> None:
        """Take note of how much speech is ahead of the listener; without it that is estimated by the length.

        Args:
            seconds: Audio not yet played, and what is still to come for phrases already given out.
        """
        self._lead = seconds

    def feed(self, token: str, now: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can leave, in order.

        Args:
            token: The text.
            now: The time, in seconds, on any monotonic clock, the same for all calls.
        """
        if not token:
            return []
        self._fed_at = now
        for blank, run in runs(token):
            if blank:
                self._end_run()
                if self._text or not self._given:
                    self._text += run
                self._fresh_line = self._fresh_line or "\n" in run
            else:
                self._receive(run)
        return self._take(now)

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before; None where a pause changes nothing."""
        if self._fed_at is None or not (self._word or self._run):
            return None
        return self._fed_at + self._patience

    def expire(self, now: float) -> list[str]:
        """Return what can be spoken of a text that has stalled; nothing before the `deadline`.

        Args:
            now: The time, as in `feed`.
        """
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        self._fed_at = None
        end = self._stalled_end()
        if end is None:
            return []
        return self._give(end, now)

    def close(self) -> list[str]:
        """Return what is left, the reply being complete."""
        self._end_run()
        return self._give(len(self._text), self._silent_at) if speakable(self._text) else []

    @property
    def _patience(self) -> float:
        return self._policy.patience_later if self._given else self._policy.patience_first

    def _receive(self, run: str) -> None:
        """Add non-blanks to the run, which ends after a mark where no blanks are written."""
        *whole, last = split_unspaced(self._run + run)
        for self._run in whole:
            self._end_run()
        self._run = last

    def _end_run(self) -> None:
        run = self._run
        if not run:
            return
        if speakable(run):
            place = self._place_before(run, complete=True)
            if place is not None:
                self._places.append(place)
            word = read_word(run, end=len(self._text) + len(run), previous=self._word, starts_line=self._fresh_line)
            self._word = word
            self._words += word.count
            self._fresh_line = False
        self._text += run
        self._run = ""

    def _place_before(self, following: str, *, complete: bool) -> _Place | None:
        """Grade the place between the last whole word and the next one, which is known so far."""
        word = self._word
        if word is None:
            return None
        gap = self._text[word.end :]
        line, newline, _ = gap.partition("\n")
        end = word.end + len(line.rstrip() if newline else gap.rstrip())
        sentence = self._text[max(0, end - _SENTENCE_CHARACTERS) : end]
        found = grade(
            word,
            self._text[word.end : end].replace(" ", ""),
            following,
            complete=complete,
            lexicon=self._lexicon,
            sentence=sentence,
        )
        if newline and not (word.starts_line and word.is_number):
            found = Grade.SENTENCE
        return None if found is None else _Place(end, self._words, found)

    def _take(self, now: float) -> list[str]:
        """Give out phrases as long as there is a place to end one: the best place, the earliest of equals."""
        phrases: list[str] = []
        while True:
            places = self._places
            if self._run and speakable(self._run):
                place = self._place_before(self._run, complete=False)
                if place is not None:
                    places = [*places, place]
            ahead = self._ahead(now)
            fit = [
                place
                for place in places
                if place.words >= self._policy.fewest_words(place.grade, first=not self._given, lead=ahead)
            ]
            if not fit:
                return phrases
            best = max(fit, key=lambda place: place.grade)
            phrases += self._give(best.end, now)

    def _stalled_end(self) -> int | None:
        """Where to end what is spoken in a pause: as late as possible."""
        if self._run:
            if speakable(self._run):
                word = read_word(self._run, end=0, previous=self._word, starts_line=self._fresh_line)
                if word.mark in (Mark.SENTENCE, Mark.CLAUSE) and word.core[-1].isalpha():
                    return len(self.pending)
        else:
            place = self._place_before("", complete=False)
            if place is not None:
                return place.end
        return self._places[-1].end if self._places else None

    def _ahead(self, now: float) -> float:
        if self._lead is not None:
            self._silent_at = now + self._lead
            self._lead = None
        return self._silent_at - now

    def _give(self, end: int, now: float) -> list[str]:
        """Cut the text after `end` characters."""
        if end > len(self._text):
            self._end_run()
        phrase = self._text[:end].rstrip() + " "
        rest = self._text[end:].lstrip()
        cut = len(self._text) - len(rest)
        self._text = rest
        words = max((place.words for place in self._places if place.end <= end), default=self._words)
        self._places = [
            _Place(place.end - cut, place.words - words, place.grade) for place in self._places if place.end > end
        ]
        if self._word is not None:
            self._word = None if self._word.end <= end else attrs.evolve(self._word, end=self._word.end - cut)
        self._words = self._words - words if rest else 0
        self._given = True
        self._silent_at = max(self._silent_at, now) + len(phrase) / self._policy.characters_per_second
        return [phrase]
