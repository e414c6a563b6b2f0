"""Encoded audio back to samples, by FFmpeg, which nobody here wrote; and how loud it is."""

from __future__ import annotations

import io
import math
from array import array

import av

MUXERS = {"pcm": "s16le", "ulaw": "mulaw", "alaw": "alaw", "mp3": "mp3", "opus": "ogg", "wav": "wav", "m4a": "mp4"}


def sample_rate_of(output_format: str) -> int:
    return next(int(part) for part in output_format.split("_") if part.isdecimal())


def decode(output_format: str, data: bytes) -> array[int]:
    """Decode to samples at the rate of the format."""
    rate = sample_rate_of(output_format)
    family = output_format.partition("_")[0]
    options = {"sample_rate": str(rate)} if family in {"pcm", "ulaw", "alaw"} else {}
    samples = array("h")
    resampler = av.AudioResampler("s16", "mono", rate)
    with av.open(io.BytesIO(data), format=MUXERS[family], options=options) as container:
        assert container.streams.audio[0].rate == rate
        assert container.streams.audio[0].channels == 1
        for decoded in container.decode(audio=0):
            for frame in resampler.resample(decoded):
                samples.frombytes(bytes(frame.planes[0])[: 2 * frame.samples])
    return samples


def rms(samples: array[int]) -> float:
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))
