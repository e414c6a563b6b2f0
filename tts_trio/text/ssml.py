"""SSML in a reply: which text of it is spoken, and where it must not be cut."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*+)[^<>]*+>")
_TAGS = re.compile(r"<(?:[/A-Za-z][^<>]*)?(?:>|\Z)")  # the last tag may be incomplete
_DOCUMENT = "speak"  # the element around a whole reply, inside of which the reply may be cut

LONGEST = 1000
"""The most characters of an element. A longer one was never closed, or is no tag."""


def visible(text: str) -> str:
    """Return the text without its tags."""
    return _TAGS.sub("", text) if "<" in text else text


def is_open(text: str) -> bool:
    """Whether the text ends inside of a tag, or of an element such as ``<phoneme>``; no phrase may end there."""
    text = text[-LONGEST:]  # an element that began before was never closed
    if "<" not in text:
        return False
    if before_open_tag(text) < len(text):
        return True
    depth = 0
    for tag in _TAG.finditer(text):
        if tag["name"] != _DOCUMENT and not tag[0].endswith("/>"):
            depth = max(0, depth - 1) if tag["end"] else depth + 1
    return depth > 0


def before_open_tag(text: str) -> int:
    """Return the number of characters before the incomplete tag at the end of the text, or of all if there is none."""
    last = text.rfind("<")
    whole = last < 0 or len(text) - last > LONGEST or ">" in text[last:]
    return len(text) if whole or not (text[last + 1 :][:1].isalpha() or text[last + 1 :][:1] in "/") else last
