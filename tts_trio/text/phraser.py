"""One reply, sans-IO: tokens in, phrases out, and the time as an argument."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from functools import cache
from typing import cast

import attrs

from tts_trio.config.phrase_policy import Grade, PhrasePolicy
from tts_trio.config.protocols import Phrases, PhrasesFactory
from tts_trio.config.validators import is_instance, refuse
from tts_trio.text import audio_tags, ssml
from tts_trio.text.boundaries import Ending, ending, grade, segmenter
from tts_trio.text.buffer import Buffer
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.words import (
    CHARACTERS_A_SECOND,
    LONGEST_MARK,
    Mark,
    Word,
    read_word,
    runs,
    slices,
    speakable,
    split_unspaced,
)

logger = logging.getLogger(__name__)

# How many characters of a sentence, of what stands between two words, and of the next word are looked at, so that a
# token costs the same however long these are.
_LOOK_BACK = 300
_WORD_CHARACTERS = 40
_BEST_FIRST = tuple(sorted(Grade, reverse=True))


@attrs.frozen
class _Place:
    """A place where a phrase may end: its position, and how many words of the reply are before it."""

    end: int
    words: int


class Phraser:
    """Gathers the tokens of one reply to phrases, by a `PhrasePolicy`.

    Joined again, the phrases are the text that was fed, with each cut read as one space: where a phrase ends,
    the blanks of the source become the one space that ends it, and that space is added where the source had
    none: at its end, after a mark at which it stalled, and in languages that write no blanks. What has
    nothing to speak (`speakable`) stays with the words before it, or after it in a line of its own; where
    there are none it is not given out at all.

    The text is read as runs of non-blanks. When a run with something to speak, a word, is whole, the place before it is
    graded, and noted under its grade; of the last run, which may go on, it is graded again with each token. A phrase is
    cut at the best place that has words enough before it. Positions and numbers of words are those of the whole reply.
    What a token costs depends on its length alone: a long one is taken in slices, and phrases leave after each of them.

    Args:
        policy: When and where phrases end.
        language_code: ISO 639-1. None: Russian and English are told by their script.
        ssml: Whether tags are obeyed by the service (`enable_ssml_parsing`): then nothing is cut inside of a tag or
            of an element, and tags count for nothing to speak.
        audio_tags: Whether the model performs what stands in square brackets, such as "[clears throat]" (v3): then
            nothing is cut inside of them.
    """

    def __init__(
        self, policy: PhrasePolicy, *, language_code: str | None = None, ssml: bool = False, audio_tags: bool = False
    ) -> None:
        self._policy = policy
        self._ssml = ssml
        self._audio_tags = audio_tags
        self._lexicon = lexicon_for(language_code)
        self._text = Buffer()  # accepted, and not given out
        self._run = 0  # where the run begins that is being received; at the end of the text if there is none
        self._looked = 0  # up to where that run was looked at
        self._shown = ""  # its first characters, tags aside
        self._run_speaks = False  # whether it has something to speak
        self._word: Word | None = None  # the last whole word; it may have been given out
        self._gap_end = 0  # where a phrase ends that ends after this word: what follows in its line belongs to it
        self._line_ended = False  # whether a line break follows it
        self._fresh_line = True  # whether the run stands first in its line
        self._words = 0  # how many whole words there were
        self._words_given = 0
        self._places: dict[Grade, list[_Place]] = {grade: [] for grade in _BEST_FIRST}  # each in order
        self._sentence = 0  # where the sentence begins
        self._tags = ""  # audio tags that wait for the next phrase
        self._given = False  # whether a phrase has been given out
        self._fed_at = 0.0
        self._due: float | None = None  # when a patience is over; None: all are
        segmenter()  # load it before the first token, not with it

    @property
    def pending(self) -> str:
        """The text accepted and not yet given out."""
        return self._tags + self._text.read(self._text.start, self._text.end)

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can leave, in order.

        Args:
            token: The text.
            now: The time, in seconds, on any monotonic clock, the same for all calls.
            lead: Seconds of speech ahead of the listener: audio not yet played, and audio that is still to come for the
                phrases given out before. What a phrase of this call adds to it is estimated by its length.
        """
        if not token:
            return []
        self._fed_at = now
        self._due = now + (self._policy.patience_later if self._given else self._policy.patience_first)
        phrases: list[str] = []
        for piece in slices(token):
            for blank, run in runs(piece):
                if not blank:
                    self._receive(run)
                elif self._is_open():
                    self._text.add(run)
                else:
                    self._receive_blanks(run)
            self._look()
            while (place := self._best_place(lead)) is not None:
                phrases.append(self._give(place))
                lead += len(phrases[-1]) / CHARACTERS_A_SECOND
        return self._with_tags(phrases)

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before; None where a pause changes nothing."""
        return self._due if self._words > self._words_given or self._run < self._text.end else None

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
            return self._with_tags([self._give(self._end())])
        found = None if self._run_speaks else self._grade_place("", complete=False)
        if found is not None:
            return self._with_tags([self._give(self._last_place())])
        noted = [places[-1] for places in self._places.values() if places]
        return self._with_tags([self._give(max(noted, key=lambda place: place.end))] if noted else [])

    def close(self) -> list[str]:
        """Return what is left, the reply being complete."""
        self._end_run()
        return self._with_tags([self._give(self._end())] if self._speakable(self.pending) else [])

    def _with_tags(self, phrases: list[str]) -> list[str]:
        """Put audio tags that would be a phrase of their own, which the service refuses, before the next phrase."""
        if not self._audio_tags:
            return phrases
        whole: list[str] = []
        for phrase in phrases:
            self._tags += phrase
            if speakable(audio_tags.visible(self._tags)):
                whole.append(self._tags)
                self._tags = ""
        return whole

    def _visible(self, text: str) -> str:
        return ssml.visible(text) if self._ssml else text

    def _speakable(self, text: str) -> bool:
        return speakable(self._visible(text))

    def _is_open(self) -> bool:
        """Whether the text ends inside of what must stay together, blanks and all."""
        if not (self._ssml or self._audio_tags):
            return False
        run = self._text.read(max(self._run, self._text.end - ssml.LONGEST), self._text.end)
        return (self._ssml and ssml.is_open(run)) or (self._audio_tags and audio_tags.is_open(run))

    def _receive(self, run: str) -> None:
        """Add non-blanks to the run, which ends after a mark where no blanks are written."""
        known = self._text.read(max(self._run, self._text.end - LONGEST_MARK), self._text.end)
        *whole, last = split_unspaced(known + run, known=len(known))
        for piece in whole:
            self._text.add(piece)
            if not self._is_open():
                self._end_run()
        self._text.add(last)

    def _receive_blanks(self, blanks: str) -> None:
        self._end_run()
        if self._text.start < self._text.end or not self._given:
            self._text.add(blanks)
        self._run = self._looked = self._text.end
        if "\n" in blanks:
            self._line_ended = self._fresh_line = True

    def _look(self) -> None:
        """Look at what was added to the run since the last look, as far as it is known what is a tag of it."""
        new = self._text.read(self._looked, self._text.end)
        known = ssml.before_open_tag(new) if self._ssml else len(new)
        self._looked += known
        shown = self._visible(new[:known])
        self._shown = (self._shown + shown)[:_WORD_CHARACTERS]
        self._run_speaks = self._run_speaks or speakable(shown)

    def _end_run(self) -> None:
        if self._run == self._text.end:
            return
        shown = self._visible(self._text.read(self._run, self._text.end))
        if speakable(shown):
            found = self._grade_place(shown, complete=True)
            if found is not None:
                self._places[found].append(self._last_place())
            if found is Grade.SENTENCE:
                self._sentence = self._run
            self._word = read_word(shown, end=self._text.end, previous=self._word, starts_line=self._fresh_line)
            self._words += self._word.count
            self._gap_end = self._text.end
            self._line_ended = self._fresh_line = False
        elif not self._line_ended:
            self._gap_end = self._text.end
        self._run = self._looked = self._text.end
        self._shown = ""
        self._run_speaks = False

    def _last_place(self) -> _Place:
        """Return the place after the last whole word, and what belongs to it."""
        return _Place(self._gap_end, self._words)

    def _end(self) -> _Place:
        """Return the end of all text."""
        return _Place(self._text.end, self._words)

    def _grade_place(self, following: str, *, complete: bool) -> Grade | None:
        """Grade the place after the last whole word, before the next one, which is known so far."""
        word = self._word
        if word is None or word.end <= self._text.start:
            return None
        if self._line_ended and not (word.starts_line and word.is_number):
            return Grade.SENTENCE
        if self._audio_tags and word.mark is Mark.NONE and word.tail.endswith("]"):
            return None  # an audio tag belongs to what follows
        if self._audio_tags and following.startswith("["):
            following = "A"  # it begins something new
        gap = self._text.read(word.end, min(self._gap_end, word.end + _LOOK_BACK))
        return grade(
            word,
            self._visible(gap).replace(" ", ""),
            following[:_WORD_CHARACTERS],
            complete=complete,
            lexicon=self._lexicon,
            sentence=self._visible(self._text.read(max(self._sentence, word.end - _LOOK_BACK), word.end)),
        )

    def _best_place(self, lead: float) -> _Place | None:
        """Return the best of the places that have words enough before them, the earliest of equals."""
        before_run = self._grade_place(self._shown, complete=False) if self._run_speaks else None
        for found in _BEST_FIRST:
            fewest = self._policy.fewest_words(found, first=not self._given, lead=lead)
            places = self._places[found]
            index = bisect_left(places, self._words_given + fewest, key=lambda place: place.words)
            if index < len(places):
                return places[index]
            if found is before_run and self._words - self._words_given >= fewest:
                return self._last_place()
        return None

    def _ending_of_run(self) -> Ending:
        """Whether the run that is being received is whole, as far as can be told by itself."""
        run = self._visible(self._text.read(self._run, self._text.end))
        if not speakable(run) or self._is_open():
            return Ending.OPEN
        word = read_word(run, end=0, previous=self._word, starts_line=self._fresh_line)
        sentence = self._visible(self._text.read(self._text.end - _LOOK_BACK, self._text.end))
        return ending(word, self._word, lexicon=self._lexicon, sentence=sentence)

    def _give(self, place: _Place) -> str:
        """Cut the text at a place, and return the phrase before it."""
        phrase = self._text.cut(place.end).rstrip() + " "
        while blanks := self._blanks():
            self._text.cut(self._text.start + blanks)
        self._words_given = place.words
        for places in self._places.values():
            del places[: bisect_right(places, place.end, key=lambda later: later.end)]
        self._given = True
        return phrase

    def _blanks(self) -> int:
        """Return how many blanks the text begins with, as far as is looked."""
        beginning = self._text.read(self._text.start, min(self._run, self._text.start + _LOOK_BACK))
        return len(beginning) - len(beginning.lstrip())


@cache
def warn_of_unknown_language() -> None:
    """Log a warning, once a process, that `language_code` is unset."""
    logger.warning(
        "language_code is unset: the service guesses the language of each phrase by itself, and guesses short ones "
        '("Да,", "42") wrongly; set it to the language of the call, such as "en" or "ru"'
    )


def phrases_for(
    policy: PhrasePolicy | PhrasesFactory,
    *,
    language_code: str | None,
    ssml: bool = False,
    audio_tags: bool = False,
) -> Phrases:
    """Make what turns the tokens of the next reply into phrases.

    Args:
        policy: A policy, or the user's own callable.
        language_code: ISO 639-1. None: a warning is logged, once a process.
        ssml: Whether the service obeys tags.
        audio_tags: Whether the model performs what stands in square brackets.

    Raises:
        ConfigurationError: The callable returned something else.
    """
    if language_code is None:
        warn_of_unknown_language()
    if isinstance(policy, PhrasePolicy):
        return Phraser(policy, language_code=language_code, ssml=ssml, audio_tags=audio_tags)
    made = cast("object", policy())  # whatever its type says
    if not is_instance(made, Phrases):
        raise refuse("phrase_policy", made, "a callable that returns Phrases, with all of their methods")
    return made
