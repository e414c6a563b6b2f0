"""`Rewriter`: the transform that all of ours are. It rewrites by rules, and holds what may become a construct of one.

How it works. `starts` finds the next place where a construct may begin; all before it is plain text and passes as it
is. At that place the rules are asked in order. If the text may end inside of a construct (`begun`), the rewriter stops
there and waits for more. If the construct is whole (`whole`), what the rule says replaces it. If no rule matches, what
`starts` found is plain text too. When nothing more comes (`pause`, `close`), a construct that is begun counts as plain
text, unless it is whole as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs

_BEHIND = 64  # characters before a place that a rule can look back at
_HOLDS = 400  # characters: a link with a long address


@attrs.frozen
class Rule:
    """A construct, and what is said in its place.

    Attributes:
        whole: Matches the construct.
        begun: Matches the beginning of a construct at the end of the known text, where it may go on. None: a
            construct is whole when it begins, or the rule before this one waits for both.
        says: What is said in its place, made of the match of `whole`; None: it is no construct after all.
    """

    whole: re.Pattern[str]
    begun: re.Pattern[str] | None
    says: Callable[[re.Match[str]], str | None]


def nothing(_match: re.Match[str]) -> str:
    """Say nothing in the place of a construct."""
    return ""


_ANYTHING = re.compile(r"[\s\S]")

_ATTRIBUTE = r"(?:\s{1,4}[\w:-]{1,30}=\"[^\"<>]{0,200}\")"
TAG = Rule(  # a tag of SSML: what stands in it is not read to anybody
    re.compile(rf"</?[A-Za-z][\w:-]{{0,30}}{_ATTRIBUTE}{{0,8}}\s?/?>"),
    re.compile(
        rf"<(?:/?(?:[A-Za-z][\w:-]{{0,30}}{_ATTRIBUTE}{{0,8}}(?:\s{{1,4}}(?:[\w:-]{{1,30}}(?:=(?:\"[^\"<>]{{0,200}})?)?)?)?/?)?)?\Z"
    ),
    lambda match: match[0],
)


class Rewriter:
    """Rewrites the text of one reply by rules. It is a `Transform`.

    Args:
        rules: The constructs.
        starts: Matches what a construct may begin with. What it matches is plain text if no rule does.
        signs: Matches something in every piece of text in which a construct may begin, and in few others. It makes the
            others cheap.
        holds: The most characters that are held, as the beginning of a construct.
    """

    def __init__(
        self, rules: Sequence[Rule], starts: re.Pattern[str], signs: re.Pattern[str], *, holds: int = _HOLDS
    ) -> None:
        self._outside = (rules, starts)  # of what is left out
        self._rules, self._starts = self._outside
        self._holds = holds
        self._signs = signs
        self._text: str = ""  # some characters that were answered for, and the text that was not
        self._at = 0  # where the latter begins

    def feed(self, text: str) -> list[tuple[str, int]]:
        """Take a piece of text of any size, and answer for what is certain."""
        if self._at == len(self._text) and self._starts is not _ANYTHING and self._signs.search(text) is None:
            self._text = self._text[-_BEHIND:] + text
            self._at = len(self._text)
            return [(text, len(text))] if text else []
        return self._read(text, final=False)

    def pause(self) -> list[tuple[str, int]]:
        """Answer for what is held."""
        return self._read("", final=True)

    def close(self) -> list[tuple[str, int]]:
        """Answer for all that is left."""
        return self._read("", final=True)

    def omit_until(self, whole: re.Pattern[str], begun: re.Pattern[str], rest: re.Pattern[str]) -> None:
        """Say nothing from here on until a construct, and nothing in its place.

        Args:
            whole: Matches the construct.
            begun: Matches its beginning at the end of the known text, where it may go on.
            rest: Matches a piece of what stands before it, at any other place. It matches one character at least.
        """
        self._rules = (Rule(whole, begun, self._end_omission), Rule(rest, None, nothing))
        self._starts = _ANYTHING

    def _end_omission(self, _match: re.Match[str]) -> str:
        self._rules, self._starts = self._outside
        return ""

    def _read(self, piece: str, *, final: bool) -> list[tuple[str, int]]:
        text = self._text = self._text + piece
        at = plain = self._at
        pairs: list[tuple[str, int]] = []
        while (found := self._starts.search(text, at)) is not None:
            at = found.start()
            said = self._construct(text, at, final=final)
            if said is None:
                break
            if said[1]:
                if plain < at:
                    pairs.append((text[plain:at], at - plain))
                pairs.append(said)
                plain = at = at + said[1]
            else:
                at = at + 1 if text[at] in " \t" else max(found.end(), at + 1)  # behind a blank another may begin
        else:
            at = len(text)
        if plain < at:
            pairs.append((text[plain:at], at - plain))
        self._text = text[max(0, at - _BEHIND) :]
        self._at = min(at, _BEHIND)
        return pairs

    def _construct(self, text: str, at: int, *, final: bool) -> tuple[str, int] | None:
        """Return what is said at a place, and for how many characters: ("", 0): no construct; None: wait for more."""
        waits = not final and len(text) - at <= self._holds
        for rule in self._rules:
            if waits and rule.begun is not None and rule.begun.match(text, at) is not None:
                return None
            if (match := rule.whole.match(text, at)) is not None and (said := rule.says(match)) is not None:
                return said, match.end() - at
        return "", 0
