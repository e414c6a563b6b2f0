"""ElevenLabs' output formats, and the properties of their audio."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

import attrs

Codec: TypeAlias = Literal["pcm", "ulaw", "alaw", "mp3", "opus"]

# As recorded (wire/README.md, 1.5); ElevenLabs' OpenAPI says audio/mpeg for all. audio/alaw is guessed by analogy.
_CONTENT_TYPES: Mapping[Codec, str] = {
    "pcm": "audio/pcm",
    "ulaw": "audio/ulaw",
    "alaw": "audio/alaw",
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
}

# One sample of silence, whose length is the size of a sample.
_SILENCE: Mapping[Codec, bytes] = {"pcm": b"\0\0", "ulaw": b"\xff", "alaw": b"\xd5"}


@attrs.frozen
class AudioFormat:
    """One of ElevenLabs' output formats.

    All are mono. PCM is signed 16-bit little-endian without a header; opus comes in Ogg pages (ElevenLabs API
    reference).

    Attributes:
        name: ElevenLabs' name of the format, such as `pcm_16000`.
        codec: The encoding.
        sample_rate: The sample rate, in Hz.
        bitrate: The bitrate of mp3 and opus, in kilobits a second; None for the other codecs.
        content_type: The `Content-Type` of the live API's answers.
        sample_bytes: The size of a sample, in bytes; None for mp3 and opus, whose bytes hold no separate samples.
        silence: One sample of silence; None for mp3 and opus.
    """

    name: str
    codec: Codec
    sample_rate: int
    bitrate: int | None
    content_type: str
    sample_bytes: int | None
    silence: bytes | None

    @classmethod
    def parse(cls, name: str) -> AudioFormat:
        """Return the format that ElevenLabs calls by this name.

        Raises:
            ValueError: There is no such streaming format; the message lists all formats.
        """
        try:
            return OUTPUT_FORMATS[name]
        except KeyError:
            raise ValueError(
                f"output_format: {name!r} is not allowed; it must be one of {', '.join(OUTPUT_FORMATS)}"
            ) from None


def _format(name: str) -> AudioFormat:
    codec_name, sample_rate, *bitrate = name.split("_")
    codec = cast("Codec", codec_name)
    silence = _SILENCE.get(codec)
    return AudioFormat(
        name=name,
        codec=codec,
        sample_rate=int(sample_rate),
        bitrate=int(bitrate[0]) if bitrate else None,
        content_type=_CONTENT_TYPES[codec],
        sample_bytes=len(silence) if silence else None,
        silence=silence,
    )


OUTPUT_FORMATS: Mapping[str, AudioFormat] = MappingProxyType(
    {
        name: _format(name)
        for name in (
            *("mp3_22050_32", "mp3_24000_48"),
            *("mp3_44100_32", "mp3_44100_64", "mp3_44100_96", "mp3_44100_128", "mp3_44100_192"),
            *("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_32000", "pcm_44100", "pcm_48000"),
            *("ulaw_8000", "alaw_8000"),
            *("opus_48000_32", "opus_48000_64", "opus_48000_96", "opus_48000_128", "opus_48000_192"),
        )
    }
)
"""The formats of the streaming endpoints, by name (ElevenLabs API reference)."""
