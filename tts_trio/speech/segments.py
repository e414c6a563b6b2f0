"""The text of one utterance, accepted, sent and spoken; and its audio, received and delivered.

An utterance may need more than one connection. What goes over one of them is a segment (`segment.py`): it begins where
the audio before it ends, and its words are timed from there. When the connection is lost the segment is cut after the
last word that was heard whole; what comes after that word is sent again, as the beginning of the next segment. A phrase
that is said from memory is a segment of its own, before that of the first connection.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from tts_trio.config.audio_clock import AudioClock, beginning
from tts_trio.config.config import TTSConfig
from tts_trio.speech.accepted_text import AcceptedText
from tts_trio.speech.replays import Carrier
from tts_trio.speech.results import Word
from tts_trio.speech.segment import Segment
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.events import AudioReceived

if TYPE_CHECKING:
    from tts_trio.speech.characters import Characters
    from tts_trio.speech.leading_silence import LeadingSilence


class Segments:
    """The text and the audio that were accepted, sent, received and delivered for one utterance.

    Attributes:
        accepted_text: The text that was accepted from the caller, and what is said for it.
        current: The segment of the connection in use, or of the last one; there is none before `begin`.
        received_seconds: Audio received and not taken back.
        waiting: Audio not yet delivered, in pieces.
        recalled: How many phrases were said from memory.
        delivered_filler: Whether the last piece that was delivered was a filler.
        leading_silence: The silence at the beginning of the delivered audio, where `on_utterance` is to be told.
    """

    __slots__ = (
        "_carrier", "_characters", "_config", "_delivered", "_earlier_words", "_filler_waits", "_format",
        "_in_messages", "_last_words", "_segments", "_words", "accepted_text", "current", "delivered_filler",
        "leading_silence", "recalled", "received_seconds", "waiting",
    )  # fmt: skip

    current: Segment

    def __init__(self, config: TTSConfig, *, in_messages: bool) -> None:
        """Begin an utterance.

        Args:
            config: Format, model and speed.
            in_messages: It comes in whole messages of a WebSocket, and not as an answer over HTTP.
        """
        self.received_seconds: float = 0.0
        self.recalled: int = 0
        self._segments: list[Segment] = []  # one for each connection, in order
        self._config = config
        self._in_messages = in_messages
        self._format = config.format
        self.accepted_text: AcceptedText = AcceptedText()
        self._earlier_words: tuple[Word, ...] = ()  # of all segments but the last
        self._last_words: tuple[Word, ...] = ()  # of the last one, as they were when `_words` was made
        self._words: tuple[Word, ...] = ()
        self._characters: Characters | None = None
        self.waiting: deque[bytes] = deque()
        self._carrier: Carrier = "websocket"
        self.delivered_filler: bool = False
        self._filler_waits = False  # as the next piece
        self._delivered = AudioClock.of(config.format)
        self.leading_silence: LeadingSilence | None = None
        if config.on_utterance is not None:
            from tts_trio.speech.leading_silence import LeadingSilence  # loaded late: few ask for it

            self.leading_silence = LeadingSilence(config.format)

    def begin(self, carrier: Carrier = "websocket") -> None:
        """Begin to send over a fresh connection."""
        self._carrier = carrier
        segment = self._following(self._segments, in_messages=self._in_messages and carrier == "websocket")
        segment.elsewhere = carrier == "elsewhere"
        self._append(segment)

    def _following(self, segments: list[Segment], *, in_messages: bool) -> Segment:
        settings = self._config.voice_settings
        rate = CHARACTERS_A_SECOND * ((settings and settings.speed) or 1.0)
        rate = next((known for before in reversed(segments) if (known := before.spoken.rate())), rate)
        before = segments[-1] if segments else None
        return Segment(self._config, before, self.received_seconds * 1000, rate, in_messages=in_messages)

    def _append(self, segment: Segment) -> None:
        self._earlier_words = self.words
        self._last_words = ()
        self.current = segment
        self._segments.append(segment)

    def _before_next(self) -> list[Segment]:
        """Return the segments before one that is said from memory: a connection that has said nothing gives way."""
        return self._segments[:-1] if self._is_fresh() else self._segments

    def _place(self, segment: Segment) -> None:
        """Put a segment that is said from memory behind those of `_before_next`."""
        if self._is_fresh():
            self.current = self._segments[-1] = segment
        else:
            self._append(segment)

    def _is_fresh(self) -> bool:
        return bool(self._segments) and not self.current.spoken.text  # the connection in use has said nothing

    def recall(self, phrase: str, clip: Iterable[AudioReceived], *, lasting: float = 0.0) -> bool:
        """Say a phrase from memory, before the connection in use has said anything.

        Args:
            phrase: The phrase.
            clip: Its audio, as it once came.
            lasting: Seconds that it must last.

        Returns:
            Whether the clip is whole, and lasts that long. If not, nothing was changed.
        """
        segment = self._following(self._before_next(), in_messages=self._in_messages)
        segment.remembered = True
        segment.send(phrase)
        audio = [segment.receive(event) for event in clip]
        seconds = sum(seconds for _, seconds in audio)
        if segment.finish() is not None or seconds < lasting:
            return False
        self._place(segment)
        self.recalled += 1
        self.waiting += filter(None, (piece for piece, _ in audio))
        self.received_seconds += seconds
        return True

    @property
    def at_rest(self) -> bool:
        """Whether all audio of the text sent so far has come, as far as this is known, and was delivered."""
        if self.waiting or not self._segments:
            return not self.waiting
        current = self.current
        return not current.spoken.text or current.finished or current.settled

    def interject(self, text: str, clip: Iterable[AudioReceived], *, connected: bool) -> float:
        """Say a text that is not the caller's, while nothing of his is to be said.

        What is sent over the connection in use from now on is a segment of its own.

        Args:
            text: The text.
            clip: Its audio, whole.
            connected: Whether a connection is in use.

        Returns:
            How many seconds it lasts. It is 0 where the clip is not whole: then nothing was changed.
        """
        segment = self._following(self._before_next(), in_messages=False)
        segment.send(text)
        audio = [segment.receive(event) for event in clip]
        if segment.finish() is not None:
            return 0.0
        segment.become_filler()
        self._place(segment)
        seconds = sum(seconds for _, seconds in audio)
        self.waiting.append(b"".join(piece for piece, _ in audio))
        self._filler_waits = True
        self.received_seconds += seconds
        if connected:
            self.begin(self._carrier)
        return seconds

    def receive(self, event: AudioReceived) -> float:
        """Take a message, and return how many seconds of whole samples came; they wait to be delivered."""
        audio, seconds = self.current.receive(event)
        self.received_seconds += seconds
        if audio:
            self.waiting.append(audio)
        return seconds

    def deliver(self) -> tuple[bytes, float]:
        """Take the next piece of audio for the caller, of which there is one, and return it and its seconds."""
        audio = self.waiting.popleft()
        before = self._delivered.seconds
        self._delivered.feed(audio)
        self.delivered_filler, self._filler_waits = self._filler_waits, False
        if self.leading_silence is not None and not self.delivered_filler:
            self.leading_silence.feed(audio)
        return audio, self._delivered.seconds - before

    def unheard(self) -> str:
        """The text that was sent over the last connection and did not come as audio, in whole words."""
        spoken = self.current.spoken
        return spoken.text[spoken.resume(spoken.received_ms)[0] :]

    def take_back(self) -> list[str]:
        """Cut the audio after the last whole word that came, as far as it was not delivered.

        Returns:
            The text after that word, in the phrases in which it was sent: it is to be said again.
        """
        ended_ms = self.current.cut(self.delivered_seconds * 1000)
        waiting = beginning(self._format, b"".join(self.waiting), max(0.0, ended_ms / 1000 - self.delivered_seconds))
        self.waiting = deque([waiting] if waiting else ())
        kept = AudioClock.of(self._format)
        kept.feed(waiting)
        self.received_seconds = self.delivered_seconds + kept.seconds
        return self.current.cut_off

    @property
    def characters_sent(self) -> int:
        """Characters of text handed to the service, those of replays included."""
        sent = (segment for segment in self._segments if not (segment.remembered or segment.elsewhere))
        return sum(len(segment.spoken.text) for segment in sent)

    @property
    def said(self) -> str:
        """The text that was sent, without what is to be sent again."""
        return "".join(segment.kept for segment in self._segments)

    @property
    def heard(self) -> bool:
        """Whether audio has come over a connection."""
        return any(segment.heard for segment in self._segments if not segment.remembered)

    @property
    def begins_from_memory(self) -> bool:
        """Whether the first audio came from memory."""
        return self.recalled > 0

    @property
    def accepted(self) -> str:
        """The text that the caller gave."""
        return self.accepted_text.text

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be delivered."""
        return sum(map(len, self.waiting))

    @property
    def delivered_seconds(self) -> float:
        """Audio handed to the caller."""
        return self._delivered.seconds

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known, or estimated, in order, on the timeline of the audio given out."""
        last = self._segments[-1].words if self._segments else ()
        if last is not self._last_words:
            self._last_words, self._words = last, self._earlier_words + last
        return self._words

    def source_of(self, word: Word) -> tuple[int, int]:
        """Where the accepted text begins and ends that a word is said for."""
        begun = self._segments[: bisect.bisect_right(self._segments, word.start, key=attrgetter("offset"))]
        segment = next(segment for segment in reversed(begun) if segment.offset + len(segment.kept) > word.start)
        first = segment.letters + segment.spoken.letters(word.start - segment.offset)
        return self.accepted_text.span(first, first + len(word.text))

    @property
    def characters(self) -> tuple[Word, ...]:
        """The characters of the words."""
        if self._characters is None:
            from tts_trio.speech.characters import Characters  # loaded late: few ask for it

            self._characters = Characters()
        return self._characters.of(self.words, self._segments)

    def estimated(self, until_ms: float) -> bool:
        """Whether it is estimated what was spoken by then."""
        begun = [segment for segment in self._begun_by(until_ms) if not segment.filler]
        return bool(begun) and (begun[-1].spoken.estimated or any(segment.was_cut_by_estimate for segment in begun))

    def spoken(self, until_ms: float) -> str:
        """The accepted text up to the last word that had ended after so many milliseconds of audio."""
        begun = self._begun_by(until_ms)
        return self.accepted_text.beginning(begun[-1].spoken_letters(until_ms)) if begun else ""

    def _begun_by(self, ms: float) -> list[Segment]:
        return self._segments[: bisect.bisect_right(self._segments, ms, key=attrgetter("started_ms"))]
