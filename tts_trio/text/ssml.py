"""SSML in a reply: what of it is spoken, and what must stay together."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)[^<>]*>")
_TAGS = re.compile(r"<(?:[/A-Za-z][^<>]*)?(?:>|\Z)")  # the last one as far as it is known
_DOCUMENT = "speak"  # the element around a whole reply, which may be cut
_LONGEST_ELEMENT = 1000  # characters; what is longer was never closed, or is no tag


def visible(text: str) -> str:
    """Return the text without its tags."""
    return _TAGS.sub("", text) if "<" in text else text


def is_open(text: str) -> bool:
    """Whether the text ends inside of a tag, or of an element such as ``<phoneme>``, and so may not be cut there."""
    if len(text) > _LONGEST_ELEMENT or (last := text.rfind("<")) < 0:
        return False
    if ">" not in text[last:] and (last + 1 == len(text) or text[last + 1].isalpha() or text[last + 1] == "/"):
        return True
    depth = 0
    for tag in _TAG.finditer(text):
        if tag["name"] != _DOCUMENT and not tag[0].endswith("/>"):
            depth += -1 if tag["end"] else 1
    return depth > 0
