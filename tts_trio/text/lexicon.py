"""Closed lists of function words: what clings together when it is spoken."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import attrs


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word.replace("ё", "е") for line in lines for word in line.split())


def _beginnings(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word[:length] for word in words for length in range(1, len(word) + 1))


@attrs.frozen(kw_only=True)
class Lexicon:
    """The closed lists of one language, all in lower case and with ``е`` for ``ё``.

    Attributes:
        language: The language code for `sentencex`; None: it is told by the script.
        binders: Words that belong to the next one, so no phrase ends with them.
        binding_endings: Endings of adjectives, which belong to a noun that follows.
        openers: Words before which a speaker could draw breath.
        clingers: Words that belong to the one before, so no phrase begins with them.
        calendar: Months and weekdays: a date goes on after them ("5 мая 2024", "Monday, May 5").
        abbreviations: With a full stop they belong to the next word, and never end a sentence.
        closing_abbreviations: With a full stop they may end a sentence, if a capital follows.
        short_abbreviation: A shorter word, a full stop and a figure: an abbreviation that no list knows.
        short_word: Without lists, words of so many letters are taken for function words.
    """

    language: str | None = None
    binders: frozenset[str] = frozenset()
    binding_endings: tuple[str, ...] = ()
    openers: frozenset[str] = frozenset()
    clingers: frozenset[str] = frozenset()
    calendar: frozenset[str] = frozenset()
    abbreviations: frozenset[str] = frozenset()
    closing_abbreviations: frozenset[str] = frozenset()
    short_abbreviation: int = 4
    short_word: int = 0
    beginnings_of_clingers: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda lexicon: _beginnings(lexicon.clingers), takes_self=True),
    )

    def binds(self, core: str) -> bool:
        """Whether the word belongs to the one after it."""
        return (
            core in self.binders
            or len(core) <= self.short_word
            or (len(core) > 3 and core.endswith(self.binding_endings))
        )


RUSSIAN = Lexicon(
    language="ru",
    binders=_words(
        "в во на с со к ко у от до из изо о об обо по за для без безо при про через между перед под надо над",
        "и а но или либо да что чтобы как если когда где куда откуда который которая которое которые",
        "не ни я мы вы ты он она оно они это мой ваш наш твой очень уже еще только почти около",
        "один два три четыре пять шесть семь восемь девять десять сто двести тысяч миллион номер",
    ),
    openers=_words(
        "и а но или либо что чтобы как если когда где в во на с со к ко у от до из по за для без при через",
        "я мы вы он она они это",
    ),
    clingers=_words("ли же бы утра вечера ночи дня года"),
    calendar=_words("января февраля марта апреля мая июня июля августа сентября октября ноября декабря"),
    abbreviations=_words("ул д кв каб стр им г т.е просп корп тел"),
    closing_abbreviations=_words("руб коп мин тыс млн млрд т.д т.п янв февр"),
)

ENGLISH = Lexicon(
    language="en",
    binders=_words(
        "a an the my your our his her its their this these those no not and but or if because that which",
        "to for with at in on from by of about before after until between i we you he she it they",
        "is are was were will would can could should has have had may might must very so",
        "one two three four five six seven eight nine ten hundred thousand number room",
    ),
    openers=_words(
        "and but or so because if when while that which who where to for with at in on from by about before",
        "after until is are was were will would can could should has have had may might must i we you",
    ),
    clingers=_words("o'clock"),
    calendar=_words("january february march april may june july august september october november december"),
    abbreviations=_words("mr mrs ms dr prof st no e.g i.e vs"),
    closing_abbreviations=_words("etc inc ltd co jr sr a.m p.m u.s"),
)

UNKNOWN = Lexicon(short_word=3)


@cache
def lexicon_for(language_code: str | None) -> Lexicon:
    """Return the lists for a language; Russian and English together where none is given.

    Args:
        language_code: ISO 639-1, as the service takes it.
    """
    if language_code is None:
        return Lexicon(
            binding_endings=RUSSIAN.binding_endings,
            **{
                name: getattr(RUSSIAN, name) | getattr(ENGLISH, name)
                for name in (
                    "binders",
                    "openers",
                    "clingers",
                    "calendar",
                    "abbreviations",
                    "closing_abbreviations",
                )
            },
        )
    known = {"ru": RUSSIAN, "en": ENGLISH}.get(language_code)
    return known or attrs.evolve(UNKNOWN, language=language_code)
