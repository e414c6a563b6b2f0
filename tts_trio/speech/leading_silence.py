"""Finds where the silence ends with which the audio of an utterance begins."""

from __future__ import annotations

import sys
from array import array

from tts_trio.config.formats import AudioFormat

_SILENT = 0.005  # of full scale: -46 dB
_SILENT_CODES = {  # the bytes of µ-law and of A-law for at most this much, of either sign
    "ulaw": bytes([*range(0x6D, 0x80), *range(0xED, 0x100)]),
    "alaw": bytes(code ^ 0x55 for sign in (0, 0x80) for code in range(sign, sign + 0x0A)),
}


class LeadingSilence:
    """Measures the silence before the first audible sample, in audio that comes in pieces of whole samples.

    Attributes:
        seconds: How long it lasts; None as long as no sample was audible.
    """

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002 - what it is called everywhere
        """Begin an utterance. mp3 and opus are not decoded: there no sample is audible."""
        self.seconds: float | None = None
        self._format = format
        self._samples = 0

    def feed(self, audio: bytes) -> None:
        """Take the next piece of audio."""
        if self.seconds is not None or self._format.sample_bytes is None:
            return
        silent = _silent_samples(self._format, audio)
        self._samples += silent
        if silent < len(audio) // self._format.sample_bytes:
            self.seconds = self._samples / self._format.sample_rate


def _silent_samples(format: AudioFormat, audio: bytes) -> int:  # noqa: A002 - as above
    """Return how many samples at the beginning of a piece are silent."""
    if (codes := _SILENT_CODES.get(format.codec)) is not None:
        return len(audio) - len(audio.lstrip(codes))
    samples = array("h", audio)
    if sys.byteorder == "big":
        samples.byteswap()
    limit = round(_SILENT * 32768)
    return next((at for at, sample in enumerate(samples) if not -limit <= sample <= limit), len(samples))
