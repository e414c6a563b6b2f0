"""The part of an utterance that goes over one connection: its text, sent, and its audio, received."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import attrs

from tts_trio.config.audio_clock import WholeSamples, most_bytes
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.config.formats import Codec
from tts_trio.errors import EmptyAudioError, TTSConnectionError
from tts_trio.speech.alignment import SpokenText
from tts_trio.speech.durations import longest_seconds, shortest_seconds
from tts_trio.speech.results import Word
from tts_trio.speech.timed_words import Origin
from tts_trio.wire.events import AudioReceived

# The service ends the audio of a connection with 9 to 33 ms of silence without times (wire/README.md, 2.5).
_LONGEST_TAIL_MS = 100.0

# The audio that an encoder may hold back until it gets more: some frames of mp3, a page of opus (FFmpeg's encoders).
_HELD_BACK_MS: Mapping[Codec, float] = {"mp3": 100.0, "opus": 1000.0}

_EMPTY = (
    "the service reported the end and sent no audio for the text; the likely cause is an exhausted quota, which the "
    "multi-stream WebSockets do not report: check the credits of the account"
)


class Segment:
    """The part of an utterance that goes over one connection.

    Attributes:
        spoken: The text that was sent over it, mapped onto the audio that came.
        complete: Whether its end marker was sent.
        finished: Whether the service has reported its end, and all of its audio came.
        offset: Where its text begins in the text sent, in characters.
        letters: How many characters that are no blanks there are before that.
        phrase_ends: Where the phrases end that were sent, in its text.
        started_ms: Where its audio begins in the audio received, in milliseconds.
        longest_seconds: The most seconds that the audio of its text can last.
        most_bytes: The most bytes that this audio can have; none where it has lasted too long.
        received_bytes: How many bytes of audio have come for it.
        remembered: Whether it goes over no connection, since its audio was kept.
        elsewhere: Whether it does not go to the service.
        filler: Whether it is no part of the caller's text.
    """

    __slots__ = (
        "_ended_ms", "_format", "_kept", "_kept_words", "_samples", "complete", "elsewhere", "filler", "finished",
        "letters", "longest_seconds", "most_bytes", "offset", "phrase_ends", "received_bytes", "remembered", "spoken",
        "started_ms",
    )  # fmt: skip

    def __init__(
        self,
        config: TTSConfig,
        before: Segment | None,
        started_ms: float,
        characters_a_second: float,
        *,
        in_messages: bool,
    ) -> None:
        """Begin to send over a fresh connection, after another was lost or was over; `in_messages` as in `Segments`."""
        self.offset: int = 0 if before is None else before.offset + len(before.kept)
        self.letters: int = 0 if before is None else before.letters + before.spoken.letters(len(before.kept))
        self.spoken: SpokenText = SpokenText(
            characters_a_second=characters_a_second,
            dialogue=websocket_endpoint(config) == "text-to-dialogue",
            in_messages=in_messages,
            held_back_ms=_HELD_BACK_MS.get(config.format.codec, 0.0),
            origin=Origin(self.offset, started_ms),
        )
        self.complete: bool = False
        self.finished: bool = False
        self.remembered: bool = False
        self.elsewhere: bool = False
        self.filler: bool = False
        self.started_ms: float = started_ms
        self.phrase_ends: list[int] = []
        self._ended_ms = math.inf  # where its audio was cut, when the connection was lost
        self._kept: int | None = None  # how much of its text was kept then, in characters
        self._kept_words: tuple[Word, ...] | None = None
        self.longest_seconds: float = longest_seconds("")
        self._samples = WholeSamples(config.format)
        self._format = config.format
        self.received_bytes: int = 0
        self.most_bytes: float = most_bytes(config.format, self.longest_seconds)

    @property
    def heard(self) -> bool:
        """Whether audio has come for it."""
        return self.spoken.received_ms > 0

    @property
    def timed(self) -> bool:
        """Whether the service says when its words are heard."""
        return self.spoken.aligned_ms > 0

    @property
    def lacks_audio(self) -> bool:
        """Whether audio is missing: words have no audio, or no times, or the audio is too short for its text."""
        spoken = self.spoken
        if not self.timed:
            return spoken.received_ms < 1000 * shortest_seconds(spoken.text)
        silent = spoken.received_ms <= spoken.aligned_ms + _LONGEST_TAIL_MS
        untold = silent and not spoken.is_covered
        return untold or spoken.lacks_audio(strictly=True)

    @property
    def settled(self) -> bool:
        """Whether all audio has come for the text sent so far, as far as this is known before the final.

        If the alignment has no place in the text, the first audio after the aligned audio is taken for the rest. It is
        better to miss a stall than to take a pause for one, and say the same words twice. Without times only the final
        tells.
        """
        spoken = self.spoken
        if not self.timed:
            return False
        if spoken.is_covered:
            return not spoken.lacks_audio(strictly=False)
        return not spoken.told_more and spoken.received_ms > spoken.aligned_ms

    def send(self, phrase: str) -> None:
        """Note a phrase that is sent."""
        self.spoken.sent(phrase)
        self.phrase_ends.append(len(self.spoken.text))
        self.longest_seconds = longest_seconds(self.spoken.text)
        too_long = self._samples.clock.seconds > self.longest_seconds
        self.most_bytes = -math.inf if too_long else most_bytes(self._format, self.longest_seconds)

    def receive(self, event: AudioReceived) -> tuple[bytes, float]:
        """Take a message, and return the whole samples (frames, pages) that can be delivered, and their seconds."""
        self.received_bytes += len(event.audio)
        clock = self._samples.clock
        before = clock.seconds
        audio = self._samples.feed(event.audio)
        seconds = clock.seconds - before
        if clock.seconds > self.longest_seconds:
            self.most_bytes = -math.inf
        self.spoken.received(seconds * 1000, event)
        return audio, seconds

    def finish(self) -> TTSConnectionError | None:
        """Note that the service reported the end; return why it cannot be the end, or None."""
        if not self.heard:
            return EmptyAudioError(_EMPTY)
        if self.lacks_audio:
            return TTSConnectionError("the service reported the end before all was spoken")
        self.spoken.final()
        self.finished = True
        return None

    def cut(self, delivered_ms: float) -> float:
        """End it after its last whole word; return where in all audio that is, in milliseconds.

        Where that is estimated, what was not delivered does not count, and goes.
        """
        came_ms = max(0.0, delivered_ms - self.started_ms) if self.spoken.estimated else self.spoken.received_ms
        self._kept, valid_ms = self.spoken.resume(came_ms)
        ended_ms = self._ended_ms = self.started_ms + valid_ms
        end = self.offset + self._kept
        self._kept_words = tuple(word for word in self.spoken.words if word.end_ms <= ended_ms and word.end <= end)
        return ended_ms

    def become_filler(self) -> None:
        """Note that its text, which was spoken whole, is no part of the caller's."""
        self.remembered = self.filler = True
        at = self.offset
        self._kept_words = tuple(attrs.evolve(word, start=at, end=at, filler=True) for word in self.spoken.words)
        self._kept = 0

    @property
    def kept(self) -> str:
        """The text that was sent over it and is not sent again."""
        return self.spoken.text[: self._kept]

    @property
    def cut_off(self) -> list[str]:
        """The text after `kept`, in the phrases in which it was sent."""
        kept = len(self.kept)
        return [
            self.spoken.text[max(start, kept) : end] for start, end in pairwise([0, *self.phrase_ends]) if end > kept
        ]

    @property
    def was_cut_by_estimate(self) -> bool:
        """Whether it was estimated which of its words were heard before it was lost."""
        return self._kept is not None and self.spoken.estimated and not self.filler

    @property
    def words(self) -> tuple[Word, ...]:
        """Its words, on the utterance's timeline."""
        return self.spoken.words if self._kept_words is None else self._kept_words

    def spoken_letters(self, until_ms: float) -> int:
        """How many characters that are no blanks had been spoken by then, in whole words, of all the text sent."""
        spoken = self.spoken.spoken_characters(min(until_ms, self._ended_ms) - self.started_ms)
        return self.letters + self.spoken.letters(spoken if self._kept is None else min(spoken, self._kept))
