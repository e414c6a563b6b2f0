"""The ledger of one utterance: its text, accepted, sent and spoken; its audio, received and delivered.

An utterance may need more than one connection. What went over one of them is a `Leg`: it begins where the audio before
it ends, and its words are timed from there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from attrs import evolve

from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.config.formats import AudioClock, Codec, WholeSamples, most_bytes
from tts_trio.speech.alignment import SpokenText
from tts_trio.speech.durations import longest_seconds, shortest_seconds
from tts_trio.speech.results import Word
from tts_trio.text import speakable
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.events import AudioReceived

# Of silence, without times, the service ends what went over a connection with 9 to 33 ms (wire/README.md, 2.5).
_LONGEST_TAIL_MS = 100.0

# What an encoder may keep back until more comes: some frames of mp3, a page of opus (FFmpeg's encoders).
_HELD_BACK_MS: Mapping[Codec, float] = {"mp3": 100.0, "opus": 1000.0}


class Leg:
    """The part of an utterance that goes over one connection.

    Attributes:
        spoken: Its text, and how much of it is spoken.
        complete: Its end marker was sent.
    """

    def __init__(
        self, config: TTSConfig, offset: int, started_ms: float, characters_a_second: float, *, in_messages: bool
    ) -> None:
        self.spoken = SpokenText(
            characters_a_second=characters_a_second,
            dialogue=websocket_endpoint(config) == "text-to-dialogue",
            in_messages=in_messages,
            held_back_ms=_HELD_BACK_MS.get(config.format.codec, 0.0),
        )
        self.complete = False
        self._offset = offset  # where its text begins in the text sent
        self._started_ms = started_ms  # where its audio begins in the audio received
        self._ended_ms = math.inf  # where its audio was cut, when the connection was lost
        self._kept: int | None = None  # and how much of its text was kept, in characters
        self._samples = WholeSamples(config.format)
        self._format = config.format
        self._bytes = 0

    @property
    def heard(self) -> bool:
        """Whether audio came for it."""
        return self.spoken.received_ms > 0

    @property
    def timed(self) -> bool:
        """Whether the service says when its words are heard."""
        return self.spoken.aligned_ms > 0

    @property
    def lacks_audio(self) -> bool:
        """Whether this cannot be all: words have times and no audio, or neither; or it is too short for its text."""
        spoken = self.spoken
        if not self.timed:
            return spoken.received_ms < 1000 * shortest_seconds(spoken.text)
        silent = spoken.received_ms <= spoken.aligned_ms + _LONGEST_TAIL_MS
        untold = silent and speakable(spoken.text[spoken.covered :])
        return untold or spoken.lacks_audio(strictly=True)

    @property
    def longest_seconds(self) -> float:
        """How long its text can sound."""
        return longest_seconds(self.spoken.text)

    def exceeds(self, event: AudioReceived) -> bool:
        """Whether this audio is more than its text can be."""
        most = most_bytes(self._format, self.longest_seconds)
        return self._bytes + len(event.audio) > most or self._samples.seconds > self.longest_seconds

    def receive(self, event: AudioReceived) -> tuple[bytes, float]:
        """Take a message, and give the whole samples (frames, pages) that can be delivered, and their seconds."""
        self._bytes += len(event.audio)
        before = self._samples.seconds
        audio = self._samples.feed(event.audio)
        seconds = self._samples.seconds - before
        self.spoken.received(seconds * 1000, event.alignment, event.normalized_alignment)
        return audio, seconds

    def cut(self, delivered_ms: float) -> tuple[int, float]:
        """End it where its last whole word ends: how much of the text sent that is, and of all audio, in ms.

        Where that is estimated, what was not delivered does not count, and goes.
        """
        came_ms = max(0.0, delivered_ms - self._started_ms) if self.spoken.estimated else self.spoken.received_ms
        self._kept, valid_ms = self.spoken.resume(came_ms)
        self._ended_ms = self._started_ms + valid_ms
        return self._offset + self._kept, self._ended_ms

    @property
    def was_cut_by_estimate(self) -> bool:
        """Whether it was estimated which of its words were heard before it was lost."""
        return self._kept is not None and self.spoken.estimated

    def began_by(self, ms: float) -> bool:
        """Whether it had begun after so much of the audio."""
        return self._started_ms <= ms

    def words(self) -> list[Word]:
        """Its words, on the utterance's timeline."""
        return [
            evolve(
                word,
                start=word.start + self._offset,
                end=word.end + self._offset,
                start_ms=word.start_ms + self._started_ms,
                end_ms=word.end_ms + self._started_ms,
            )
            for word in self.spoken.words
            if word.end_ms + self._started_ms <= self._ended_ms and (self._kept is None or word.end <= self._kept)
        ]

    def spoken_characters(self, until_ms: float) -> int:
        """How much of the text sent had been spoken by then, in whole words, earlier legs included."""
        spoken = len(self.spoken.spoken(min(until_ms, self._ended_ms) - self._started_ms))
        return self._offset + (spoken if self._kept is None else min(spoken, self._kept))


