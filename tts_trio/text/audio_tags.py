"""Audio tags of the v3 models, such as "[clears throat]": they are performed, so nothing is cut inside of them."""

from __future__ import annotations

_LONGEST = 100  # characters; what is longer is a remark in brackets


def is_open(text: str) -> bool:
    """Whether the text ends inside of a tag."""
    last = text.rfind("[")
    return last >= 0 and len(text) - last <= _LONGEST and "]" not in text[last:]
