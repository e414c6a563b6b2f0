"""What a voice of the local server is: text goes in, timed sound comes out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, Self

import attrs


@attrs.frozen
class Speech:
    """One text, spoken.

    The characters are contiguous: each begins where the one before it ends, and together they last as long as
    the sound, to the millisecond.

    Attributes:
        samples: The sound, in signed 16-bit little-endian mono.
        sample_rate: The sample rate, in Hz.
        starts_ms: The time in `samples` at which each character of the text begins.
        durations_ms: The time that each character of the text lasts; 0 for one that is not spoken.
    """

    samples: bytes = attrs.field(repr=lambda samples: f"<{len(samples)} bytes>")
    sample_rate: int
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]

    @classmethod
    def from_borders(cls, samples: bytes, sample_rate: int, borders: Sequence[float]) -> Self:
        """Make a speech of the borders between its characters.

        Args:
            samples: Signed 16-bit little-endian mono.
            sample_rate: In Hz.
            borders: Where each character begins, counted in samples and never falling, and then where the
                last one ends: one more than there are characters.
        """
        borders_ms = [round(border * 1000 / sample_rate) for border in borders]
        durations_ms = (end - start for start, end in pairwise(borders_ms))
        return cls(samples, sample_rate, tuple(borders_ms[:-1]), tuple(durations_ms))


def needs_extra(what: str, package: str, otherwise: str) -> ImportError:
    """Make the error that says what only the extra `voice` brings, and what else can be done."""
    return ImportError(f"{what} needs {package}: pip install 'tts_trio[voice]', or {otherwise}", name=package)


class Voice(Protocol):
    """Something that speaks, such as `EspeakVoice`."""

    blocking: bool
    """True: `speak` takes its time and belongs in a worker thread. False: it is cheap, call it in the loop."""

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        """Speak a text.

        Args:
            text: Any string; what cannot be spoken is silent.
            language_code: ISO 639-1, or None to go by the script of the text.
            speed: 1.0 is normal, 1.2 is faster: the sound lasts 1 / `speed` as long.
            sample_rate: A wish, in Hz; the rate of the speech says what came.
        """
        ...
