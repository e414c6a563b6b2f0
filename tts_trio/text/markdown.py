"""Markdown as LLMs write it, taken out of a stream of tokens before it is spoken."""

from __future__ import annotations

import re

import attrs

from tts_trio.text.words import slices


@attrs.frozen
class _Rule:
    """A construct of Markdown, and what of it remains.

    Attributes:
        whole: The construct.
        begun: The construct at the end of what is known, where it may go on: then more text is waited for.
        remains: What of the construct stays in its place, as a template for the match.
        read_again: Whether that may have constructs in it.
    """

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    remains: str = ""
    read_again: bool = False


_FENCE = _Rule(re.compile(r"[ \t]{0,80}```[^\n]*(?:\n|\Z)"), re.compile(r"[ \t]{0,80}(?:`{0,2}|```[^\n]{0,80})\Z"))

# The first rule that applies is the one that counts. No pattern looks at more than a few hundred characters of what is
# not known to its end, so that nothing is held back for long, and that what is held back is read again in no time.
_AT_LINE_START = (
    _FENCE,
    _Rule(  # --- a line across the page
        re.compile(r"[ \t]{0,80}([-*_])(?:[ \t]{0,80}\1){2,}[ \t]{0,80}(?:\n|\Z)"),
        re.compile(r"(?=.{1,200}\Z)[ \t]*(?:[-*_][ \t]*){1,80}\Z"),
    ),
    _Rule(  # headings, items of lists that are not numbered, quotations
        re.compile(r"[ \t]{0,80}(?:#{1,6}|[-*+]|>)[ \t]{1,80}"),
        re.compile(r"[ \t]{0,80}(?:(?:#{1,6}|[-*+]|>)[ \t]{0,80})?\Z"),
    ),
)
_INLINE = (
    _Rule(re.compile(r"\\([!-/:-@\[-`{-~])"), re.compile(r"\\\Z"), r"\1"),
    _Rule(  # links and images
        re.compile(r"(?:(?<!\S)!)?\[([^\[\]\n]*)\]\([^()\n]*\)"),
        re.compile(r"(?<!\S)!\Z|(?:(?<!\S)!)?\[[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,400})?)?\Z"),
        r"\1",
        read_again=True,
    ),
    _Rule(re.compile(r"`+"), re.compile(r"(?!)")),
    _Rule(  # emphasis, but not "2 * 3", "2*3", "snake_case", "~5"
        re.compile(
            r"(?!(?<!\S)[*_]+(?!\S)|(?<=[^\W_])_+(?=[^\W_])|(?<=\d)\*+(?=\d)|(?<=\w)\*(?=\w))(?:(?<!\*)\*+|(?<!_)_+|~~)"
        ),
        re.compile(r"(?:[*_]{1,80}|~)\Z"),
    ),
)
_PLAIN = re.compile(r"[^\\`*_~!\[\n]+")
_MARK = re.compile(r"\*+|_+|[\s\S]")  # what is no construct: a run of one sign stays together


class MarkdownStripper:
    """Takes the marks of Markdown out of a reply, and leaves its words.

    Goes before a `Phraser`, and before whatever else is to know the text that is spoken. Emphasis, headings, bullets,
    quotation marks at line starts, fences and backticks go, of a link or an image its label remains. The numbers of
    lists and all line breaks stay: they are heard.

        stripper = MarkdownStripper()
        plain = stripper.feed("Press **Re") + stripper.feed("set**.") + stripper.close()
    """

    def __init__(self) -> None:
        self._text = ""  # one character that was read, and what was not yet
        self._at = 0
        self._line_start = True
        self._fenced = False

    def feed(self, token: str) -> str:
        """Take a piece of text of any size, and return what is certain of the text without marks."""
        return "".join([self._read(piece, final=False) for piece in slices(token)])

    def close(self) -> str:
        """Return what is left, the reply being complete."""
        return self._read("", final=True)

    def _read(self, piece: str, *, final: bool) -> str:
        self._text += piece
        plain: list[str] = []
        while self._at < len(self._text):
            rule = next((rule for rule in self._rules() if self._begins(rule, final=final) or self._match(rule)), None)
            if rule is None:
                plain.append(self._take_plain())
            elif self._begins(rule, final=final):
                break
            else:
                plain.append(self._take(rule))
        self._text = self._text[max(0, self._at - 1) :]
        self._at = min(self._at, 1)
        return "".join(plain)

    def _rules(self) -> tuple[_Rule, ...]:
        if self._fenced:
            return (_FENCE,) if self._line_start else ()
        return (*_AT_LINE_START, *_INLINE) if self._line_start else _INLINE

    def _begins(self, rule: _Rule, *, final: bool) -> bool:
        return not final and rule.begun.match(self._text, self._at) is not None

    def _match(self, rule: _Rule) -> re.Match[str] | None:
        return rule.whole.match(self._text, self._at)

    def _take(self, rule: _Rule) -> str:
        """Take a construct, and return what of it is text."""
        match = self._match(rule)
        assert match is not None
        self._line_start = rule in _AT_LINE_START
        self._fenced ^= rule is _FENCE
        remains = match.expand(rule.remains)
        if rule.read_again:
            self._text = self._text[: self._at] + remains + self._text[match.end() :]
            return ""
        self._at = match.end()
        return remains

    def _take_plain(self) -> str:
        match = _PLAIN.match(self._text, self._at) or _MARK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        self._line_start = match[0] == "\n"
        return match[0]
