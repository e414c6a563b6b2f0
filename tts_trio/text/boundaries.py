"""Where a phrase may end: one function that grades the place between two words."""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import takewhile
from typing import cast

from tts_trio.config.phrase_policy import Grade
from tts_trio.text.lexicon import Lexicon
from tts_trio.text.words import Mark, Word, core_of, mark_of


def grade(word: Word, gap: str, following: str, *, complete: bool, lexicon: Lexicon, sentence: str) -> Grade | None:
    """Grade the place after `word`, or None where no phrase may end, or not yet.

    The rules are asked in order, and the first that has an answer gives it: what the next word forbids, what
    the mark says, what the word before forbids, and at last what the next word invites.

    Args:
        word: The word before the place.
        gap: What stands between it and the place, blanks excepted: a dash, an emoji, or nothing.
        following: The next word from its first character on, as far as it is known; "" where the stream has
            stalled, so that nothing may be assumed about it.
        complete: Whether the next word is known to its end.
        lexicon: The closed lists of the language.
        sentence: The text up to the place, as far back as a sentence may reach.
    """
    if following and not following[0].isascii() and unicodedata.category(following[0])[0] == "M":
        return None
    mark = word.mark if word.mark is not Mark.NONE else mark_of(gap.replace("-", "–"))
    start = following[:1] if following[:1].isalnum() else next(filter(str.isalnum, following), "")
    if word.is_number and (start.isdigit() or not following) and mark is not Mark.SENTENCE:
        return None
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
    """Whether a full stop ends a sentence, where `sentencex` alone would be wrong."""
    if word.core in lexicon.abbreviations or word.is_letter or start.islower():
        return False
    if word.is_number and (word.starts_line or not following or _may_be_ordinal(word, lexicon)):
        return False
    if start.isdigit() and len(word.core) <= lexicon.short_abbreviation:
        return False
    if word.core in lexicon.answers and _is_alone(sentence):
        return True
    language = lexicon.language or ("ru" if "а" <= word.core[0] <= "я" else "en")
    probe = "".join(takewhile(str.isalnum, following[following.index(start) :])) or "A"
    return segmenter()(language, f"{sentence} {probe}")[-1] == probe


def _may_be_ordinal(word: Word, lexicon: Lexicon) -> bool:
    """Whether the full stop may stand for "-th", so that a capital letter after it says nothing: "am 3. Juni"."""
    return lexicon.ordinals and word.mark is Mark.FULL_STOP and word.core.isdecimal() and len(word.core) <= 3


def _is_alone(sentence: str) -> bool:
    """Whether no mark is missing before the last word: "Let me see. No.", but not "at No."."""
    before = sentence.split()[-2:-1]
    return not before or not before[0][-1].isalnum()


def _between_words(word: Word, start: str, following: str, *, complete: bool, lexicon: Lexicon) -> Grade | None:
    core = core_of(following) if complete else ""
    opens = core in lexicon.openers
    if lexicon.binds(word.core) or (word.is_number and not word.is_time) or word.is_code:
        return None
    if start.isdigit() or following.startswith("&") or core in lexicon.clingers:
        return None
    if word.core in lexicon.money:
        known = core_of(following)
        if not following or known in (lexicon.change if complete else lexicon.beginnings_of_change):
            return None
    if following and not start and not complete:
        return None  # a sign of money, a quotation mark: not yet
    if word.core in lexicon.pronouns and following and not opens:
        return None
    if start.isupper() and core != "i":
        return None
    if opens or core in lexicon.auxiliaries:
        return Grade.BREATH
    if not following:
        named = word.capital or word.core in lexicon.labels or word.core in lexicon.calendar
        return None if named else Grade.WORD
    if not complete and core_of(following) in lexicon.beginnings_of_clingers:
        return None
    return Grade.WORD


# What addresses have inside of them; and what is before the first of these signs.
_ADDRESS_SIGNS = frozenset("@/\\_=&~.:")
_ADDRESS_BEGINNINGS = frozenset({"http", "https", "www", "mailto", "tel"})
_JOINING_MARKS = frozenset("–—")


class Ending(enum.Enum):
    """Whether a run of non-blanks is whole at which the stream has stalled, no blank being known after it."""

    WHOLE = enum.auto()
    UNSURE = enum.auto()
    """A figure or an address may go on: "3." may become "3.14"."""
    OPEN = enum.auto()


def ending(word: Word, previous: Word | None, *, lexicon: Lexicon, sentence: str) -> Ending:
    """Tell whether a word at which the stream has stalled can end a phrase, the blank after it being taken for granted.

    Args:
        word: The last word, as far as it is known.
        previous: The word before it.
        lexicon: The closed lists of the language.
        sentence: The text up to here, as far back as a sentence may reach.
    """
    if word.mark is Mark.NONE or word.tail[-1] in _JOINING_MARKS or word.core in _ADDRESS_BEGINNINGS:
        return Ending.OPEN
    if _may_be_ordinal(word, lexicon):
        return Ending.UNSURE
    following = "A" if word.is_number else ""
    if grade(word, "", following, complete=False, lexicon=lexicon, sentence=sentence) is None:
        return Ending.OPEN
    hinted = previous is not None and previous.core in lexicon.address_hints
    address = not _ADDRESS_SIGNS.isdisjoint(word.body) or (word.mark is Mark.FULL_STOP and hinted and not word.capital)
    return Ending.UNSURE if address or any(char.isdigit() for char in word.body) else Ending.WHOLE


@cache
def segmenter() -> Callable[[str, str], list[str]]:
    """Load `sentencex`, on first use: 12 ms that only streamed replies need."""
    return cast("Callable[[str, str], list[str]]", import_module("sentencex").segment)
