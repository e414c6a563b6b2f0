"""Takes the Markdown that LLMs write out of a reply before it is spoken, and leaves its words.

A sign is taken out where it is one of Markdown for certain: emphasis has its two ends, or its beginning stands before a
letter; a link has its address. What is no Markdown stays as it is written: "*67", "x**2", "*.py", "****1234".
"""

from __future__ import annotations

import html
import re
from collections import Counter

from tts_trio.text.transforms.rewriter import Rewriter, Rule, nothing

_LINE = r"(?<![^\n])"  # the beginning of a line
_END = r"[ \t]*(?:\n|\Z)"
_SPELLED = "0-9A-Za-z\u00b5\u00c0-\u052f"  # letters of alphabets with blanks between words, and figures
_LETTER = r"[^\W\d_]"
_QUOTES = r"[«“„\"'(\[¿¡]{0,2}"

_FENCE = re.compile(rf"{_LINE}[ \t]{{0,80}}(?:```|~~~)[^\n]*(?:\n|\Z)")
_FENCE_BEGUN = re.compile(rf"{_LINE}[ \t]{{0,80}}(?:`{{1,2}}|~{{1,2}}|(?:```|~~~)[^\n]{{0,80}})?\Z")
_LINE_OF_CODE = re.compile(r"\n|[^\n]+")

_LINES = (
    Rule(  # a line across the page, such as ---, under a heading, or between the head and the rows of a table
        re.compile(
            rf"{_LINE}[ \t]{{0,80}}(?:([-*_])(?:[ \t]{{0,80}}\1){{2,}}|={{3,}}"
            rf"|\|?(?:[ \t]*:?-{{2,}}:?[ \t]*\|?)+){_END}"
        ),
        re.compile(rf"{_LINE}(?=.{{1,200}}\Z)[ \t]*(?:(?:[-*_][ \t]*){{1,80}}|={{1,80}}|[|:\- \t]{{1,80}})\Z"),
        nothing,
    ),
    Rule(  # headings, items of lists that are not numbered, task boxes, quotations; one inside of the other
        re.compile(rf"{_LINE}(?:[ \t]{{0,80}}(?:#{{1,6}}|[-*+]|>)[ \t]{{1,80}}){{1,8}}(?:\[[ xX]\][ \t]{{1,8}})?"),
        re.compile(
            rf"{_LINE}(?:[ \t]{{0,80}}(?:#{{1,6}}|[-*+]|>)[ \t]{{1,80}}){{0,8}}"
            r"(?:[ \t]{0,80}[#>*+-]{0,6}|\[[ xX]?\]?)?\Z"
        ),
        nothing,
    ),
    Rule(  # where a link of the text leads to: "[1]: https://example.com"
        re.compile(rf"{_LINE} {{0,3}}\[[^\[\]\n]{{1,80}}\]:[ \t]+\S[^\n]{{0,400}}(?:\n|\Z)"),
        re.compile(rf"{_LINE} {{0,3}}\[(?:[^\[\]\n]{{0,80}}(?:\](?::[^\n]{{0,400}})?)?)?\Z"),
        nothing,
    ),
)
_PATH = Rule(  # "C:\temp\*.txt"
    re.compile(r"(?<=(?<![^\W_])[A-Za-z]:)\\\S*"), re.compile(r"(?<=(?<![^\W_])[A-Za-z]:)\\\S{0,100}\Z"), lambda m: m[0]
)
_ESCAPE = Rule(re.compile(r"\\(?![()\[\]])([!-/:-@\[-`{-~])"), re.compile(r"\\\Z"), lambda match: match[1])
_MATHS = Rule(re.compile(r"\\[()\[\]]|\$\$"), re.compile(r"\$\Z"), nothing)
_BREAK = re.compile(r"<(?:br|p|div|li|tr|h[1-6])\b", re.IGNORECASE)
_TAG = Rule(
    re.compile(
        r"</?(?:a|b|big|br|center|code|dd|del|details|div|dl|dt|em|font|h[1-6]|hr|i|img|kbd|li|mark|ol|p|pre|s|small|span|"
        r"strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul)"
        r"(?:\s{1,4}[\w:-]{1,30}=(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s<>]{1,200}))*\s?/?>|<!--[^>\n]{0,100}-->",
        re.IGNORECASE,
    ),
    re.compile(
        r"<(?:/?[a-z][a-z0-9]{0,9}(?:\s{1,4}[\w:-]{1,30}=(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s<>\"']{1,200}))*"
        r"(?:\s{1,4}(?:[\w:-]{1,30}(?:=(?:\"[^\"\n]{0,200}|'[^'\n]{0,200})?)?)?)?/?|/|!-{0,2}|!--[^>\n]{0,100})?\Z",
        re.IGNORECASE,
    ),
    lambda match: "\n" if _BREAK.match(match[0]) else "",
)
_ENTITY = Rule(
    re.compile(r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[0-9A-Fa-f]{2,5});"),
    re.compile(r"&(?:[A-Za-z]{0,8}|#\d{0,6}|#x[0-9A-Fa-f]{0,5})\Z"),
    lambda match: html.unescape(match[0]).replace("\u00a0", " "),
)
_STRUCK = Rule(re.compile(r"~~(?!~)[^~\n]{1,100}~~(?!~)"), re.compile(r"~(?:~[^~\n]{0,100}~?)?\Z"), nothing)
_CODE = Rule(
    re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]{1,100})\1(?!`)"),
    re.compile(r"(?<!`)`{1,2}(?:[^`\n]{1,100}`?)?\Z"),
    lambda match: match[2].strip(),
)
_CITATION = Rule(  # "as was shown [1].", "it is so.[2]", "so it is【4†source】"
    re.compile(
        r"[ \t]?【[^】\n]{1,40}】|(?:[ \t]|(?<=[ \t]))\[\^?\d{1,3}\](?=(?:\[\^?\d{1,3}\]){0,5}[.,;:!?])"
        r"|(?<=[.,;:!?»”)\]])\[\^?\d{1,3}\]|\[\^\w{1,20}\]"
    ),
    re.compile(r"[ \t]?【[^】\n]{0,40}\Z|[ \t]?\[(?:\^?\d{0,3}|\^\w{0,20})(?:\](?:\[\^?\d{0,3}\]?){0,4})?\Z"),
    nothing,
)
_STARTS = re.compile(
    r"(?<![^\n])[ \t]*[-*_#>+`=~|\[]|(?<![^\n])[ \t]{1,80}\Z"
    r"|(?<=\n)\n|\*+|_+|[\\`~\]<&【]|[ \t]?[|\[【]|\$\$|\$\Z|(?<!\S)!(?:\[|\Z)"
)
_SIGNS = re.compile(r"[-*_#>+`=\\~|\[\]!<&【$\n]|\A[ \t]+\Z")

