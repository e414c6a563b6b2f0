"""How long a text can sound: audio far outside of that was not made of it.

The rules are generous, for they judge what a service sent by nothing but characters:

- At the most a second for each character, and ten more: slow speech has 10 characters a second, and "777777777777",
  which is read in words at the slowest `speed`, needs 1.2 s for each. The ten are for pauses and effects.
- At the least 20 ms for each letter and digit that is spoken: fast speech at the highest `speed` has 30 a second. What
  stands in tags (`<break/>`, `[laughs]`) is not counted.
"""

from __future__ import annotations

import re

from tts_trio.config.formats import AudioFormat

_MOST_A_CHARACTER = 1.0  # seconds
_MOST_BESIDE = 10.0  # seconds
_LEAST_A_LETTER = 0.02  # seconds

_NOT_SPOKEN = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|[\W_]")


def longest_seconds(text: str) -> float:
    """Return the seconds of audio above which it is no speech of this text."""
    return _MOST_BESIDE + _MOST_A_CHARACTER * len(text)


def shortest_seconds(text: str) -> float:
    """Return the seconds of audio below which it is no speech of the whole text."""
    return _LEAST_A_LETTER * len(_NOT_SPOKEN.sub("", text))


def most_bytes(text: str, format: AudioFormat) -> int:  # noqa: A002 - it is what users call it
    """Return the bytes of audio above which it is no speech of this text."""
    if format.sample_bytes is None:  # twice the bitrate: opus keeps to it on average only, and its pages have heads
        return round(longest_seconds(text) * (format.bitrate or 0) * 250)
    return round(longest_seconds(text) * format.sample_rate * format.sample_bytes)
