"""Cuts the tokens of one reply into phrases, without I/O; the time is an argument.

How it works. The text is read as runs of non-blanks. A run that has something to speak is a word, and a blank after it
makes it whole. When a word is whole, the place before it gets a grade from `boundaries.grade` (the end of a sentence,
the end of a clause, a breath, a place between two words), and is noted under this grade. Until then the place is graded
anew with each token, because the beginning of a word may tell enough. The policy says for each grade how many words a
phrase needs to end there. After each slice of a token, `_best_place` goes through the places from the best grade to the
worst, and the phrase is cut at the first one with enough words before it. When the stream of tokens stalls, `expire`
cuts at the end of the text if its last word is whole, and else at the last place that was noted.

Positions and numbers of words are counted from the beginning of the reply. The cost of a token depends on its length
alone: every look back is bounded, and a long token is read in slices.

Most tokens end no phrase. It is known how many words a phrase must have, and a word has two characters at least. So in
so many characters (`_room`) no phrase can end, unless a sentence does. Tokens within them are only kept (`_unread`),
and are read together with the first token that is not.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import attrs

from tts_trio.config.phrase_policy import Grade, PhrasePolicy
from tts_trio.text import audio_tags, ssml
from tts_trio.text.boundaries import Ending, ending, grade, segmenter
from tts_trio.text.buffer import Buffer
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.ssml import visible as without_tags
from tts_trio.text.words import (
    CHARACTERS_A_SECOND,
    ENDING_MARKS,
    LONGEST_MARK,
    Mark,
    Word,
    read_word,
    runs,
    slices,
    speakable,
    split_unspaced,
)

_LOOK_BACK = 300  # characters of a sentence, or of the gap between two words, that are read at most
_WORD_CHARACTERS = 40  # characters of the next word that are read at most
_LONGEST_UNREAD = 200  # characters, which take some tenths of a millisecond to read
_BEST_FIRST = tuple(sorted(Grade, reverse=True))
_END = re.compile(rf"[\n{''.join(ENDING_MARKS)}]")  # of a sentence, or of a word without a blank behind it


@attrs.frozen
class _Place:
    """A place where a phrase may end: its position, and the number of words of the reply before it."""

    end: int
    words: int


class Phraser:
    """Gathers the tokens of one reply into phrases, by a `PhrasePolicy`.

    The phrases joined together are the text that was fed, except for the blanks at each cut. Every phrase ends with one
    space. It replaces the blanks of the text there, and is added where the text had none: at the end of the reply,
    after a mark at which the stream stalled, and in languages that write no blanks. Runs with nothing to speak
    (`speakable`) go with the words before them, or, on a line of their own, with the words after them. A reply with
    nothing to speak gives no phrase.

    Args:
        policy: When and where phrases end.
        language_code: An ISO 639-1 code. None: the script of each word tells Russian from English.
        ssml: Whether the service obeys SSML (`enable_ssml_parsing`). Then no phrase is cut inside of a tag or of an
            element, and tags are nothing to speak.
        audio_tags: Whether the model performs the words in square brackets, such as "[clears throat]" (v3, v4). Then no
            phrase is cut inside of the brackets.
    """

    def __init__(
        self, policy: PhrasePolicy, *, language_code: str | None = None, ssml: bool = False, audio_tags: bool = False
    ) -> None:
        self._policy = policy
        self._ssml = ssml
        self._audio_tags = audio_tags
        self._visible: Callable[[str], str] = without_tags if ssml else str
        self._lexicon = lexicon_for(language_code)
        self._text = Buffer()  # the text that was fed and not returned in a phrase
        self._run = 0  # where the run begins that is not whole yet; the end of the text if there is none
        self._looked = 0  # up to where `_look` has read that run
        self._shown = ""  # the first characters of that run, tags aside
        self._run_speaks = False  # whether that run has something to speak
        self._word: Word | None = None  # the last whole word; its phrase may have been returned
        self._gap_end = 0  # where a phrase with this last word ends, and with the unspoken runs after it in its line
        self._line_ended = False  # whether a line break follows this word
        self._fresh_line = True  # whether the run that is not whole yet is the first of its line
        self._words = 0  # the number of whole words of the reply
        self._words_given = 0  # the number of those that were returned in phrases
        self._places: dict[Grade, list[_Place]] = {grade: [] for grade in _BEST_FIRST}  # each in order
        self._sentence = 0  # where the sentence begins
        self._tags = ""  # audio tags that wait for the next phrase
        self._given = False  # whether a phrase has been returned
        self._fed_at = 0.0  # when text was fed last
        self._due: float | None = None  # when the current patience ends; None: a pause changes nothing any more
        self._unread = ""  # tokens that were fed and not read
        self._room = 0  # how many characters these may have, while the stage is the same
        self._stage: tuple[bool, bool, bool] | None = None  # what the policy decides by
        self._fewest: dict[Grade, int] = {}  # how many words a phrase must have in this stage
        self._fewest_within = 0  # the least of these but for the end of a sentence
        segmenter()  # loads sentencex now, and not when the first token is waited for

    @property
    def pending(self) -> str:
        """The text that was fed and not yet returned in a phrase."""
        return self._tags + self._text.read(self._text.start, self._text.end) + self._unread

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can be sent, in order.

        Args:
            token: The text.
            now: The time in seconds, of one monotonic clock for all calls.
            lead: Seconds of speech ahead of the listener: audio that was not played yet, and audio that the service
                still owes for the phrases returned before. The phrases of this call are added by their length.
        """
        if not token:
            return []
        self._fed_at = now
        self._due = now + (self._policy.patience_later if self._given else self._policy.patience_first)
        self._enter_stage(lead)
        if len(self._unread) + len(token) <= self._room and _END.search(token) is None:
            self._unread += token
            return []
        self._catch_up()
        phrases: list[str] = []
        for piece in slices(token):
            self._read(piece)
            while (place := self._best_place()) is not None:
                phrases.append(self._give(place))
                lead += len(phrases[-1]) / CHARACTERS_A_SECOND
                self._enter_stage(lead)
        self._make_room()
        return self._with_tags(phrases)

    def deadline(self) -> float | None:
        """Return the time at which to call `expire` if nothing is fed before; None where a pause changes nothing."""
        return self._due if self._words > self._words_given or self._run < self._text.end else None

    def expire(self, now: float) -> list[str]:
        """Return the phrase that can be sent because the stream has stalled; none before `deadline`.

        Args:
            now: The time, as in `feed`.
        """
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        self._catch_up()
        certain = self._fed_at + self._policy.patience_figure
        last = self._ending_of_run()
        self._due = certain if last is Ending.UNSURE and now < certain else None
        if last is Ending.WHOLE or (last is Ending.UNSURE and now >= certain):
            return self.close()
        if self._grade_place(self._shown if self._run_speaks else "", complete=False) is not None:
            return self._with_tags([self._give(self._last_place())])
        noted = [places[-1] for places in self._places.values() if places]
        return self._with_tags([self._give(max(noted, key=lambda place: place.end))] if noted else [])

    def close(self) -> list[str]:
        """Return all remaining text as a phrase, if it has something to speak."""
        self._catch_up()
        self._end_run()
        end = _Place(self._text.end, self._words)
        return self._with_tags([self._give(end)] if self._speakable(self.pending) else [])

    def whole(self) -> str:
        """Return what `close` would, if the text ends with the mark of a clause or a sentence for certain; else ""."""
        phrase = f"{self.pending.rstrip()} "
        mark = phrase[-2:-1]
        if not mark or mark.isalnum() or (self._policy.clause_words is None and _END.match(mark) is None):
            return ""
        self._catch_up()
        if self._run < self._text.end:
            return phrase if self._ending_of_run() is Ending.WHOLE else ""
        return phrase if (self._grade_place("", complete=False) or Grade.WORD) >= Grade.CLAUSE else ""

    def _enter_stage(self, lead: float) -> None:
        """Note what the policy decides by: whether it is the first phrase, and how much speech is ahead."""
        stage = (self._given, lead < self._policy.low_lead, lead < self._policy.plenty_lead)
        if stage != self._stage:
            first = not self._given
            self._fewest = {grade: self._policy.fewest_words(grade, first=first, lead=lead) for grade in _BEST_FIRST}
            self._fewest_within = min(self._fewest[grade] for grade in _BEST_FIRST[1:])
            self._stage = stage
            self._room = 0

    def _make_room(self) -> None:
        """Count the characters after which a phrase may end at the earliest, if no sentence ends in them."""
        words = self._words - self._words_given
        if self._word is None or not words or self._ssml or self._audio_tags:  # blanks in a tag end no run
            return
        begins = self._word.end - len(self._word.body) - len(self._word.tail)
        if _END.search(self._text.read(begins, self._text.end)) is None:
            self._room = min(2 * (self._fewest_within - words) - 1 - (self._text.end - self._run), _LONGEST_UNREAD)

    def _catch_up(self) -> None:
        """Read what was kept."""
        self._room = 0
        unread, self._unread = self._unread, ""
        self._read(unread)

    def _with_tags(self, phrases: list[str]) -> list[str]:
        """Keep phrases of audio tags alone, which the service refuses, and put them before the next phrase."""
        if not self._audio_tags:
            return phrases
        whole: list[str] = []
        for phrase in phrases:
            self._tags += phrase
            if speakable(audio_tags.visible(self._tags)):
                whole.append(self._tags)
                self._tags = ""
        return whole

    def _speakable(self, text: str) -> bool:
        return speakable(self._visible(text))

    def _is_open(self) -> bool:
        """Whether the text ends inside of a tag or an element, where blanks end no run."""
        if not (self._ssml or self._audio_tags):
            return False
        run = self._text.read(max(self._run, self._text.end - ssml.LONGEST), self._text.end)
        return (self._ssml and ssml.is_open(run)) or (self._audio_tags and audio_tags.is_open(run))

    def _read(self, text: str) -> None:
        """Add text, run by run."""
        for blanks, run in runs(text):
            if run:
                self._receive(run)
            elif self._is_open():
                self._text.add(blanks)
            else:
                self._receive_blanks(blanks)
        self._look()

    def _receive(self, run: str) -> None:
        """Add non-blanks to the run. In a language that writes no blanks the run ends after each mark."""
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
        """Read the characters that were added to the run since the last time, up to an incomplete tag."""
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
        """Return the place after the last whole word and the unspoken runs that go with it."""
        return _Place(self._gap_end, self._words)

    def _grade_place(self, following: str, *, complete: bool) -> Grade | None:
        """Grade the place after the last whole word.

        Args:
            following: The next word, as far as it is known.
            complete: Whether it is known to its end.
        """
        word = self._word
        if word is None or word.end <= self._text.start:
            return None
        if self._line_ended and not (word.starts_line and word.is_number):
            return Grade.SENTENCE
        if self._audio_tags and word.mark is Mark.NONE and word.tail.endswith("]"):
            return None  # an audio tag belongs to the words after it
        if self._audio_tags and following.startswith("["):
            following = "A"  # an audio tag begins something new, as a capital letter does
        gap = self._text.read(word.end, min(self._gap_end, word.end + _LOOK_BACK))
        return grade(
            word,
            self._visible(gap).replace(" ", ""),
            following[:_WORD_CHARACTERS],
            complete=complete,
            lexicon=self._lexicon,
            sentence=self._visible(self._text.read(max(self._sentence, word.end - _LOOK_BACK), word.end)),
        )

    def _best_place(self) -> _Place | None:
        """Return the first place of the best grade that has a place with enough words before it."""
        before_run = self._grade_place(self._shown, complete=False) if self._run_speaks else None
        for found in _BEST_FIRST:
            fewest, places = self._fewest[found], self._places[found]
            index = bisect_left(places, self._words_given + fewest, key=lambda place: place.words)
            if index < len(places):
                return places[index]
            if found is before_run and self._words - self._words_given >= fewest:
                return self._last_place()
        return None

    def _ending_of_run(self) -> Ending:
        """Tell whether the run at the end of the text is whole, by its own characters."""
        run = self._visible(self._text.read(self._run, self._text.end))
        if not speakable(run) or self._is_open():
            return Ending.OPEN
        word = read_word(run, end=0, previous=self._word, starts_line=self._fresh_line)
        sentence = self._visible(self._text.read(self._text.end - _LOOK_BACK, self._text.end))
        return ending(word, self._word, lexicon=self._lexicon, sentence=sentence)

    def _give(self, place: _Place) -> str:
        """Cut the text at a place, and return the phrase before it."""
        phrase = self._text.cut(place.end).rstrip() + " "
        self._text.cut_blanks(self._run)
        self._words_given = place.words
        for places in self._places.values():
            del places[: bisect_right(places, place.end, key=lambda later: later.end)]
        self._given = True
        return phrase
