"""How long the audio of a text can last. Audio that is far longer or shorter was not made from the text.

The limits are generous, because they know nothing of the text but its characters:

- Audio lasts at most one second for each character, and ten seconds more. Slow speech has 10 characters a second;
  "777777777777", read in words at the slowest `speed`, needs 1.2 s for each. Ten seconds are for pauses and effects.
- Audio lasts at least 20 ms for each spoken letter and digit. Fast speech at the highest `speed` has 30 a second. The
  characters of tags (`<break/>`, `[laughs]`) do not count.
"""

from __future__ import annotations

import re

from tts_trio.config.formats import AudioFormat

_MOST_A_CHARACTER = 1.0  # seconds
_MOST_BESIDES = 10.0  # seconds
_LEAST_A_LETTER = 0.02  # seconds

_NOT_SPOKEN = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|[\W_]")


def longest_seconds(text: str) -> float:
    """Return the most seconds that the audio of this text can last."""
    return _MOST_BESIDES + _MOST_A_CHARACTER * len(text)


def shortest_seconds(text: str) -> float:
    """Return the fewest seconds that the audio of this whole text can last."""
    return _LEAST_A_LETTER * len(_NOT_SPOKEN.sub("", text))


def most_bytes(text: str, format: AudioFormat) -> int:  # noqa: A002 - it is what users call it
    """Return the most bytes that the audio of this text can have."""
    if format.sample_bytes is None:  # twice the bitrate, which is a mean for opus, without the headers of its pages
        return round(longest_seconds(text) * (format.bitrate or 0) * 250)
    return round(longest_seconds(text) * format.sample_rate * format.sample_bytes)