class Ledger:
    """What was accepted, sent, received and delivered for one utterance.

    Attributes:
        legs: One for each connection, in order.
        characters_sent: Characters of text handed to the service, those of replays included.
        received_seconds: Audio received and not taken back.
        silent: Whether no byte of audio has come yet; headers of a stream are bytes that last no time.
    """

    def __init__(self, config: TTSConfig, *, in_messages: bool) -> None:
        """Begin an utterance.

        Args:
            config: Format, model and speed.
            in_messages: It comes in whole messages of a WebSocket, and not as an answer over HTTP.
        """
        self.legs: list[Leg] = []
        self.characters_sent = 0
        self.received_seconds = 0.0
        self.silent = True
        self._config = config
        self._in_messages = in_messages
        self._format = config.format
        self._accepted = bytearray()  # UTF-8: a list of tokens would take eight times the memory of their text
        self._sent: list[str] = []  # without what is to be said again
        self._sent_characters = 0
        self._waiting: deque[bytes] = deque()  # audio not yet delivered
        self._delivered = AudioClock(config.format)

    def accept(self, text: str) -> None:
        """Note text that the caller gave."""
        self._accepted += text.encode()

    def begin_leg(self) -> None:
        """Begin to send over a fresh connection."""
        settings = self._config.voice_settings
        rate = CHARACTERS_A_SECOND * ((settings and settings.speed) or 1.0)
        rate = next((known for leg in reversed(self.legs) if (known := leg.spoken.rate())), rate)
        started_ms = self.received_seconds * 1000
        self.legs.append(Leg(self._config, self._sent_characters, started_ms, rate, in_messages=self._in_messages))

    def send(self, phrase: str) -> None:
        """Note a phrase that leaves."""
        self.legs[-1].spoken.sent(phrase)
        self._sent.append(phrase)
        self._sent_characters += len(phrase)
        self.characters_sent += len(phrase)

    def receive(self, event: AudioReceived) -> None:
        """Note a message; its audio waits to be delivered."""
        audio, seconds = self.legs[-1].receive(event)
        self.received_seconds += seconds
        if audio:
            self.silent = False
            self._waiting.append(audio)

    def deliver(self) -> bytes:
        """Take the next piece of audio to hand to the caller; `b""` if there is none."""
        audio = self._waiting.popleft() if self._waiting else b""
        self._delivered.feed(audio)
        return audio

    def unheard(self) -> str:
        """The text that was sent over the last connection and did not come as audio, in whole words."""
        spoken = self.legs[-1].spoken
        return spoken.text[spoken.resume(spoken.received_ms)[0] :]

    def take_back(self) -> list[str]:
        """Cut the audio after the last whole word that came, as far as it was not delivered.

        Returns:
            The text after that word, in the phrases in which it was sent: it is to be said again.
        """
        keep, ended_ms = self.legs[-1].cut(self.delivered_seconds * 1000)
        waiting = self._format.beginning(b"".join(self._waiting), max(0.0, ended_ms / 1000 - self.delivered_seconds))
        self._waiting = deque([waiting] if waiting else ())
        kept = AudioClock(self._format)
        kept.feed(waiting)
        self.received_seconds = self.delivered_seconds + kept.seconds
        again: deque[str] = deque()
        while self._sent_characters > keep:
            phrase = self._sent.pop()
            self._sent_characters -= len(phrase)
            if self._sent_characters < keep:
                cut = keep - self._sent_characters
                self._sent.append(phrase[:cut])
                self._sent_characters = keep
                phrase = phrase[cut:]
            again.appendleft(phrase)
        return list(again)

    @property
    def accepted(self) -> str:
        """The text that the caller gave."""
        return self._accepted.decode()

    @property
    def waiting(self) -> int:
        """How many pieces of audio wait to be delivered."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes these have."""
        return sum(map(len, self._waiting))

    @property
    def delivered_seconds(self) -> float:
        """Audio handed to the caller."""
        return self._delivered.seconds

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known, or estimated, in order, on the timeline of the audio given out."""
        return tuple(word for leg in self.legs for word in leg.words())

    def estimated(self, until_ms: float) -> bool:
        """Whether it is estimated what was spoken by then."""
        legs = [leg for leg in self.legs if leg.began_by(until_ms)]
        return bool(legs) and (legs[-1].spoken.estimated or any(leg.was_cut_by_estimate for leg in legs))

    def spoken(self, until_ms: float) -> str:
        """The accepted text up to the last word that had ended after so many milliseconds of audio."""
        legs = [leg for leg in self.legs if leg.began_by(until_ms)]
        sent = "".join(self._sent)[: legs[-1].spoken_characters(until_ms)] if legs else ""
        accepted = self.accepted
        return accepted[: _end_of_same_text(accepted, sent)]


def _end_of_same_text(accepted: str, sent: str) -> int:
    """Where the text sent ends in the text accepted: they differ in nothing but blanks."""
    remaining = sum(not char.isspace() for char in sent)
    if not remaining:
        return 0
    for index, char in enumerate(accepted):
        remaining -= not char.isspace()
        if not remaining:
            return index + 1
    return len(accepted)
