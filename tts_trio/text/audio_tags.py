"""Audio tags such as "[clears throat]", which the v3 and v4 models perform: no phrase may be cut inside of one."""

from __future__ import annotations

import re

_LONGEST = 100  # characters of a tag; a longer text in brackets is a remark
_TAG = re.compile(rf"\[[^\[\]]{{0,{_LONGEST}}}\]")


def visible(text: str) -> str:
    """Return the text without its tags. The service refuses a text of tags alone (`input_text_empty`)."""
    return _TAG.sub("", text) if "[" in text else text


def is_open(text: str) -> bool:
    """Whether the text ends before the closing bracket of a tag."""
    last = text.rfind("[")
    return last >= 0 and len(text) - last <= _LONGEST and "]" not in text[last:]
