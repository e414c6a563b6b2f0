"""The replies of the corpus, as texts with the places where no phrase may end, and as an LLM writes them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import attrs

LANGUAGES = ("en", "ru")

# Latin words of up to eight letters are one piece, as with the tokenisers of today; others are cut into pieces.
_PIECES = re.compile(r" ?[A-Za-z']{1,8}(?![A-Za-z'])| ?[A-Za-z']{1,5}| ?[^\W\dA-Za-z_]{1,3}| ?\d{1,3}| ?[^\w\s]+|\s|_")


@attrs.frozen
class Reply:
    """One reply.

    Attributes:
        language: "en" or "ru".
        text: What the model writes.
        forbidden: Indices of the blanks in `text` at which no phrase may end.
        pauses: Indices in `text` before which the model pauses, to call a tool.
    """

    language: str
    text: str
    forbidden: frozenset[int]
    pauses: frozenset[int]

    def pieces(self) -> list[str]:
        """Cut the text as an LLM's tokeniser does: about 1.3 pieces a word in English, 2.3 in Russian."""
        return _PIECES.findall(self.text)


@cache
def replies(language: str) -> list[Reply]:
    """Read the corpus of a language; `README.md` describes the marks."""
    lines = (Path(__file__).parent / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return [_reply(language, line) for line in lines if not line.startswith("#")]


def _reply(language: str, line: str) -> Reply:
    marked = line.replace("⏎", "\n")
    plain = marked.replace("‖", "")
    return Reply(
        language=language,
        text=plain.replace("·", " "),
        forbidden=frozenset(i for i, char in enumerate(plain) if char == "·"),
        pauses=frozenset(match.start() - i for i, match in enumerate(re.finditer("‖", marked))),
    )
