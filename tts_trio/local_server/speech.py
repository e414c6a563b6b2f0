"""The interface of a voice, and the rendering of a text into timed slices of encoded sound. No clock, no I/O."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from typing import Protocol, Self

import attrs

from tts_trio.local_server.encoding import ID3_TAG, Encoder

_SLICE_SECONDS = 1.5  # the service sends a segment of about a second as one message (wire/README.md, 2.5)
_NUMBER = re.compile(r"(?<![\w.,:])(?P<whole>\d+)(?:(?P<mark>[.,:])(?P<rest>\d+))?(?P<percent> ?%)?(?!\w|[.,:]\d)")
_PERCENT = {"ru": "процентов", "en": "percent", "de": "Prozent", "fr": "pour cent", "es": "por ciento"}
_LONGEST_NUMBER = 9  # digits; a longer number, such as a phone number, is read digit by digit


@attrs.frozen(kw_only=True)
class Alignment:
    """The time at which each character is heard. Each character begins where the one before it ends.

    Attributes:
        chars: The characters.
        borders_ms: The time at which each character begins, and last the time at which the last character ends. Times
            count from the start of the sound. A character that is not spoken lasts 0 ms.
    """

    chars: str
    borders_ms: tuple[int, ...]

    @property
    def starts_ms(self) -> tuple[int, ...]:
        """The time at which each character begins."""
        return self.borders_ms[:-1]

    @property
    def durations_ms(self) -> tuple[int, ...]:
        """The time that each character lasts."""
        return tuple(end - start for start, end in pairwise(self.borders_ms))

    def during(self, start_ms: float, end_ms: float) -> Alignment:
        """Return the alignment of the characters that begin in this span."""
        first, end = (bisect_left(self.starts_ms, time_ms) for time_ms in (start_ms, end_ms))
        return Alignment(chars=self.chars[first:end], borders_ms=self.borders_ms[first : end + 1])

    def since(self, start_ms: float) -> Alignment:
        """Return the same alignment with times that count from `start_ms`."""
        return Alignment(chars=self.chars, borders_ms=tuple(border - round(start_ms) for border in self.borders_ms))

    def stretched(self, factor: float) -> Alignment:
        """Return the same alignment with all times multiplied by a factor."""
        return Alignment(chars=self.chars, borders_ms=tuple(round(border * factor) for border in self.borders_ms))


@attrs.frozen(kw_only=True)
class Speech(Alignment):
    """A spoken text. The characters together last as long as the sound, to the millisecond.

    Attributes:
        samples: The sound in signed 16-bit little-endian mono.
        sample_rate: The sample rate, in Hz.
    """

    samples: bytes = attrs.field(repr=lambda samples: f"<{len(samples)} bytes>")
    sample_rate: int

    @classmethod
    def of(cls, text: str, samples: bytes, sample_rate: int, borders: Sequence[float]) -> Self:
        """Make a speech. `borders` are the borders between the characters, in samples."""
        borders_ms = tuple(round(border * 1000 / sample_rate) for border in borders)
        return cls(chars=text, borders_ms=borders_ms, samples=samples, sample_rate=sample_rate)


class Voice(Protocol):
    """A voice, such as `EspeakVoice`."""

    blocking: bool
    """Whether `speak` blocks for so long that it belongs in a worker thread."""

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        """Speak a text.

        Args:
            text: Any string. Characters that cannot be spoken are silent.
            language_code: ISO 639-1; None: the script of the text decides.
            speed: 1.0 is normal. At 1.2 the sound lasts 1 / 1.2 as long.
            sample_rate: The preferred rate in Hz. The speech may have another one.
        """
        ...


@attrs.frozen
class Order:
    """A text to speak, and the parameters of its speech."""

    text: str  # the client's text, with single blanks for whitespace and none at the ends
    output_format: str
    language_code: str | None = None  # ISO 639-1; None: the script decides
    speed: float = 1.0  # from 0.7 to 1.2
    normalize: bool = False  # numbers become words
    overlapping: bool = False  # `Behavior.alignment` is "overlapping", which needs at least two slices
    encoder: Encoder | None = attrs.field(default=None, eq=False)  # of the stream that the speech continues; None: none


@attrs.frozen
class Slice:
    """A part of the sound, encoded."""

    audio: bytes  # in the output format; a codec may hold a few ms back until the next slice
    start_ms: float  # from the start of the clip
    end_ms: float


@attrs.frozen
class Clip:
    """The speech of an order."""

    slices: tuple[Slice, ...]  # of at most 1.5 s
    alignment: Alignment  # of the client's characters, and of one blank after them
    normalized: Alignment  # of the characters as they are spoken, with a blank on either side

    @property
    def audio(self) -> bytes:
        """The whole sound, encoded."""
        return b"".join(piece.audio for piece in self.slices)

    @property
    def seconds(self) -> float:
        """The length of the sound in seconds."""
        return self.slices[-1].end_ms / 1000 if self.slices else 0.0

    def ready(self, first: float, speed: float) -> list[float]:
        """Return when each slice is ready: the first at `first`, and the others at `speed` times real time."""
        return [first + (piece.end_ms - self.slices[0].end_ms) / 1000 / speed for piece in self.slices]

    def span(self, index: int) -> tuple[float, float]:
        """Return the start and the end of a slice. The last slice is open-ended, for final characters of 0 ms."""
        piece = self.slices[index]
        return piece.start_ms, piece.end_ms if index < len(self.slices) - 1 else math.inf


def tagged(clip: Clip, *, alone: bool = False) -> Clip:
    """Put an ID3 tag before mp3 sound: in a slice of its own that lasts no time if `alone`, else in the first slice."""
    first, *others = clip.slices or [Slice(b"", 0.0, 0.0)]
    if alone:
        return attrs.evolve(clip, slices=(Slice(ID3_TAG, 0.0, 0.0), *clip.slices))
    return attrs.evolve(clip, slices=(attrs.evolve(first, audio=ID3_TAG + first.audio), *others))


def single_spaced(text: str) -> str:
    """Return a text as the service aligns it: with one blank for each run of whitespace, and none at the ends."""
    return " ".join(text.split())


def render(order: Order, voice: Voice) -> Clip:
    """Speak and encode an order. Call this in a worker thread if the voice is blocking."""
    pieces = normalize(order.text, order.language_code) if order.normalize else [Piece(order.text, order.text)]
    spoken = f" {''.join(piece.spoken for piece in pieces)} " if order.text else " "
    encoder = order.encoder or Encoder(order.output_format)
    speech = voice.speak(spoken, language_code=order.language_code, speed=order.speed, sample_rate=encoder.sample_rate)
    normalized = Alignment(chars=spoken, borders_ms=speech.borders_ms)  # without the samples
    total = len(speech.samples) // 2
    most = round(_SLICE_SECONDS * speech.sample_rate)
    step = min(most, total // 2 + 1) if order.overlapping else most
    slices: list[Slice] = []
    for start in range(0, total, step):
        end = min(start + step, total)
        audio = encoder.encode(speech.samples[2 * start : 2 * end], speech.sample_rate)
        if end == total and order.encoder is None:
            audio += encoder.flush()
        slices.append(Slice(audio, start * 1000 / speech.sample_rate, end * 1000 / speech.sample_rate))
    return Clip(tuple(slices), _source_alignment(pieces, normalized), normalized)


def _source_alignment(pieces: list[Piece], normalized: Alignment) -> Alignment:
    """Map the characters of the source onto the spoken characters.

    As recorded (wire/README.md, 2.5), the source has one trailing blank and no leading blank. The first character gets
    the time of the leading blank. The characters of a number share the time of its words evenly.
    """
    borders = normalized.borders_ms
    starts: list[int] = []
    position = 1
    for piece in pieces:
        end = position + len(piece.spoken)
        if piece.source == piece.spoken:
            starts += borders[position:end]
        else:
            span, count = borders[end] - borders[position], len(piece.source)
            starts += [borders[position] + span * index // count for index in range(count)]
        position = end
    if starts:
        starts[0] = borders[0]
    chars = "".join(piece.source for piece in pieces) + " "
    return Alignment(chars=chars, borders_ms=(*starts, *borders[-2:]))


# --- The normalizer turns numbers into words, as the service's normalizer does. So `normalizedAlignment` differs from
# `alignment`, which a client has to handle. The words come from num2words, which the extra `voice` installs. Without
# num2words numbers stay in digits.


@attrs.frozen
class Piece:
    """A part of the text, and its spoken form: the same text, or a number in words."""

    source: str
    spoken: str


def normalize(text: str, language_code: str | None) -> list[Piece]:
    """Cut a text into pieces: numbers, which are spoken in words, and the text between the numbers.

    Args:
        text: Any text. The joined sources of the pieces are this text.
        language_code: ISO 639-1; None: Russian for a text with Russian letters, else English.
    """
    if not find_spec("num2words"):
        return [Piece(text, text)]
    language = language_code or ("ru" if re.search("[а-яё]", text, re.IGNORECASE) else "en")
    pieces: list[Piece] = []
    position = 0
    for match in _NUMBER.finditer(text):
        before = text[position : match.start()]
        pieces += [Piece(before, before), Piece(match[0], _say(match, language))]
        position = match.end()
    return [*pieces, Piece(text[position:], text[position:])]


def _say(match: re.Match[str], language: str) -> str:
    whole, mark, rest, percent = match.group("whole", "mark", "rest", "percent")
    words = _cardinal(whole, language)
    if mark == ":":
        words = f"{words} {_cardinal(rest, language)}"
    elif mark:
        words = _in_words(float(f"{whole}.{rest}"), language)
    return f"{words} {_PERCENT.get(language, '%')}" if percent else words


def _cardinal(digits: str, language: str) -> str:
    if len(digits) > _LONGEST_NUMBER or (digits.startswith("0") and len(digits) > 1):
        return " ".join(_in_words(int(digit), language) for digit in digits)
    return _in_words(int(digits), language)


def _in_words(number: float, language: str) -> str:
    from num2words import (  # pyright: ignore[reportMissingTypeStubs] - num2words is not typed
        num2words,  # pyright: ignore[reportUnknownVariableType] - as above
    )

    try:
        return num2words(number, lang=language)
    except NotImplementedError:  # num2words does not have the language
        return num2words(number, lang="en")