# The beginning of emphasis, and its end. A mark before a figure, or one of underscores, needs its other end in sight.
_OPENS = re.compile(
    rf"(?<![{_SPELLED}*_/\\)\]])(?:\*{{1,3}}(?=(?:__?|~~|`)?{_QUOTES}{_LETTER})|\*{{2,3}}(?=[^\s*\w./\\]{{1,4}}\s?{_LETTER})"
    r"|(?P<figure>\*{1,3})(?=[\d$€£+-][^*\n]{0,60}(?<!\s)(?P=figure)(?![\w*]))"
    r"|(?P<line>_{1,3})(?=[^\s_][^_\n]{0,120}(?<![\s_])(?P=line)(?![\w_]|\.\w)))"
)
_OPENS_BEGUN = re.compile(
    rf"(?<![{_SPELLED}*_/\\)\]])(?:\*{{1,3}}(?:(?:__?|~~|`)?{_QUOTES}|[^\s*\w./\\]{{1,4}}\s?)\Z|(?P<figure>\*{{1,3}})[\d$€£+-][^*\n]{{0,60}}\*{{0,3}}\Z"
    r"|_{1,3}(?:[^\s_][^_\n]{0,120}_{0,3}\.?)?\Z)"
)
_CLOSES = re.compile(rf"(?<!\s)(?:(?P<star>\*{{1,3}})(?!\*)(?:(?<=\*\*)|(?![{_SPELLED}]))|(?P<line>_{{1,3}})(?![\w_]))")
_CLOSES_BEGUN = re.compile(r"(?<!\s)(?:\*{1,3}|_{1,3})\Z")

