"""Where a phrase may end: one function that grades the place between two words."""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import takewhile
from typing import cast

from tts_trio.config.phrase_policy import Grade
from tts_trio.text.lexicon import Lexicon
from tts_trio.text.scripts import FIRST_UNSPACED, is_clustered, is_unspaced
from tts_trio.text.words import Mark, Word, core_of, mark_of


def grade(word: Word, gap: str, following: str, *, complete: bool, lexicon: Lexicon, sentence: str) -> Grade | None:
    """Grade the place after `word`.

    The rules are asked in this order, and the first one with an answer decides: what the next word forbids, what the
    mark says, what the word before the place forbids, and what the next word allows.

    Args:
        word: The word before the place.
        gap: The characters between the word and the place without blanks: a dash, an emoji, or "".
        following: The known beginning of the next word; "" where the stream has stalled and nothing of it is known.
        complete: Whether `following` is the whole next word.
        lexicon: The closed lists of the language.
        sentence: The text before the place, from the beginning of its sentence (or from 300 characters before). It
            matters only after a word with a full stop.

    Returns:
        The grade, or None where no phrase may end, at least until more of the next word is known.
    """
    if following and not following[0].isascii() and unicodedata.category(following[0])[0] == "M":
        return None
    mark = word.mark if word.mark is not Mark.NONE or not gap else mark_of(gap.replace("-", "–"))
    start = following[:1] if following[:1].isalnum() else next(filter(str.isalnum, following), "")
    if word.is_number and (start.isdigit() or not following) and mark is not Mark.SENTENCE:
        return None
    if mark is Mark.FULL_STOP and mark is not word.mark:
        mark = Mark.SENTENCE  # no abbreviation has its full stop behind an emoji
    if mark is Mark.SENTENCE:
        return Grade.CLAUSE if start.islower() else Grade.SENTENCE
    if mark is Mark.ELLIPSIS:
        return Grade.CLAUSE
    if mark is Mark.CLAUSE:
        return None if word.core in lexicon.calendar else Grade.CLAUSE
    if mark is Mark.FULL_STOP:
        return _after_full_stop(word, start, following, complete=complete, lexicon=lexicon, sentence=sentence)
    return _between_words(word, start, following, complete=complete, lexicon=lexicon)


def _after_full_stop(
    word: Word, start: str, following: str, *, complete: bool, lexicon: Lexicon, sentence: str
) -> Grade | None:
    closing = word.core in lexicon.closing_abbreviations or (word.after_number and len(word.core) == 1)
    if not closing:
        return Grade.SENTENCE if _ends_sentence(word, start, following, lexicon, sentence) else None
    if start.isupper():
        second = following[following.index(start) + 1 :][:1]
        unknown = not second and not complete
        return None if unknown or second.isupper() else Grade.SENTENCE  # "5 p.m. EST"
    found = _between_words(word, start, following, complete=complete, lexicon=lexicon)
    return found if found is Grade.BREATH else None


def _ends_sentence(word: Word, start: str, following: str, lexicon: Lexicon, sentence: str) -> bool:
    """Whether a full stop ends a sentence: by our rules for the cases that `sentencex` gets wrong, else by it."""
    if word.core in lexicon.abbreviations or word.is_letter or start.islower():
        return False
    if word.is_number and (word.starts_line or not following or _may_be_ordinal(word, lexicon, sentence)):
        return False
    if start.isdigit() and len(word.core) <= lexicon.short_abbreviation:
        return False
    if is_unspaced(word.core[-1]) or (word.core in lexicon.answers and _is_alone(sentence)):
        return True
    language = lexicon.language or ("ru" if "а" <= word.core[0] <= "я" else "en")
    probe = "".join(takewhile(str.isalnum, following[following.index(start) :])) or "A"
    return segmenter()(language, f"{sentence} {probe}")[-1] == probe


def _may_be_ordinal(word: Word, lexicon: Lexicon, sentence: str) -> bool:
    """Whether the full stop may make an ordinal, after which a capital letter begins no sentence: "am 3. Juni"."""
    if word.mark is not Mark.FULL_STOP or not _ORDINAL.fullmatch(word.core):
        return False
    return lexicon.ordinals or (lexicon.language is None and len(word.core) <= 2 and not _CYRILLIC.search(sentence))


