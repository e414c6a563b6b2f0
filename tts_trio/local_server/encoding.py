"""Encode samples into an ElevenLabs `output_format`: PCM and G.711 here, the other formats with FFmpeg (PyAV)."""

from __future__ import annotations

import io
from bisect import bisect_right
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import attrs


@attrs.frozen
class _Family:
    """A family of formats, in FFmpeg's names."""

    codec: str
    muxer: str
    codec_options: dict[str, str] = attrs.Factory(dict[str, str])
    muxer_options: dict[str, str] = attrs.Factory(dict[str, str])
    whole: bool = False  # the header contains the length of the file, so the encoder returns nothing before the end


# The compression levels are the fast ones: the speed of the server matters more than the quality of the sound.
_FAMILIES = {
    "pcm": _Family("pcm_s16le", "s16le"),
    "ulaw": _Family("pcm_mulaw", "mulaw"),
    "alaw": _Family("pcm_alaw", "alaw"),
    "mp3": _Family("libmp3lame", "mp3", {"compression_level": "7"}, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": _Family("libopus", "ogg", {"compression_level": "0"}, {"page_duration": "100000"}),  # microseconds
    "wav": _Family("pcm_s16le", "wav", {}, {"fflags": "bitexact"}, whole=True),
    "m4a_aac": _Family("aac", "ipod", {"aac_coder": "fast"}, whole=True),
}

_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
_KILOBITS = (32, 64, 96, 128, 192)
STREAMED_FORMATS = (
    *("mp3_22050_32", "mp3_24000_48", "ulaw_8000", "alaw_8000"),
    *(f"mp3_44100_{kilobits}" for kilobits in _KILOBITS),
    *(f"pcm_{rate}" for rate in _RATES),
    *(f"opus_48000_{kilobits}" for kilobits in _KILOBITS),
)
"""The values of `output_format` at the streaming endpoints (ElevenLabs API reference and official SDK)."""

OUTPUT_FORMATS = (*STREAMED_FORMATS, *(f"wav_{rate}" for rate in _RATES), "m4a_aac_44100_128")
"""The values of `output_format` at the endpoints that answer with a whole file."""

ID3_TAG = b"ID3\x04\0\0\0\0\0\x23TSSE\0\0\0\x0f\0\0\x03Lavf61.7.100\0".ljust(45, b"\0")
"""The ID3 tag with which the service's mp3 begins. The tag names FFmpeg's muxer."""


_WITHOUT_FFMPEG = ("pcm", "ulaw", "alaw")


def needs_extra(what: str, package: str, otherwise: str) -> ImportError:
    """Make the error for a package that only the extra `voice` installs. `otherwise` is what to do without it."""
    return ImportError(f"{what} needs {package}: pip install 'tts_trio[voice]', or {otherwise}", name=package)


def check_encodable(output_format: str, *, resampled: bool = False) -> None:
    """Raise an `ImportError` if encoding this format needs PyAV, and PyAV is not installed."""
    if (resampled or not output_format.startswith(_WITHOUT_FFMPEG)) and not find_spec("av"):
        alternative = "ask for pcm_*, ulaw_8000 or alaw_8000 at the sample rate of the voice"
        raise needs_extra(output_format, "PyAV", alternative)


@cache
def _codes(law: str) -> bytes:
    """Return the code of every sample. The index is the 16 bits of the sample, read as an unsigned number.

    ITU-T G.711 divides the loudness into 128 steps. A sample gets the code of the nearest step. Samples and steps are
    compared in 14 bits, as in FFmpeg. µ-law inverts all bits of a code. A-law inverts every other bit and the sign.
    """
    if law == "ulaw":
        steps = [((step & 15) * 8 + 132 << (step >> 4)) - 132 for step in range(128)]
    else:
        steps = [(step & 15) * 16 + (8 if step < 16 else 264) << max(0, (step >> 4) - 1) for step in range(128)]
    inverted = 0xFF if law == "ulaw" else 0xD5
    borders = [(quieter + louder + 4) >> 3 for quieter, louder in pairwise(steps)]
    nearest = [bisect_right(borders, magnitude) for magnitude in range(8193)]
    positive = [nearest[sample >> 2] ^ inverted for sample in range(32768)]
    negative = [nearest[-(sample >> 2)] ^ inverted ^ 0x80 for sample in range(-32768, 0)]
    return bytes(positive + negative)


class Encoder:
    """Encodes one stream of mono sound.

    PCM and G.711 without resampling need no PyAV. Everything else loads PyAV. A file whose header contains its length
    (`wav_*`, `m4a_*`) comes whole from `flush`. The other formats come piece by piece.
    """

    def __init__(self, output_format: str) -> None:
        """Prepare for one `output_format`, for example `"mp3_44100_128"`.

        Raises:
            ValueError: There is no such format. The message names the formats.
        """
        if output_format not in OUTPUT_FORMATS:
            raise ValueError(f"output_format must be one of {', '.join(OUTPUT_FORMATS)}, not {output_format!r}")
        self._output_format = output_format
        self._name = next(name for name in _FAMILIES if output_format.startswith(name))
        rate, _, kilobits = output_format.removeprefix(f"{self._name}_").partition("_")
        self._family = _FAMILIES[self._name]
        self.sample_rate = int(rate)  # of the format, in Hz
        self.source_rate = self.sample_rate  # of the samples encoded so far, in Hz
        self._bit_rate = int(kilobits or 0) * 1000
        self._output = io.BytesIO()
        self._ffmpeg: tuple[Any, Any] | None = None  # the container and the stream; PyAV's types are incomplete

    def encode(self, samples: bytes, sample_rate: int) -> bytes:
        """Encode a piece of the sound.

        Args:
            samples: Whole samples of signed 16-bit little-endian mono.
            sample_rate: The sample rate in Hz. All pieces of a stream have the same.

        Returns:
            The bytes that are ready. Codecs hold samples back until a frame, or an Ogg page, is full.

        Raises:
            ImportError: The format or the resampling needs PyAV, and PyAV is not installed.
        """
        self.source_rate = sample_rate
        if not samples:
            return samples
        if sample_rate == self.sample_rate and self._name in _WITHOUT_FFMPEG:
            if self._name == "pcm":
                return samples
            codes = _codes(self._name)
            return bytes([codes[sample] for sample in memoryview(samples).cast("H")])
        frame = self._pyav().AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = sample_rate
        frame.planes[0].update(samples)
        self._write(frame)
        return b"" if self._family.whole else self._take()

    def flush(self) -> bytes:
        """End the stream and return its last bytes. The encoder cannot be used again."""
        if self._ffmpeg or self._family.whole:
            self._write(None)
        return self._take()

    def _write(self, frame: Any) -> None:
        container, stream = self._ffmpeg = self._ffmpeg or self._open()
        container.mux(stream.encode(frame))  # `encode` also resamples, and cuts the samples into frames
        if frame is None:
            container.close()

    def _open(self) -> tuple[Any, Any]:
        family = self._family
        options = {"flush_packets": "1", **family.muxer_options}
        container: Any = self._pyav().open(self._output, "w", format=family.muxer, options=options)
        stream = container.add_stream(family.codec, rate=self.sample_rate, options=family.codec_options, layout="mono")
        if self._bit_rate:
            stream.bit_rate = self._bit_rate
        container.start_encoding()
        return container, stream

    def _pyav(self) -> Any:
        """Import PyAV. The import is late, so a program that uses only PCM neither waits for PyAV nor installs it."""
        check_encodable(self._output_format, resampled=True)
        import av

        return av

    def _take(self) -> bytes:
        data = self._output.getvalue()
        self._output.seek(0)
        self._output.truncate()
        return data
