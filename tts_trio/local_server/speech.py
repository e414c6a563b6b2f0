"""Turn a text into timed pieces of encoded sound, of which messages are made. No clock, no I/O."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Any, Self

import attrs

from tts_trio.local_server.encoding import ID3_TAG, Encoder
from tts_trio.local_server.normalizer import Piece, normalize
from tts_trio.local_server.voices import Voice

_SLICE_SECONDS = 1.5  # a segment of about a second is one message (wire/README.md, 2.5)


@attrs.frozen
class Alignment:
    """When each character is heard.

    Attributes:
        chars: The characters.
        starts_ms: The time at which each character begins, from the beginning of the sound it comes with.
        durations_ms: The time that each character lasts.
    """

    chars: str
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]

    def during(self, start_ms: float, end_ms: float) -> Self:
        """Give the characters that begin in this span."""
        span = slice(bisect_left(self.starts_ms, start_ms), bisect_left(self.starts_ms, end_ms))
        return attrs.evolve(
            self, chars=self.chars[span], starts_ms=self.starts_ms[span], durations_ms=self.durations_ms[span]
        )

    def since(self, start_ms: float) -> Self:
        """Give the same with times from `start_ms`."""
        return attrs.evolve(self, starts_ms=tuple(start - round(start_ms) for start in self.starts_ms))

    def stretched(self, factor: float) -> Self:
        """Give the same with all times multiplied by a factor."""
        borders = [round(border * factor) for border in [*self.starts_ms, self.starts_ms[-1] + self.durations_ms[-1]]]
        durations = (end - start for start, end in pairwise(borders))
        return attrs.evolve(self, starts_ms=tuple(borders[:-1]), durations_ms=tuple(durations))

    def for_websocket(self, *, snake: bool) -> dict[str, Any]:
        """Give the object of a WebSocket message, in snake_case or camelCase: whole milliseconds and durations."""
        return {
            "chars": list(self.chars),
            "char_start_times_ms" if snake else "charStartTimesMs": list(self.starts_ms),
            "char_durations_ms" if snake else "charDurationsMs": list(self.durations_ms),
        }

    def for_http(self) -> dict[str, Any]:
        """Give the object of a with-timestamps body: seconds and ends."""
        spans = zip(self.starts_ms, self.durations_ms, strict=True)
        return {
            "characters": list(self.chars),
            "character_start_times_seconds": [start / 1000 for start in self.starts_ms],
            "character_end_times_seconds": [(start + duration) / 1000 for start, duration in spans],
        }


@attrs.frozen
class Order:
    """A text to be spoken, and how.

    Attributes:
        text: The client's text, with single blanks for whitespace, and none around it.
        output_format: The name of ElevenLabs for the format of the audio.
        language_code: The language in ISO 639-1; None: the voice goes by the script.
        speed: The speed of the voice, from 0.7 to 1.2.
        normalize: Whether numbers become words.
        overlapping: Whether the text is aligned in two passes (`Behavior.alignment`), which takes two slices.
        encoder: The encoder of the stream that this sound is a part of; None: the sound stands alone.
    """

    text: str
    output_format: str
    language_code: str | None = None
    speed: float = 1.0
    normalize: bool = False
    overlapping: bool = False
    encoder: Encoder | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Slice:
    """A run of the sound, encoded.

    Attributes:
        audio: The sound in the output format. A codec holds back a few ms, which come with the next slice.
        start_ms: The place in the clip where the slice begins.
        end_ms: The place where it ends.
    """

    audio: bytes
    start_ms: float
    end_ms: float


@attrs.frozen
class Clip:
    """An order that was spoken.

    Attributes:
        slices: The sound, in runs of at most 1.5 s.
        alignment: The alignment of the client's characters, and of one blank after them.
        normalized: The alignment of the characters as they are said, with a blank on either side.
    """

    slices: tuple[Slice, ...]
    alignment: Alignment
    normalized: Alignment

    @property
    def seconds(self) -> float:
        """The length of the sound in seconds."""
        return self.slices[-1].end_ms / 1000 if self.slices else 0.0


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
    speech = voice.speak(
        spoken,
        language_code=order.language_code,
        speed=order.speed,
        sample_rate=_sample_rate(order.output_format),
    )
    normalized = Alignment(spoken, speech.starts_ms, speech.durations_ms)
    encoder = order.encoder or Encoder(order.output_format)
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


def silence(encoder: Encoder, milliseconds: int) -> bytes:
    """End a stream with a moment of silence and what its encoder has held back."""
    rate = encoder.source_rate
    return encoder.encode(bytes(2 * (rate * milliseconds // 1000)), rate) + encoder.flush()


def _sample_rate(output_format: str) -> int:
    return next(int(part) for part in output_format.split("_") if part.isdigit())


def _source_alignment(pieces: list[Piece], normalized: Alignment) -> Alignment:
    """Map the source's characters onto what was said.

    As recorded (wire/README.md, 2.5): no leading blank, its time belongs to the first character; one trailing blank.
    The characters of a number share the time of its words.
    """
    borders = [*normalized.starts_ms, normalized.starts_ms[-1] + normalized.durations_ms[-1]]
    starts: list[int] = []
    position = 1
    for piece in pieces:
        end = position + len(piece.spoken)
        if piece.source == piece.spoken:
            starts += borders[position:end]
        else:
            span = borders[end] - borders[position]
            count = len(piece.source)
            starts += [borders[position] + span * index // count for index in range(count)]
        position = end
    if starts:
        starts[0] = borders[0]
    chars = "".join(piece.source for piece in pieces) + " "
    starts.append(borders[-2])
    ends = [*starts[1:], borders[-1]]
    return Alignment(chars, tuple(starts), tuple(end - start for start, end in zip(starts, ends, strict=True)))
