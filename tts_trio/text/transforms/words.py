"""Says other words in the place of some."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from tts_trio.errors import ConfigurationError
from tts_trio.text.transforms.rewriter import TAG, Rewriter, Rule

_BLANKS = r"\s+"
_LONGEST = 100  # characters of a word, or words, to replace


@attrs.frozen
class Words:
    """The words to replace, and the patterns that find them."""

    says: Mapping[str, str]
    match_case: bool
    whole: re.Pattern[str]
    begun: re.Pattern[str]
    starts: re.Pattern[str]


def compiled(words: Mapping[str, str], *, match_case: bool) -> Words:
    """Compile the patterns for some words.

    Raises:
        ConfigurationError: A word cannot be found; the message names it.
    """
    for word, said in words.items():
        if not (type(word) is type(said) is str and word and word == word.strip() and len(word) <= _LONGEST):
            raise ConfigurationError(
                f"replacements: {word!r} is not allowed; a word is a str of 1 to {_LONGEST} characters without blanks "
                "around it, and what is said for it is a str",
                field="transforms",
            )
    flags = 0 if match_case else re.IGNORECASE
    longest_first = sorted(words, key=len, reverse=True)
    alternatives = "|".join(_whole(word) for word in longest_first) or "(?!)"
    beginnings = "|".join(_begun(word) for word in longest_first) or "(?!)"
    first = "".join({re.escape(word[0]) for word in words})
    signs = "".join({re.escape(word[0]) for word in words if not re.match(r"\w", word)})
    return Words(
        says=words if match_case else {word.casefold(): said for word, said in words.items()},
        match_case=match_case,
        whole=re.compile(alternatives, flags),
        begun=re.compile(beginnings, flags),
        starts=re.compile(f"(?<!\\w)[{first}]|[<{signs}]" if first else "(?!)", flags),
    )


def _whole(word: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.match(r"\w", word[-1]) else ""
    return before + _BLANKS.join(map(re.escape, word.split())) + after


def _begun(word: str) -> str:
    """Match each beginning of a word at the end of the text, the word itself too, which may go on."""
    pattern = r"\Z"
    for char in reversed(word):
        pattern = rf"(?:\Z|{_BLANKS if char.isspace() else re.escape(char)}{pattern})"
    return rf"(?<!\w){pattern}" if re.match(r"\w", word) else pattern


class Replacements(Rewriter):
    """Says other words in the place of some: a `Transform`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        super().__init__((Rule(words.whole, words.begun, self._say), TAG), words.starts, words.starts)

    def _say(self, match: re.Match[str]) -> str:
        word = " ".join(match[0].split())
        return self._words.says[word if self._words.match_case else word.casefold()]
