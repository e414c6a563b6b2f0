"""Takes the Markdown that LLMs write out of a stream of tokens before it is spoken.

Each construct is a `_Rule`, a pair of patterns. At each place of the text the rules are tried in order, and the first
that matches wins. If the text may end inside of a construct (`begun`), the stripper stops there and waits for more. If
the construct is whole (`whole`), `remains` replaces it. If no rule matches, the plain text up to the next sign is
returned.
"""

from __future__ import annotations

import re

import attrs

from tts_trio.text.words import slices


@attrs.frozen
class _Rule:
    """A construct of Markdown.

    Attributes:
        whole: Matches the construct.
        begun: Matches the beginning of a construct at the end of the known text, where it may go on.
        remains: The text that replaces the construct, as a template for the match of `whole`.
        read_again: Whether the replacement may contain constructs, and is read again.
    """

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    remains: str = ""
    read_again: bool = False


_FENCE = _Rule(re.compile(r"[ \t]{0,80}```[^\n]*(?:\n|\Z)"), re.compile(r"[ \t]{0,80}(?:`{0,2}|```[^\n]{0,80})\Z"))

# No pattern of `begun` matches more than a few hundred characters, so that no text is held back for long, and reading
# it again with each token costs little.
_AT_LINE_START = (
    _FENCE,
    _Rule(  # a line across the page, such as ---
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
    _Rule(  # emphasis; not the signs of "2 * 3", "2*3", "snake_case", "~5"
        re.compile(
            r"(?!(?<!\S)[*_]+(?!\S)|(?<=[^\W_])_+(?=[^\W_])|(?<=\d)\*+(?=\d)|(?<=\w)\*(?=\w))(?:(?<!\*)\*+|(?<!_)_+|~~)"
        ),
        re.compile(r"(?:[*_]{1,80}|~)\Z"),
    ),
)
_PLAIN = re.compile(r"[^\\`*_~!\[\n]+")
_MARK = re.compile(r"\*+|_+|[\s\S]")  # signs that are no construct; a run of one sign stays together


class MarkdownStripper:
    """Takes the marks of Markdown out of a reply, and leaves its words.

    It comes before the `Phraser`. It takes out emphasis, the marks of headings, bullets and quotations, fences and
    backticks, and leaves the label of a link or an image. The numbers of lists and all line breaks stay, because the
    listener hears them.

        stripper = MarkdownStripper()
        plain = stripper.feed("Press **Re") + stripper.feed("set**.") + stripper.close()
    """

    def __init__(self) -> None:
        self._text = ""  # the last character that was read, and the unread text
        self._at = 0  # where the unread text begins in `_text`
        self._line_start = True  # whether the unread text is at the beginning of a line
        self._fenced = False  # whether it is inside of a fenced block of code

    def feed(self, token: str) -> str:
        """Take a piece of text of any size, and return the text without marks as far as it is certain."""
        return "".join([self._read(piece, final=False) for piece in slices(token)])

    def close(self) -> str:
        """Return the remaining text. No more text will be fed."""
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
        """Replace a whole construct, and return the text that remains of it."""
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
