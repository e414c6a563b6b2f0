"""Audio tags of the v3 and v4 models, such as "[clears throat]": performed, so nothing is cut inside of them."""

from __future__ import annotations

import re

_LONGEST = 100  # characters; what is longer is a remark in brackets
_TAG = re.compile(rf"\[[^\[\]]{{0,{_LONGEST}}}\]")


def visible(text: str) -> str:
    """Return the text without its tags, which alone are no text: the service refuses them (`input_text_empty`)."""
    return _TAG.sub("", text) if "[" in text else text


def is_open(text: str) -> bool:
    """Whether the text ends inside of a tag."""
    last = text.rfind("[")
    return last >= 0 and len(text) - last <= _LONGEST and "]" not in text[last:]
