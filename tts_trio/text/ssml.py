"""SSML in a reply: what of it is spoken, and what must stay together."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*+)[^<>]*+>")
_TAGS = re.compile(r"<(?:[/A-Za-z][^<>]*)?(?:>|\Z)")  # the last one as far as it is known
_DOCUMENT = "speak"  # the element around a whole reply, which may be cut

LONGEST = 1000
"""Characters of an element; what is longer was never closed, or is no tag."""


def visible(text: str) -> str:
    """Return the text without its tags."""
    return _TAGS.sub("", text) if "<" in text else text


def is_open(text: str) -> bool:
    """Whether the text ends inside of a tag, or of an element such as ``<phoneme>``, and so may not be cut there."""
    text = text[-LONGEST:]  # an element that began before that was never closed
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
    """Return how many characters are before the tag inside of which the text ends; all of them if there is none."""
    last = text.rfind("<")
    whole = last < 0 or len(text) - last > LONGEST or ">" in text[last:]
    return len(text) if whole or not (text[last + 1 :][:1].isalpha() or text[last + 1 :][:1] in "/") else last