_ORDINAL = re.compile(r"[0-9]{1,3}|[0-9]{1,2}\.[0-9]{1,2}")  # "am 3. Juni", "am 24.12. Heiligabend"
_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)


def _is_alone(sentence: str) -> bool:
    """Whether the last word is a sentence of its own: "Let me see. No.", but not "at No."."""
    before = sentence.split()[-2:-1]
    return not before or not before[0][-1].isalnum()


def _between_words(word: Word, start: str, following: str, *, complete: bool, lexicon: Lexicon) -> Grade | None:
    known = core_of(following)
    if start >= FIRST_UNSPACED and is_clustered(start) and is_clustered(word.core[-1]):
        clings = known in (lexicon.clingers if complete else lexicon.beginnings_of_clingers)
        return None if clings else Grade.CLAUSE  # where words are not parted by blanks, a blank parts clauses
    core = known if complete else ""
    opens = core in lexicon.openers
    if lexicon.binds(word.core) or (word.is_number and not word.is_time) or word.is_code:
        return None
    if start.isdigit() or following.startswith("&") or core in lexicon.clingers:
        return None
    change = lexicon.change if complete else lexicon.beginnings_of_change
    if word.core in lexicon.money and (not following or known in change):
        return None
    if following and not start and not complete:
        return None  # only a sign of money or a quotation mark has come: wait for the word
    if word.core in lexicon.pronouns and following and not opens:
        return None
    if start.isupper() and core != "i":
        return None
    if opens or core in lexicon.auxiliaries:
        return Grade.BREATH
    if not following:
        named = word.capital or word.core in lexicon.labels or word.core in lexicon.calendar
        return None if named else Grade.WORD
    if not complete and known in lexicon.beginnings_of_clingers:
        return None
    return Grade.WORD


# The signs inside of an address of the Internet, and the words before the first of these signs.
_ADDRESS_SIGNS = frozenset("@/\\_=&~.:")
_ADDRESS_BEGINNINGS = frozenset({"http", "https", "www", "mailto", "tel"})
_JOINING_MARKS = frozenset("–—")


class Ending(enum.Enum):
    """Whether the last run of non-blanks is whole when the stream stalls before a blank has come."""

    WHOLE = enum.auto()
    """It is whole: a phrase may end with it."""
    UNSURE = enum.auto()
    """It is a figure or an address, which may go on: "3." may become "3.14"."""
    OPEN = enum.auto()
    """It may go on: no phrase may end with it."""


def ending(word: Word, previous: Word | None, *, lexicon: Lexicon, sentence: str) -> Ending:
    """Tell whether the last word of a stalled stream can end a phrase, if a blank comes next.

    Args:
        word: The last word, as far as it is known.
        previous: The word before it.
        lexicon: The closed lists of the language.
        sentence: The text with this word, from the beginning of its sentence (or the last 300 characters).
    """
    if word.mark is Mark.NONE or word.tail[-1] in _JOINING_MARKS or word.core in _ADDRESS_BEGINNINGS:
        return Ending.OPEN
    if _may_be_ordinal(word, lexicon, sentence):
        return Ending.UNSURE
    following = "A" if word.is_number else ""
    if grade(word, "", following, complete=False, lexicon=lexicon, sentence=sentence) is None:
        return Ending.OPEN
    hinted = previous is not None and previous.core in lexicon.address_hints
    address = not _ADDRESS_SIGNS.isdisjoint(word.body) or (word.mark is Mark.FULL_STOP and hinted and not word.capital)
    return Ending.UNSURE if address or any(char.isdigit() for char in word.body) else Ending.WHOLE


@cache
def segmenter() -> Callable[[str, str], list[str]]:
    """Return the segmenter of `sentencex`, loaded on first use: it takes 12 ms, and only replies need it."""
    return cast("Callable[[str, str], list[str]]", import_module("sentencex").segment)
