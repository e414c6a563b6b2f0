"""Takes emoji out of a reply."""

from __future__ import annotations

import re

from tts_trio.text.transforms.rewriter import Rewriter, Rule, nothing

_ANY = (
    "\U0001f000-\U0001faff\u2300-\u23ff\u2600-\u27bf"
    "\u2b00-\u2bff\u2190-\u21ff\u203c\u2049\u2139\u3030\u303d\u3297\u3299"
)
_PICTURE = f"(?:[0-9#*]\ufe0f?\u20e3|[{_ANY}][\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*)"
# Of a blank before it, a picture takes one along, so that no full stop stands alone.
_PICTURES = f"[ \t]?{_PICTURE}(?:\u200d?{_PICTURE}|[\ufe0e\ufe0f\u200d])*"
_STARTS = re.compile(f"[ \t]?(?:[{_ANY}]|[0-9#*]\ufe0f?(?:\u20e3|\\Z))")

_SIGNS = re.compile("[\u203c-\U0010ffff]|[0-9#*]\ufe0f?\\Z")


class Emoji(Rewriter):
    """Takes emoji out: a `Transform`."""

    def __init__(self) -> None:
        begun = re.compile(f"(?:{_PICTURES})\\Z|[ \t]?[0-9#*]\ufe0f?\\Z")  # modifiers and joined pictures may follow
        super().__init__((Rule(re.compile(_PICTURES), begun, nothing),), _STARTS, _SIGNS)
