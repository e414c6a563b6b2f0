"""Reads the text of one reply word by word, and notes where a phrase may end.

The text is read as runs of non-blanks. A run that has something to speak is a word, and a blank after it makes it
whole. When a word is whole, the place before it gets a grade from `boundaries.grade` (the end of a sentence, the end of
a clause, a breath, a place between two words), and is noted under this grade. Until then the place is graded anew with
each token, because the beginning of a word may tell enough. No sentence ends where there is neither a mark nor the end
of a line. Such a place is graded when so many words are before it that a phrase may end there: most of them never are.

Positions and numbers of words are counted from the beginning of the reply. Every look back is bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TypeAlias

from tts_trio.config.phrase_policy import Grade
from tts_trio.text import audio_tags, ssml
from tts_trio.text.boundaries import Ending, ending, grade
from tts_trio.text.buffer import Buffer
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.ssml import visible as without_tags
from tts_trio.text.words import ENDING_MARKS, LONGEST_MARK, RUNS, Mark, Word, read_word, speakable, split_unspaced

_LOOK_BACK = 300  # characters of a sentence, or of the gap between two words, that are read at most
_WORD_CHARACTERS = 40  # characters of the next word that are read at most
END = re.compile(rf"[\n{''.join(ENDING_MARKS)}]")
"""Matches a mark of the end of a sentence, or of a word without a blank behind it."""
BEST_FIRST = tuple(sorted(Grade, reverse=True))

Place: TypeAlias = tuple[int, int]
"""A place where a phrase may end: its position, and the number of words of the reply before it."""
_END_OF = itemgetter(0)
_WORDS_OF = itemgetter(1)


class Places:
    """The text of one reply that is in no phrase yet, and the places in it where a phrase may end.

    Attributes:
        text: The text.
        visible: Returns a text without its tags.
        run: Where the run begins that is not whole yet; the end of the text if there is none.
        words: The number of whole words of the reply.
        words_cut: The number of those that were cut off.
        has_cut: Whether a phrase was cut off.
    """

    __slots__ = (
        "_audio_tags", "_fresh_line", "_gap_end", "_lexicon", "_line_ended", "_looked", "_marked", "_marked_up",
        "_noted", "_part", "_run_speaks", "_sentence", "_shown", "_ssml", "_ungraded", "_word", "has_cut", "run",
        "text", "visible", "words", "words_cut",
    )  # fmt: skip

    def __init__(self, *, language_code: str | None, ssml: bool, audio_tags: bool) -> None:
        """Begin a reply; the arguments are those of `Phraser`."""
        self.text = Buffer()
        self.visible: Callable[[str], str] = without_tags if ssml else str
        self.run = 0
        self.words = self.words_cut = 0
        self.has_cut = False
        self._ssml = ssml
        self._audio_tags = audio_tags
        self._marked_up = ssml or audio_tags
        self._lexicon = lexicon_for(language_code)
        self._part: str = ""  # the part of the run that came last
        self._looked = 0  # up to where `_look` has read the run
        self._shown = ""  # the first characters of the run, tags aside
        self._run_speaks = False  # whether the run has something to speak
        self._word: Word | None = None  # the last whole word; it may have been cut off
        self._gap_end = 0  # where a phrase with this last word ends, and with the unspoken runs after it in its line
        self._marked = self._marked_up  # whether more than a blank follows this word, or tags must be looked at
        self._line_ended = False  # whether a line break follows this word
        self._fresh_line = True  # whether the run is the first of its line
        self._sentence = 0  # where the sentence begins
        self._noted: dict[Grade, list[Place]] = {grade: [] for grade in BEST_FIRST}  # each in order
        self._ungraded: list[tuple[int, int, Word, str]] = []  # other places, with the words on both sides, in order

    def read(self, text: str) -> None:
        """Add text, run by run."""
        end, part = self.text.end, self._part
        self.text.add(text)
        for run, blanks in RUNS.findall(text):
            begins, end = end, end + len(run)
            if run:
                unparted = self.run == begins and (run.isascii() or run.isalnum())  # no mark in it parts words
                part = run if unparted else self._split(begins, run)
            if not blanks:
                break
            begins, end = end, end + len(blanks)
            if self._marked_up and self._is_open(begins):
                continue
            self.end_run(begins, part)
            if self.has_cut and begins == self.text.start:  # no phrase but the first one begins with blanks
                self.text.cut(end)
            self.run = self._looked = end
            if "\n" in blanks:
                self._marked = self._line_ended = self._fresh_line = True
        self._part = part

    def _is_open(self, end: int) -> bool:
        """Whether the text up to a position ends inside of a tag or an element, where blanks end no run."""
        run = self.text.read(max(self.run, end - ssml.LONGEST), end)
        return (self._ssml and ssml.is_open(run)) or (self._audio_tags and audio_tags.is_open(run))

    def _split(self, begins: int, run: str) -> str:
        """End the run after each mark of a language that writes no blanks, and return the rest.

        Args:
            begins: Where the part of the run begins that came last.
            run: This part of it.
        """
        known = self.text.read(max(self.run, begins - LONGEST_MARK), begins)
        *whole, rest = split_unspaced(known + run, known=len(known))
        for piece in whole:
            begins += len(piece)
            if not (self._marked_up and self._is_open(begins)):
                self.end_run(begins, piece)
        return rest

    def end_run(self, end: int, part: str = "") -> None:
        """Note that the run is whole.

        Args:
            end: Where it ends.
            part: The part of it that came last; mostly it is all of it.
        """
        if self.run == end:
            return
        shown = self.visible(part if self.run + len(part) == end else self.text.read(self.run, end))
        word = read_word(shown, end=end, previous=self._word, starts_line=self._fresh_line)
        if word is not None:
            if self._marked:
                found = self._grade(shown, complete=True)
                if found is not None:
                    insort(self._noted[found], (self._gap_end, self.words))
                if found is Grade.SENTENCE:
                    self._sentence = self.run
            elif self._word is not None and self._word.end > self.text.start:
                self._ungraded.append((self._gap_end, self.words, self._word, shown[:_WORD_CHARACTERS]))
            self._word = word
            self._marked = self._marked_up or word.mark is not Mark.NONE
            self.words += word.count
            self._gap_end = end
            self._line_ended = self._fresh_line = False
        elif not self._line_ended:
            self._gap_end = end
            self._marked = True
        self.run = self._looked = end
        self._shown = ""
        self._run_speaks = False

    def end(self, text: str) -> None:
        """Add the last text, whose words nobody asks for; without one, note that the run is whole."""
        if text:
            self.text.add(text)
            self.run = self._looked = self.text.end
        else:
            self.end_run(self.text.end)

    def _look(self) -> None:
        """Read the characters that were added to the run since the last time, up to an incomplete tag."""
        new = self.text.read(self._looked, self.text.end)
        known = ssml.before_open_tag(new) if self._ssml else len(new)
        self._looked += known
        shown = self.visible(new[:known])
        self._shown = (self._shown + shown)[:_WORD_CHARACTERS]
        self._run_speaks = self._run_speaks or speakable(shown)

    def _grade(self, following: str, *, complete: bool) -> Grade | None:
        """Grade the place after the last whole word.

        Args:
            following: The next word, as far as it is known.
            complete: Whether it is known to its end.
        """
        word = self._word
        if word is None or word.end <= self.text.start:
            return None
        if self._line_ended and not (word.starts_line and word.is_number):
            return Grade.SENTENCE
        if self._audio_tags and word.mark is Mark.NONE and word.tail.endswith("]"):
            return None  # an audio tag belongs to the words after it
        if self._audio_tags and following.startswith("["):
            following = "A"  # an audio tag begins something new, as a capital letter does
        gap = sentence = ""
        if self._gap_end > word.end:
            gap = self.visible(self.text.read(word.end, min(self._gap_end, word.end + _LOOK_BACK))).replace(" ", "")
        if word.mark is Mark.FULL_STOP:
            sentence = self.visible(self.text.read(max(self._sentence, word.end - _LOOK_BACK), word.end))
        known = following[:_WORD_CHARACTERS]
        return grade(word, gap, known, complete=complete, lexicon=self._lexicon, sentence=sentence)

    def _grade_from(self, words: int) -> None:
        """Grade the places that have at least so many words of the reply before them."""
        first = bisect_left(self._ungraded, words, key=_WORDS_OF)
        for end, before, word, following in self._ungraded[first:]:
            found = grade(word, "", following, complete=True, lexicon=self._lexicon, sentence="")
            if found is not None:
                insort(self._noted[found], (end, before))
        del self._ungraded[first:]

    def best(self, fewest: Mapping[Grade, int], within: int) -> Place | None:
        """Return the first place of the best grade that has a place with enough words before it.

        Args:
            fewest: How many words a phrase must have to end at a place of each grade.
            within: The least of these but for the end of a sentence.
        """
        enough = self.words - self.words_cut >= within
        if enough and self._ungraded:
            self._grade_from(self.words_cut + within)
        before_run = None
        if (enough or self._marked) and self.run < self.text.end:
            self._look()
            before_run = self._grade(self._shown, complete=False) if self._run_speaks else None
        for found in BEST_FIRST:
            needed, noted = self.words_cut + fewest[found], self._noted[found]
            if self.words < needed:
                continue
            index = bisect_left(noted, needed, key=_WORDS_OF)
            if index < len(noted):
                return noted[index]
            if found is before_run:
                return self._gap_end, self.words
        return None

    def last(self) -> Place | None:
        """Return the last place where a phrase may end if no more text comes soon."""
        self._look()
        if self._grade(self._shown if self._run_speaks else "", complete=False) is not None:
            return self._gap_end, self.words
        self._grade_from(0)
        return max((noted[-1] for noted in self._noted.values() if noted), default=None)

    def ending(self) -> Ending:
        """Tell whether the run is whole, by its own characters."""
        run = self.visible(self.text.read(self.run, self.text.end))
        word = read_word(run, end=0, previous=self._word, starts_line=self._fresh_line)
        if word is None or (self._marked_up and self._is_open(self.text.end)):
            return Ending.OPEN
        sentence = self.visible(self.text.read(self.text.end - _LOOK_BACK, self.text.end))
        return ending(word, self._word, lexicon=self._lexicon, sentence=sentence)

    def ends_clause(self) -> bool:
        """Whether a clause or a sentence ends with the last whole word, if the text ends there."""
        return (self._grade("", complete=False) or Grade.WORD) >= Grade.CLAUSE

    def room(self, words: int) -> int:
        """Return in how many more characters fewer than so many words are whole; 0: a sentence may end before.

        A word has two characters at least.
        """
        if self._word is None or self._marked_up:  # blanks in a tag end no run
            return 0
        characters = 2 * (words - (self.words - self.words_cut)) - 1 - (self.text.end - self.run)
        begins = self._word.end - len(self._word.body) - len(self._word.tail)
        if characters <= 0 or END.search(self.text.read(begins, self.text.end)) is not None:
            return 0
        return characters

    def cut(self, place: Place) -> str:
        """Cut off the text before a place, and return it as a phrase."""
        end, words = place
        phrase = self.text.cut(end).rstrip() + " "
        self.text.cut_blanks(self.run)
        self.words_cut = words
        self.has_cut = True
        for noted in (*self._noted.values(), self._ungraded):
            del noted[: bisect_right(noted, end, key=_END_OF)]
        return phrase
