"""ElevenLabs' output formats, and what their bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

import attrs

Codec: TypeAlias = Literal["pcm", "ulaw", "alaw", "mp3", "opus"]

# As recorded (wire/README.md, 1.5); ElevenLabs' OpenAPI says audio/mpeg for all. audio/alaw is by analogy.
_CONTENT_TYPES: Mapping[Codec, str] = {
    "pcm": "audio/pcm",
    "ulaw": "audio/ulaw",
    "alaw": "audio/alaw",
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
}

# One sample that sounds like nothing. Its length is the size of a sample.
_SILENCE: Mapping[Codec, bytes] = {"pcm": b"\0\0", "ulaw": b"\xff", "alaw": b"\xd5"}


@attrs.frozen
class AudioFormat:
    """One of ElevenLabs' output formats.

    All are mono. PCM is signed 16-bit little-endian without a header; opus comes in Ogg pages (ElevenLabs API
    reference).

    Attributes:
        name: ElevenLabs' name of it, such as `pcm_16000`.
        codec: The encoding.
        sample_rate: Samples a second, in Hz.
        bitrate: Kilobits a second, of mp3 and opus; None for the others.
        content_type: The `Content-Type` that the live API answers with.
        sample_bytes: Bytes in one sample; None where samples are not separate in the bytes (mp3, opus).
        silence: One sample of silence; None where `sample_bytes` is.
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
        """Look a format up by ElevenLabs' name of it.

        Raises:
            ValueError: There is no such streaming format; the message lists those there are.
        """
        try:
            return OUTPUT_FORMATS[name]
        except KeyError:
            raise ValueError(f"unknown output format {name!r}; allowed: {', '.join(OUTPUT_FORMATS)}") from None


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
