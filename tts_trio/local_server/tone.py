"""A voice for tests: its samples say which text they voice, so that a listener can prove what was heard.

Every character is a burst of its own. A burst begins with a marker that occurs nowhere else, then says at which
speed it is spoken and which code point it is; the rest is a beep whose pitch, and whose noise in the low bytes,
belong to that code point and to each place in the burst. Nothing but the whole burst, uncut, equals it.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from functools import lru_cache

from tts_trio.local_server.voices import Speech

_CHARACTER_MS = 60
_MARKER = (32767, -32768)
_MARKER_BYTES = struct.pack("<2h", *_MARKER)
_HEADER = struct.Struct("<2h3H")  # the marker, the speed in thousandths, the code point in two parts
_LOW_BITS = 11  # of 21: no part of a code point looks like the marker


class ToneVoice:
    """Speak in bursts of 60 ms a character (at speed 1.0), at any sample rate, in a few microseconds a word.

    `read_tones` turns the samples back into the text. The speed is rounded to thousandths.
    """

    blocking = False

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        """Speak a text; `language_code` makes no difference, and the sample rate is the one asked for."""
        thousandths = round(speed * 1000)
        samples = b"".join([_burst(ord(character), thousandths, sample_rate) for character in text])
        length = _burst_length(thousandths, sample_rate)
        borders = range(0, (len(text) + 1) * length, length)
        return Speech.from_borders(samples, sample_rate, borders)


def read_tones(samples: bytes, sample_rate: int) -> str:
    """Read the text whose characters are wholly in these samples.

    Speech that was cut anywhere, and joined to other speech that begins anywhere, is read as well: a fragment of
    a character does not count. Samples that were shifted by a byte or belong to another sample rate say nothing.

    Args:
        samples: What `ToneVoice` spoke, or parts of it: signed 16-bit little-endian mono.
        sample_rate: In Hz, as it was spoken.
    """
    characters: list[str] = []
    position = samples.find(_MARKER_BYTES)
    while position >= 0:
        character, size = _character_at(position, samples, sample_rate)
        characters.append(character)
        position = samples.find(_MARKER_BYTES, position + size)
    return "".join(characters)


def _character_at(position: int, samples: bytes, sample_rate: int) -> tuple[str, int]:
    """The character whose burst begins here and its size in bytes, or of a fragment nothing and one byte."""
    room = len(samples) - position
    if position % 2 == 0 and room >= _HEADER.size:
        _, _, thousandths, high, low = _HEADER.unpack_from(samples, position)
        code_point = high << _LOW_BITS | low
        is_sane = thousandths > 0 and code_point <= sys.maxunicode
        if is_sane and 2 * _burst_length(thousandths, sample_rate) <= room:
            burst = _burst(code_point, thousandths, sample_rate)
            if samples.startswith(burst, position):
                return chr(code_point), len(burst)
    return "", 1


def _burst_length(thousandths: int, sample_rate: int) -> int:
    return round(sample_rate * _CHARACTER_MS / thousandths)


@lru_cache(maxsize=2048)
def _burst(code_point: int, thousandths: int, sample_rate: int) -> bytes:
    length = _burst_length(thousandths, sample_rate)
    half_period = sample_rate // (2 * (300 + 25 * (code_point % 32)))
    beep = b"\x18" * half_period + b"\xe7" * half_period  # high bytes: about ±6,200
    burst = bytearray(2 * length)
    burst[1::2] = (beep * (length // len(beep) + 1))[:length]
    burst[0::2] = hashlib.shake_128(code_point.to_bytes(3)).digest(length)
    high, low = divmod(code_point, 1 << _LOW_BITS)
    burst[: _HEADER.size] = _HEADER.pack(*_MARKER, thousandths, high, low)
    return bytes(burst)
