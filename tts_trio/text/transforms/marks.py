"""Takes the Markdown that LLMs write out of a reply before it is spoken, and leaves its words."""

from __future__ import annotations

import re

from tts_trio.text.transforms.rewriter import Rewriter, Rule, nothing

_LINE = r"(?<![^\n])"  # the beginning of a line
_FENCE = (
    re.compile(rf"{_LINE}[ \t]{{0,80}}```[^\n]*(?:\n|\Z)"),
    re.compile(rf"{_LINE}[ \t]{{0,80}}(?:`{{0,2}}|```[^\n]{{0,80}})\Z"),
)
_MARKS = (
    Rule(  # a line across the page, such as ---
        re.compile(rf"{_LINE}[ \t]{{0,80}}([-*_])(?:[ \t]{{0,80}}\1){{2,}}[ \t]{{0,80}}(?:\n|\Z)"),
        re.compile(rf"{_LINE}(?=.{{1,200}}\Z)[ \t]*(?:[-*_][ \t]*){{1,80}}\Z"),
        nothing,
    ),
    Rule(  # headings, items of lists that are not numbered, quotations; one inside of the other
        re.compile(rf"{_LINE}(?:[ \t]{{0,80}}(?:#{{1,6}}|[-*+]|>)[ \t]{{1,80}}){{1,8}}"),
        re.compile(
            rf"{_LINE}(?:[ \t]{{0,80}}(?:#{{1,6}}|[-*+]|>)[ \t]{{1,80}}){{0,8}}(?:[ \t]{{0,80}}[#>*+-]{{0,6}})?\Z"
        ),
        nothing,
    ),
    Rule(re.compile(r"\\([!-/:-@\[-`{-~])"), re.compile(r"\\\Z"), lambda match: match[1]),
    Rule(re.compile(r"`+"), None, nothing),
    Rule(  # emphasis; not the signs of "2 * 3", "2*3", "snake_case", "~5"
        re.compile(
            r"(?!(?<!\S)[*_]+(?!\S)|(?<=[^\W_])_+(?=[^\W_])|(?<=\d)\*+(?=\d)|(?<=\w)\*(?=\w))(?:(?<!\*)\*+|(?<!_)_+|~~)"
        ),
        re.compile(r"(?:[*_]{1,80}|~)\Z"),
        nothing,
    ),
)
_STARTS = re.compile(r"(?<![^\n])[ \t]*[-*_#>+`]|(?<![^\n])[ \t]{1,80}\Z|\*+|_+|[\\`~\]\[]|(?<!\S)!(?:\[|\Z)")

_SIGNS = re.compile(r"[-*_#>+`\\~\[\]!\n]|\A[ \t]+\Z")


class Markdown(Rewriter):
    """Takes the marks of Markdown out: a `Transform`.

    It takes out emphasis, the marks of headings, bullets and quotations, fences and backticks, and leaves the label of
    a link or an image. The numbers of lists and all line breaks stay, because the listener hears them.
    """

    def __init__(self) -> None:
        self._links = 0  # how many links are open
        self._fence = Rule(*_FENCE, self._turn_fence)
        self._outside = (
            self._fence,
            *_MARKS[:2],
            _MARKS[2],
            Rule(  # the end of a link comes first, and of a link that has begun only
                re.compile(r"\]\([^()\n]*\)"), None, self._end_link
            ),
            Rule(
                re.compile(r"(?:(?<!\S)!)?\[(?=[^\[\]\n]*\]\([^()\n]*\))"),
                re.compile(r"(?<!\S)!\Z|(?:(?<!\S)!)?\[[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,400})?)?\Z"),
                self._begin_link,
            ),
            *_MARKS[3:],
        )
        super().__init__(self._outside, _STARTS, _SIGNS)

    def _turn_fence(self, _match: re.Match[str]) -> str:
        self.rules = (self._fence,) if self.rules is self._outside else self._outside
        return ""

    def _begin_link(self, _match: re.Match[str]) -> str:
        self._links += 1
        return ""

    def _end_link(self, _match: re.Match[str]) -> str | None:
        if not self._links:
            return None
        self._links -= 1
        return ""
