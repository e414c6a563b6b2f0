"""A small text normalizer: numbers become words, as the service's own would say them.

It exists so that `normalizedAlignment` differs from `alignment` where a client has to cope with it. The words come from
num2words, which the extra `voice` brings; without it numbers stay in digits.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

import attrs

_NUMBER = re.compile(r"(?<![\w.,:])(?P<whole>\d+)(?:(?P<mark>[.,:])(?P<rest>\d+))?(?P<percent> ?%)?(?!\w|[.,:]\d)")
_PERCENT = {"ru": "процентов", "en": "percent", "de": "Prozent", "fr": "pour cent", "es": "por ciento"}
_LONGEST_NUMBER = 9  # digits; more of them are a phone or an account, and are read one by one


@attrs.frozen
class Piece:
    """A run of the text, and how it is said: the same, or a number in words."""

    source: str
    spoken: str


def normalize(text: str, language_code: str | None) -> list[Piece]:
    """Cut a text into pieces that are said as they are written, and numbers in words.

    Args:
        text: Any text. The sources of the pieces, joined, are this text.
        language_code: ISO 639-1; None: Russian for text with Cyrillic letters, else English.
    """
    if not find_spec("num2words"):
        return [Piece(text, text)]
    language = language_code or ("ru" if re.search("[а-яё]", text, re.IGNORECASE) else "en")
    pieces: list[Piece] = []
    position = 0
    for match in _NUMBER.finditer(text):
        if match.start() > position:
            pieces.append(Piece(text[position : match.start()], text[position : match.start()]))
        pieces.append(Piece(match[0], _say(match, language)))
        position = match.end()
    if position < len(text):
        pieces.append(Piece(text[position:], text[position:]))
    return pieces


def _say(match: re.Match[str], language: str) -> str:
    whole, mark, rest, percent = match.group("whole", "mark", "rest", "percent")
    words = _cardinal(whole, language)
    if mark == ":":
        words = f"{words} {_cardinal(rest, language)}"
    elif mark:
        words = _in_words(float(f"{whole}.{rest}"), language)
    return f"{words} {_PERCENT.get(language, '%')}" if percent else words


def _cardinal(digits: str, language: str) -> str:
    if len(digits) > _LONGEST_NUMBER or (digits.startswith("0") and len(digits) > 1):
        return " ".join(_in_words(int(digit), language) for digit in digits)
    return _in_words(int(digits), language)


def _in_words(number: float, language: str) -> str:
    from num2words import (  # pyright: ignore[reportMissingTypeStubs] - it is not typed
        num2words,  # pyright: ignore[reportUnknownVariableType] - as above
    )

    try:
        return num2words(number, lang=language)
    except NotImplementedError:  # a language it does not have
        return num2words(number, lang="en")
