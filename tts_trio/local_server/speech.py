"""What a voice of the local server is, and how a text becomes timed pieces of encoded sound. No clock, no I/O."""

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

_SLICE_SECONDS = 1.5  # a segment of about a second is one message (wire/README.md, 2.5)
_NUMBER = re.compile(r"(?<![\w.,:])(?P<whole>\d+)(?:(?P<mark>[.,:])(?P<rest>\d+))?(?P<percent> ?%)?(?!\w|[.,:]\d)")
_PERCENT = {"ru": "процентов", "en": "percent", "de": "Prozent", "fr": "pour cent", "es": "por ciento"}
_LONGEST_NUMBER = 9  # digits; more of them are a phone or an account, and are read one by one


@attrs.frozen(kw_only=True)
class Alignment:
    """When each character is heard: each begins where the one before it ends.

    Attributes:
        chars: The characters.
        borders_ms: The time at which each character begins, from the beginning of the sound it comes with, and then the
            time at which the last one ends. A character that is not spoken lasts 0 ms.
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
        """Give the characters that begin in this span."""
        first, end = (bisect_left(self.starts_ms, time_ms) for time_ms in (start_ms, end_ms))
        return Alignment(chars=self.chars[first:end], borders_ms=self.borders_ms[first : end + 1])

    def since(self, start_ms: float) -> Alignment:
        """Give the same with times from `start_ms`."""
        return Alignment(chars=self.chars, borders_ms=tuple(border - round(start_ms) for border in self.borders_ms))

    def stretched(self, factor: float) -> Alignment:
        """Give the same with all times multiplied by a factor."""
        return Alignment(chars=self.chars, borders_ms=tuple(round(border * factor) for border in self.borders_ms))


@attrs.frozen(kw_only=True)
class Speech(Alignment):
    """A text, spoken: its characters together last as long as the sound, to the millisecond.

    Attributes:
        samples: The sound, in signed 16-bit little-endian mono.
        sample_rate: The sample rate, in Hz.
    """

    samples: bytes = attrs.field(repr=lambda samples: f"<{len(samples)} bytes>")
    sample_rate: int

    @classmethod
    def of(cls, text: str, samples: bytes, sample_rate: int, borders: Sequence[float]) -> Self:
        """Make a speech of the borders between its characters, which are counted in samples."""
        borders_ms = tuple(round(border * 1000 / sample_rate) for border in borders)
        return cls(chars=text, borders_ms=borders_ms, samples=samples, sample_rate=sample_rate)


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


@attrs.frozen
class Order:
    """A text to be spoken, and how."""

    text: str  # the client's, with single blanks for whitespace, and none around it
    output_format: str
    language_code: str | None = None  # ISO 639-1; None: the voice goes by the script
    speed: float = 1.0  # from 0.7 to 1.2
    normalize: bool = False  # numbers become words
    overlapping: bool = False  # aligned in two passes (`Behavior.alignment`), which takes two slices
    encoder: Encoder | None = attrs.field(
        default=None, eq=False
    )  # of the stream it is a part of; None: it stands alone


@attrs.frozen
class Slice:
    """A run of the sound, encoded."""

    audio: bytes  # in the output format; a codec holds back a few ms, which come with the next slice
    start_ms: float  # in the clip
    end_ms: float


@attrs.frozen
class Clip:
    """An order that was spoken."""

    slices: tuple[Slice, ...]  # of at most 1.5 s
    alignment: Alignment  # of the client's characters, and of one blank after them
    normalized: Alignment  # of the characters as they are said, with a blank on either side

    @property
    def audio(self) -> bytes:
        """The whole sound, encoded."""
        return b"".join(piece.audio for piece in self.slices)

    @property
    def seconds(self) -> float:
        """The length of the sound in seconds."""
        return self.slices[-1].end_ms / 1000 if self.slices else 0.0

    def ready(self, first: float, speed: float) -> list[float]:
        """Give the times at which the slices are generated, of which the first is, at `speed` times real time."""
        return [first + (piece.end_ms - self.slices[0].end_ms) / 1000 / speed for piece in self.slices]

    def span(self, index: int) -> tuple[float, float]:
        """Give where a slice begins and ends; to the last one belong the characters after it that last no time."""
        piece = self.slices[index]
        return piece.start_ms, piece.end_ms if index < len(self.slices) - 1 else math.inf


def tagged(clip: Clip, *, alone: bool = False) -> Clip:
    """Put an ID3 tag before the sound, which is mp3: `alone` in a slice that lasts no time, or in the first slice."""
    first, *others = clip.slices or [Slice(b"", 0.0, 0.0)]
    if alone:
        return attrs.evolve(clip, slices=(Slice(ID3_TAG, 0.0, 0.0), *clip.slices))
    return attrs.evolve(clip, slices=(attrs.evolve(first, audio=ID3_TAG + first.audio), *others))


def single_spaced(text: str) -> str:
    """Give a text as the service aligns it: runs of whitespace are one blank, and none is around it."""
    return " ".join(text.split())


def render(order: Order, voice: Voice) -> Clip:
    """Speak and encode an order. It takes CPU: call it in a worker thread if the voice is blocking."""
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
    """Map the source's characters onto what was said.

    As recorded (wire/README.md, 2.5): no leading blank, its time belongs to the first character; one trailing blank.
    The characters of a number share the time of its words.
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


# --- The normalizer makes words of numbers, as the service's own does, so that `normalizedAlignment` differs from
# `alignment` where a client has to cope with it. The words come from num2words, which the extra `voice` brings; without
# it numbers stay in digits.


@attrs.frozen
class Piece:
    """A run of the text, and how it is said: the same, or a number in words."""

    source: str
    spoken: str


def normalize(text: str, language_code: str | None) -> list[Piece]:
    """Cut a text into pieces that are said as they are written, and numbers in words.

    Args:
        text: Any text. The sources of the pieces, joined, are this text.
        language_code: ISO 639-1; None: Russian for text with Cyrillic letters, else English.
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
    from num2words import (  # pyright: ignore[reportMissingTypeStubs] - it is not typed
        num2words,  # pyright: ignore[reportUnknownVariableType] - as above
    )

    try:
        return num2words(number, lang=language)
    except NotImplementedError:  # a language it does not have
        return num2words(number, lang="en")
