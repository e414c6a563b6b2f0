"""A voice for tests whose samples contain the text that they speak, so that a test can assert what was heard.

Every character is a burst. A burst begins with a marker that occurs nowhere else. Then follow the speed and the code
point, four bits in each sample. The rest of the burst is a beep with noise, both of which depend on the code point. So
a part of a burst never passes for a whole one. Telephone codecs round samples, but keep the marker, the bits and the
noise distinct. The reader encodes the expected burst with the same codec, and compares the results.
"""

from __future__ import annotations

import hashlib
import re
import struct
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Protocol

from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.speech import Speech

_CHARACTER_MS = 60
_MARKER = (32767, -32768)
_LEVELS = tuple(range(-7680, 7681, 1024))  # the sample for each value of four bits
_SPEED_DIGITS = 4  # hexadecimal digits of the speed in thousandths
_CODE_POINT_DIGITS = 6
_HEADER_SAMPLES = len(_MARKER) + _SPEED_DIGITS + _CODE_POINT_DIGITS
_READABLE = re.compile(r"pcm_(?P<rate>[1-9]\d*)|(ulaw|alaw)_8000")


class NamedFormat(Protocol):
    """An output format that has its ElevenLabs name, such as `tts_trio.AudioFormat`."""

    @property
    def name(self) -> str:
        """The name, for example `ulaw_8000`."""
        ...


class ToneVoice:
    """A voice that speaks each character as a burst of 60 ms (at speed 1.0), at any sample rate.

    `read_tones` turns the samples back into the text. The speed is rounded to thousandths. A word takes a few
    microseconds and no thread, so this is the voice for tests on trio's `MockClock`.
    """

    blocking = False

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        """Speak a text at exactly `sample_rate`. `language_code` has no effect."""
        thousandths = round(speed * 1000)
        samples = b"".join([_burst(ord(character), thousandths, sample_rate) for character in text])
        length = _burst_length(thousandths, sample_rate)
        return Speech.of(text, samples, sample_rate, range(0, (len(text) + 1) * length, length))


def read_tones(sound: bytes, output_format: NamedFormat | str) -> str:
    """Return the text of all characters whose bursts are whole in this sound.

    The sound may be cut at any sample, and joined to other sound of the same format. Fragments of bursts are skipped.
    Sound that is shifted by a byte, or has another format, gives no text.

    Args:
        sound: Audio of `ToneVoice` in this format.
        output_format: An `AudioFormat`, such as a configuration's `format`, or its name: `pcm_` and a sample rate,
            `ulaw_8000` or `alaw_8000`.

    Raises:
        ValueError: The format is unknown, or does not keep the samples (mp3, opus).
    """
    name = output_format if isinstance(output_format, str) else output_format.name
    if not (known := _READABLE.fullmatch(name)):
        raise ValueError(f"output_format must be pcm_ and a sample rate, ulaw_8000 or alaw_8000, not {name!r}")
    return _reader(name, int(known["rate"] or 8000)).read(sound)


class _Reader:
    """Reads the bursts of one format."""

    def __init__(self, output_format: str, sample_rate: int) -> None:
        self._format = output_format
        self._sample_rate = sample_rate
        self._marker = _encode(_pack(_MARKER), output_format)
        self._width = len(self._marker) // len(_MARKER)
        self._digits = {_encode(_pack([level]), output_format): f"{digit:x}" for digit, level in enumerate(_LEVELS)}

    def read(self, sound: bytes) -> str:
        characters: list[str] = []
        position = sound.find(self._marker)
        while position >= 0:
            character, size = self._character_at(position, sound)
            characters.append(character)
            position = sound.find(self._marker, position + size)
        return "".join(characters)

    def _character_at(self, position: int, sound: bytes) -> tuple[str, int]:
        """Return the character whose burst begins here, and the size of the burst; for a fragment "" and 1."""
        samples = range(position + len(self._marker), position + _HEADER_SAMPLES * self._width, self._width)
        digits = "".join([self._digits.get(sound[at : at + self._width], "?") for at in samples])
        if position % self._width == 0 and "?" not in digits:
            thousandths, code_point = int(digits[:_SPEED_DIGITS], 16), int(digits[_SPEED_DIGITS:], 16)
            if thousandths and code_point <= sys.maxunicode:
                burst = _encoded_burst(code_point, thousandths, self._sample_rate, self._format)
                if sound.startswith(burst, position):
                    return chr(code_point), len(burst)
        return "", 1


_reader = cache(_Reader)


def _pack(samples: Iterable[int]) -> bytes:
    return b"".join(struct.pack("<h", sample) for sample in samples)


def _encode(samples: bytes, output_format: str) -> bytes:
    """Encode a few samples as the server does. PCM needs no encoding."""
    if output_format.startswith("pcm"):
        return samples
    encoder = Encoder(output_format)
    return encoder.encode(samples, 8000) + encoder.flush()


@lru_cache(maxsize=2048)
def _encoded_burst(code_point: int, thousandths: int, sample_rate: int, output_format: str) -> bytes:
    return _encode(_burst(code_point, thousandths, sample_rate), output_format)


def _burst_length(thousandths: int, sample_rate: int) -> int:
    return max(_HEADER_SAMPLES, round(sample_rate * _CHARACTER_MS / thousandths))


@lru_cache(maxsize=2048)
def _burst(code_point: int, thousandths: int, sample_rate: int) -> bytes:
    length = _burst_length(thousandths, sample_rate)
    half_period = sample_rate // (2 * (300 + 25 * (code_point % 32)))
    beep = b"\x14" * half_period + b"\xe4" * half_period  # the high bytes of samples of about ±6,000
    noise = hashlib.shake_128(code_point.to_bytes(3)).digest(2 * length)
    high = int.from_bytes((beep * (length // len(beep) + 1))[:length]) + (
        int.from_bytes(noise[length:]) & int.from_bytes(b"\x07" * length)
    )
    burst = bytearray(2 * length)
    burst[1::2] = high.to_bytes(length)
    burst[0::2] = noise[:length]
    digits = f"{thousandths:0{_SPEED_DIGITS}x}{code_point:0{_CODE_POINT_DIGITS}x}"
    header = _pack([*_MARKER, *(_LEVELS[int(digit, 16)] for digit in digits)])
    burst[: len(header)] = header
    return bytes(burst)
