"""Takes emoji out of a reply, or names them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tts_trio.errors import ConfigurationError
from tts_trio.text.transforms.rewriter import Rewriter, Rule

_ANY = (
    "\U0001f000-\U0001faff\u2300-\u23ff\u2600-\u27bf"
    "\u2b00-\u2bff\u2190-\u21ff\u203c\u2049\u2139\u3030\u303d\u3297\u3299"
)
# What is written behind a picture: how it looks, a frame, the color of a skin, the letters of a region's flag. The
# quantifier is possessive, since a color is a picture too: a text that has one reading only is tried once.
_LOOKS = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]{0,16}+"
_ONE = f"(?:[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff]{{2}}|[{_ANY}]{_LOOKS})"
_PICTURE = f"{_ONE}(?:\u200d{_ONE}){{0,8}}"  # a family is some pictures with joiners between them
# A picture takes a blank before it along, so that no full stop stands alone. What is left of one goes too.
_WHOLE = re.compile(f"[ \t]?(?P<picture>{_PICTURE})\u200d?|(?<=[{_ANY}\ufe0f\u200d\u20e3])[\ufe0e\ufe0f\u200d\u20e3]")
_BEGUN = re.compile(f"[ \t]?(?:{_PICTURE}\u200d?|[0-9#*]\ufe0f?)\\Z")
_STARTS = re.compile(f"[ \t]?(?:[{_ANY}]|[0-9#*]\ufe0f?(?:\u20e3|\\Z))|[\ufe0e\ufe0f\u200d\u20e3]")

_SIGNS = re.compile("[\u200d\u203c-\U0010ffff]|[0-9#*]\ufe0f?\\Z")
_LOOK = re.compile("[\ufe0e\ufe0f]")


def keys_of(names: Mapping[str, str]) -> dict[str, str]:
    """Return what is said for each emoji, whether it is written as a picture or as a sign.

    Raises:
        ConfigurationError: One is no emoji, or what is said for it is no text.
    """
    for picture, said in names.items():
        if not (type(picture) is type(said) is str and re.fullmatch(_PICTURE, picture)):
            raise ConfigurationError(
                f"emoji: {picture!r} is not allowed in names; a key is one emoji, and what is said for it is a str",
                field="transforms",
            )
    return {_LOOK.sub("", picture): said for picture, said in names.items()}


class Emoji(Rewriter):
    """Takes emoji out, but for those that have a name: a `Transform`.

    Args:
        names: What is said for which, as `keys_of` returns it.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        super().__init__((Rule(_WHOLE, _BEGUN, self._say),), _STARTS, _SIGNS)

    def _say(self, match: re.Match[str]) -> str:
        picture = match["picture"]
        name = picture and self._names and self._names.get(_LOOK.sub("", picture))
        parts = picture and match.string[match.end() : match.end() + 1].isalnum()  # "Hi 😊How" is two words
        return (f" {name}" if name else "") + (" " if parts else "")