_LINK = re.compile(
    r"(?:(?<!\S)!)?\[(?!\d{1,3}\]\[\d)(?=(?:[^\[\]\n]|\[[^\[\]\n]{0,80}\]){0,100}"
    r"(?:\]\((?:[^()\n]|\([^()\n]{0,80}\)){0,500}\)|\]\[[^\[\]\n]{1,80}\]))"
)
_LINK_BEGUN = re.compile(
    r"(?<!\S)!\Z|(?:(?<!\S)!)?\[(?:[^\[\]\n]|\[[^\[\]\n]{0,80}\]){0,100}"
    r"(?:\[[^\[\]\n]{0,80}|\](?:\((?:[^()\n]|\([^()\n]{0,80}\)){0,400}(?:\([^()\n]{0,80})?|\[[^\[\]\n]{0,80})?)?\Z"
)
_LINK_END = re.compile(r"\]\((?:[^()\n]|\([^()\n]{0,80}\)){0,500}\)|\]\[[^\[\]\n]{1,80}\]")
_LINK_END_BEGUN = re.compile(r"\](?:\((?:(?:h|ht|htt|m|ma|t|te|w|ww)|(?:http|mailto:|tel:|www)[^()\s]{0,300})?)?\Z")
_ROW = re.compile(rf"{_LINE}[ \t]*\|[ \t]*(?=[^\n]{{1,300}}\|[ \t]*(?:\n|\Z))")
_ROW_BEGUN = re.compile(rf"{_LINE}[ \t]*\|[^\n]{{0,300}}\Z")
_CELL = re.compile(r"[ \t]*\|[ \t]*")


class Markdown(Rewriter):
    """Takes the marks of Markdown out: a `Transform`.

    Args:
        code: What is said in the place of a block of code.
    """

    def __init__(self, code: str = "") -> None:
        self._code = code
        self._links = 0  # how many links are open
        self._open = Counter[str]()  # how many of each mark of emphasis are
        self._in_row = False  # whether the line is a row of a table
        rules = (
            Rule(_FENCE, _FENCE_BEGUN, self._begin_code),
            Rule(re.compile(r"(?<=\n)\n"), None, self._end_paragraph),
            *_LINES,
            Rule(_ROW, _ROW_BEGUN, self._begin_row),
            Rule(_CELL, re.compile(r"(?!)"), self._end_cell),
            Rule(_LINK_END, _LINK_END_BEGUN, self._end_link),
            _CITATION,
            Rule(_LINK, _LINK_BEGUN, self._begin_link),
            *(_PATH, _MATHS, _ESCAPE, _TAG, _ENTITY, _STRUCK, _CODE),
            Rule(_CLOSES, _CLOSES_BEGUN, self._close),
            Rule(_OPENS, _OPENS_BEGUN, self._begin),
        )
        super().__init__(rules, _STARTS, _SIGNS)

    def _begin_code(self, _match: re.Match[str]) -> str:
        self.omit_until(_FENCE, _FENCE_BEGUN, _LINE_OF_CODE)
        return self._code

    def _begin_row(self, _match: re.Match[str]) -> str:
        self._in_row = True
        return ""

    def _end_cell(self, match: re.Match[str]) -> str | None:
        if not self._in_row:
            return None
        self._in_row = match.string[match.end() : match.end() + 1] not in ("\n", "")
        return ", " if self._in_row else "."

    def _begin_link(self, _match: re.Match[str]) -> str:
        self._links += 1
        return ""

    def _end_link(self, match: re.Match[str]) -> str | None:
        if not self._links:  # its label was given up in a pause; an address is none of the words anyway
            return "" if match[0].startswith(("](http", "](mailto:", "](tel:", "](www.")) else None
        self._links -= 1
        return ""

    def _end_paragraph(self, match: re.Match[str]) -> str:
        """End what is open: no emphasis and no link goes over the end of a paragraph."""
        self._open.clear()
        self._links = 0
        self._in_row = False
        return match[0]

    def _begin(self, match: re.Match[str]) -> str:
        self._open[match[0]] += 1
        return ""

    def _close(self, match: re.Match[str]) -> str | None:
        marks = [match[0]] if self._open[match[0]] else [match[0][:1], match[0][1:]]  # "***" may end "**" and "*"
        if not all(mark and self._open[mark] for mark in marks):
            return None
        self._open.subtract(marks)
        return ""
