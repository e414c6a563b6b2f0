"""Has addresses of the Internet read as a person reads them: "example dot com"."""

from __future__ import annotations

import re

import attrs

from tts_trio.errors import ConfigurationError
from tts_trio.text.transforms.rewriter import TAG, Rewriter, Rule, nothing


@attrs.frozen
class Names:
    """What the signs of an address are called in a language."""

    dot: str
    at: str


_NAMES = {"en": Names("dot", "at"), "ru": Names("точка", "собака")}
_ENDINGS = (
    "com|org|net|edu|gov|info|biz|io|ai|app|dev|me|co|tv|shop|online|site|store|tech|cloud|"
    "ru|su|by|kz|ua|uz|am|ge|de|uk|us|eu|fr|es|it|pl|nl|ch|at|cz|se|no|fi|dk|pt|gr|tr|jp|cn|in|br|ca|au|рф|бел"
)
_WORDS = frozenset({"me", "it", "at", "no", "in", "us", "am", "by", "de", "se", "is", "co", "info", "store", "online"})
_ADDRESS = re.compile(r"(?:@|www\.|://)[^\s@]{0,60}\Z")  # what is an address for certain, before such a word
_SCHEME = Rule(
    re.compile(r"(?<![\w.])(?:https?://(?:www\.)?|www\.)(?=\w)", re.IGNORECASE),
    re.compile(r"(?<![\w.])(?:h(?:tt?)?|https?:?/?(?:/(?:w{1,3}\.?)?)?|w{1,3}\.?)\Z", re.IGNORECASE),
    nothing,
)
_DOT = re.compile(
    rf"(?<=\w)\.(?:(?P<ending>(?-i:{_ENDINGS}))(?![\w-]|\.\w|@)(?::\d+)?(?:[/?#](?:[^\s<>\"'()]*[^\s<>\"'().,;:!?*_`])?)?"
    rf"|(?=(?:[\w-]{{1,60}}\.){{1,6}}(?-i:{_ENDINGS})(?![\w-]|\.\w))"
    r"|(?=[\w.+-]{1,60}@\w))",
    re.IGNORECASE,
)
_DOT_BEGUN = re.compile(
    r"(?<=\w)\.(?:[\w.@-]{0,100}|[a-zрфбел]{2,6}(?::\d{0,5})?(?:[/?#][^\s<>\"'()]{0,300})?)\Z", re.IGNORECASE
)
_AT = re.compile(r"(?<=[\w+-])@(?=[\w-]{1,60}\.\w)")
_AT_BEGUN = re.compile(r"(?<=[\w+-])@(?:[\w-]{1,60}\.?)?\Z")
_STARTS = re.compile(r"(?<=\w)[.@]|(?<![\w.])(?:http|www|(?:h(?:tt?)?|ww?)\Z)|<", re.IGNORECASE)

_SIGNS = re.compile(r"[.@<]|ww|htt|(?:h(?:tt?)?|w)\Z", re.IGNORECASE)


def words_of(language: str) -> Names:
    """Return what the signs of an address are called in a language.

    Raises:
        ConfigurationError: The language is not known.
    """
    if language not in _NAMES:
        raise ConfigurationError(
            f"language: {language!r} is not allowed for links; use one of {', '.join(_NAMES)}", field="transforms"
        )
    return _NAMES[language]


class Links(Rewriter):
    """Names the signs of addresses, and leaves out schemes and paths: a `Transform`."""

    def __init__(self, names: Names) -> None:
        self._names = names
        rules = (
            TAG,
            _SCHEME,
            Rule(_DOT, _DOT_BEGUN, self._dot),
            Rule(_AT, _AT_BEGUN, lambda _: f" {names.at} "),
        )
        super().__init__(rules, _STARTS, _SIGNS)

    def _dot(self, match: re.Match[str]) -> str | None:
        ending = match["ending"] or ""
        if (
            ending in _WORDS
            and len(match[0]) == len(ending) + 1
            and _ADDRESS.search(match.string, 0, match.start()) is None
        ):
            return None  # "I like it.me too"
        return f" {self._names.dot} {ending}"
