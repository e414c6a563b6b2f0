"""Reads figures as a person does: amounts, money, dates, times, telephone numbers. What is not certain stays as it is.

How it works. A run that begins with a figure, or with a sign before one, is held until the words around it tell what it
is: in Russian the preposition before it and the ending of the noun behind it tell case and gender. The rules of a
language are asked in order, the longest constructs first; each is a pattern and a function that says it in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from tts_trio.errors import ConfigurationError
from tts_trio.text.transforms.rewriter import TAG, Rewriter, Rule

Reader = tuple[str, Callable[["re.Match[str]"], str | None]]
"""The pattern of a construct behind a figure's beginning, and what says it in words; None: it is not certain."""

LONGEST = 12
"""The most digits of an amount; more are a code, read digit by digit."""

_HOLDS = 100  # characters of a figure and of what may belong to it

# A figure begins here: not inside of a word, a code, an address, or a longer figure.
_BEFORE = r"(?<![\w.,:/@#№$€£¥₽₹₴₸₺±+*=^−–'’%°-])"
_SIGN = r"(?:[−-]?[$€£]|[#№]\s?|[+−-])"
_STARTS = re.compile(rf"{_BEFORE}{_SIGN}?\d|{_BEFORE}{_SIGN}\Z|{_BEFORE}\((?=\d|\Z)|<")
_SIGNS = re.compile(r"[\d#№$€£+(<−-]")
# What may go on at the end of the text: the figure and what joins figures; a blank and a word; another figure behind
# it, as in "5 May 2027" and "с 9 до 18".
_BEGUN = re.compile(
    rf"{_SIGN}?" + r"[\d\u00a0\u202f ()./:,–-]{0,40}"
    r"(?:[^\W\d_]{0,24}[.²³-]?(?:,?(?: \d{0,4}(?: [^\W\d_]{0,9})?)?)?|[^\W\d_]{1,5}/[^\W\d_]{0,6}"
    r"|(?:st|nd|rd|th) (?:of )?[^\W\d_]{0,9}\.?(?:,?(?: \d{0,4})?)?"
    r"|[$€£]\d{0,9}(?:[.,]\d{0,3})?"
    r"|(?:[%₽$€£°+'’][CСF]?|/[^\W\d_]{0,6})(?:\s?[–-]\s?(?:[−$€£-]{0,2}\d{0,9}(?:[.,]\d{0,3})?[%°]?[CСF]?)?)?)\Z"
)


class Numerals(Protocol):
    """`num2words`: a number in words."""

    def __call__(self, number: object, *, lang: str, to: str = "cardinal", **options: Any) -> str:
        """Return a number in words."""
        ...


@cache
def numerals() -> Numerals:
    """Return `num2words`, loaded on first use.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return cast("Numerals", import_module("num2words").num2words)
    except ImportError:
        raise ConfigurationError(
            'numbers: num2words is not installed; run: pip install "tts_trio[numbers]"', field="transforms"
        ) from None


@cache
def readers_of(language: str) -> tuple[Rule, ...]:
    """Return the rules of a language.

    Raises:
        ConfigurationError: There are none for it, or `num2words` is not installed.
    """
    numerals()
    if language not in ("en", "ru"):
        raise ConfigurationError(
            f"language: {language!r} is not allowed for numbers; use one of en, ru", field="transforms"
        )
    module = import_module(f"tts_trio.text.transforms.{'english' if language == 'en' else 'russian'}")
    readers = cast("Sequence[Reader]", module.READERS)
    wholes = [(re.compile(pattern, re.IGNORECASE), says) for pattern, says in readers]
    return (TAG, *(Rule(whole, None if i else _BEGUN, says) for i, (whole, says) in enumerate(wholes)))


class Figures(Rewriter):
    """Reads figures: a `Transform`."""

    def __init__(self, language: str) -> None:
        super().__init__(readers_of(language), _STARTS, _SIGNS, holds=_HOLDS)


def digits(text: str, names: Sequence[str]) -> str:
    """Read a telephone number or a code digit by digit, with a comma where its groups end."""
    groups = re.findall(r"\d+", text)
    return ", ".join(" ".join(names[int(digit)] for digit in group) for group in groups)


def whole(text: str) -> int:
    """Return an amount that may have blanks, or commas, between its thousands."""
    return int(re.sub(r"\D", "", text))


def written_before(match: re.Match[str]) -> str:
    """Return the text before a figure, some words of it."""
    return match.string[max(0, match.start() - 40) : match.start()].rstrip()
