"""One reply, sans-IO: tokens in, phrases out, and the time as an argument."""

from __future__ import annotations

from typing import cast

import attrs

from tts_trio.rules import refuse
from tts_trio.text import ssml
from tts_trio.text.boundaries import Ending, Grade, ending, grade, segmenter
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.phrases import Phrases, PhrasesFactory, warn_of_unknown_language
from tts_trio.text.policy import PhrasePolicy
from tts_trio.text.words import Word, read_word, runs, speakable, split_unspaced

# How many characters of a sentence, of what stands between two words, and of the next word are looked at, so that a
# token costs the same however long these are.
_LOOK_BACK = 300
_WORD_CHARACTERS = 40


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
    none: at its end, after a mark at which it stalled, and in languages that write no blanks. What has
    nothing to speak (`speakable`) stays with the words before it, or after it in a line of its own; where
    there are none it is not given out at all.

    Args:
        policy: When and where phrases end.
        language_code: ISO 639-1. None: Russian and English are told by their script.
        ssml: Whether tags are obeyed by the service (`enable_ssml_parsing`): then nothing is cut inside of a tag or
            of an element, and tags count for nothing to speak.
    """

    def __init__(self, policy: PhrasePolicy, *, language_code: str | None = None, ssml: bool = False) -> None:
        self._policy = policy
        self._ssml = ssml
        self._lexicon = lexicon_for(language_code)
        self._text = ""  # accepted, not given out, and before the run that is being received
        self._run = ""  # the run of non-blanks that is being received
        self._run_speaks = False  # whether it has something to speak
        self._word: Word | None = None  # the last whole word; it may have been given out
        self._words = 0  # how many words _text has
        self._places: list[_Place] = []  # in _text, in order
        self._given = False  # whether a phrase has been given out
        self._fresh_line = True  # whether the run stands first in its line
        self._fed_at = 0.0
        self._due: float | None = None  # when a patience is over; None: all are
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
        self._due = now + (self._policy.patience_later if self._given else self._policy.patience_first)
        for blank, run in runs(token):
            if blank and self._ssml and ssml.is_open(self._run):
                self._run += run
            elif blank:
                self._end_run()
                if self._text or not self._given:
                    self._text += run
                self._fresh_line = self._fresh_line or "\n" in run
            else:
                self._receive(run)
        return self._take(now)

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before; None where a pause changes nothing."""
        return self._due if self._words or self._run else None

    def expire(self, now: float) -> list[str]:
        """Return what can be spoken of a text that has stalled; nothing before the `deadline`.

        Args:
            now: The time, as in `feed`.
        """
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        certain = self._fed_at + self._policy.patience_figure
        last = self._ending_of_run()
        self._due = certain if last is Ending.UNSURE and now < certain else None
        if last is Ending.WHOLE or (last is Ending.UNSURE and now >= certain):
            self._end_run()
            return self._give(_Place(len(self._text), self._words, Grade.SENTENCE), now)
        place = None if self._run_speaks else self._place_before("", complete=False)
        if place is None and self._places:
            place = self._places[-1]
        return [] if place is None else self._give(place, now)

    def close(self) -> list[str]:
        """Return what is left, the reply being complete."""
        self._end_run()
        if not self._speakable(self._text):
            return []
        return self._give(_Place(len(self._text), self._words, Grade.SENTENCE), self._silent_at)

    def _visible(self, text: str) -> str:
        return ssml.visible(text) if self._ssml else text

    def _speakable(self, text: str) -> bool:
        return speakable(self._visible(text))

    def _receive(self, run: str) -> None:
        """Add non-blanks to the run, which ends after a mark where no blanks are written."""
        *whole, last = split_unspaced(self._run + run, known=len(self._run))
        for self._run in whole:
            self._run_speaks = self._speakable(self._run)
            self._end_run()
        self._run = last
        if not self._run_speaks:
            self._run_speaks = self._speakable(last[-max(len(run), _LOOK_BACK) :])

    def _end_run(self) -> None:
        run = self._run
        if not run:
            return
        if self._run_speaks:
            shown = self._visible(run)
            place = self._place_before(shown, complete=True)
            if place is not None:
                self._places.append(place)
            word = read_word(shown, end=len(self._text) + len(run), previous=self._word, starts_line=self._fresh_line)
            self._word = word
            self._words += word.count
            self._fresh_line = False
        self._text += run
        self._run = ""
        self._run_speaks = False

    def _place_before(self, following: str, *, complete: bool) -> _Place | None:
        """Grade the place between the last whole word and the next one, which is known so far."""
        word = self._word
        if word is None or word.end <= 0:
            return None
        gap = self._text[word.end : word.end + _LOOK_BACK]
        line, newline, _ = gap.partition("\n")
        end = word.end + len(line.rstrip() if newline else gap.rstrip())
        found = grade(
            word,
            self._visible(self._text[word.end : end]).replace(" ", ""),
            following[:_WORD_CHARACTERS],
            complete=complete,
            lexicon=self._lexicon,
            sentence=self._visible(self._text[max(0, word.end - _LOOK_BACK) : word.end]),
        )
        if newline and not (word.starts_line and word.is_number):
            found = Grade.SENTENCE
        return None if found is None else _Place(end, self._words, found)

    def _take(self, now: float) -> list[str]:
        """Give out phrases as long as there is a place to end one: the best place, the earliest of equals."""
        phrases: list[str] = []
        while True:
            places = self._places
            if self._run_speaks:
                place = self._place_before(self._visible(self._run[:_LOOK_BACK]), complete=False)
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
            phrases += self._give(best, now)

    def _ending_of_run(self) -> Ending:
        """Whether the run that is being received is whole, as far as can be told by itself."""
        if not self._run_speaks or (self._ssml and ssml.is_open(self._run)):
            return Ending.OPEN
        word = read_word(self._visible(self._run), end=0, previous=self._word, starts_line=self._fresh_line)
        return ending(word, self._word, lexicon=self._lexicon, sentence=self._visible(self.pending[-_LOOK_BACK:]))

    def _ahead(self, now: float) -> float:
        if self._lead is not None:
            self._silent_at = now + self._lead
            self._lead = None
        return self._silent_at - now

    def _give(self, place: _Place, now: float) -> list[str]:
        """Cut the text at a place."""
        phrase = self._text[: place.end].rstrip() + " "
        rest = self._text[place.end :].lstrip()
        cut = len(self._text) - len(rest)
        self._text = rest
        self._words -= place.words
        self._places = [
            _Place(later.end - cut, later.words - place.words, later.grade)
            for later in self._places
            if later.end > place.end
        ]
        if self._word is not None:
            self._word = attrs.evolve(self._word, end=self._word.end - cut)
        self._given = True
        self._silent_at = max(self._silent_at, now) + len(phrase) / self._policy.characters_per_second
        return [phrase]


def phrases_for(policy: PhrasePolicy | PhrasesFactory, *, language_code: str | None, ssml: bool = False) -> Phrases:
    """Make what turns the tokens of the next reply into phrases.

    Args:
        policy: A policy, or the user's own callable.
        language_code: ISO 639-1. None: a warning is logged, once a process.
        ssml: Whether the service obeys tags.

    Raises:
        ConfigurationError: The callable returned something else.
    """
    if language_code is None:
        warn_of_unknown_language()
    if isinstance(policy, PhrasePolicy):
        return Phraser(policy, language_code=language_code, ssml=ssml)
    made = cast("object", policy())  # whatever its type says
    if not isinstance(made, Phrases):
        raise refuse("phrase_policy", made, "a callable that returns Phrases, with all of their methods")
    return made
