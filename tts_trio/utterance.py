"""One utterance without I/O: what was accepted, sent, received and delivered, what is due when, and how it ends.

An utterance may need more than one connection: where one is lost, the rest of the text goes to the next one. What went
over one connection is a `_Leg`. Nothing here knows a clock, a socket or a task: the time comes in with every call, and
`phrases_to_send`, `end_to_send`, `deadline` and `ended` say what to do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from tts_trio.alignment import SpokenText, Word
from tts_trio.config import TTSConfig
from tts_trio.errors import (
    ConfigurationError,
    EmptyAudio,
    ServiceTimeout,
    TextTimeout,
    TTSConnectionError,
    TTSError,
    UtteranceEnded,
)
from tts_trio.formats import AudioClock, WholeSamples
from tts_trio.text import Phraser, speakable
from tts_trio.wire.events import AudioReceived, Final

End: TypeAlias = Literal["finished", "interrupted", "failed"]

_CHARACTERS_A_SECOND = 15.0  # of speech: how long text that was sent will sound, before its audio has come


@attrs.frozen
class Outcome:
    """How an utterance ended.

    Attributes:
        end: "finished": all was handed to the caller. "interrupted": the caller left before. "failed": see `error`.
        error: Why it failed; None otherwise.
        delivered_seconds: Audio handed to the caller.
        spoken_text: The part of the accepted text whose sound was handed to the caller whole, word by word.
        unspoken_text: The rest: `spoken_text + unspoken_text` is the text that was accepted.
    """

    end: End
    error: TTSError | None
    delivered_seconds: float
    spoken_text: str
    unspoken_text: str


@attrs.frozen
class Timeline:
    """When the parts of an utterance happened, in seconds of trio's clock (`trio.current_time`); None: not yet.

    Attributes:
        started: It was begun.
        first_text: The first text was accepted.
        first_sent: The first phrase was handed to the connection.
        first_received: The first audio came from the service.
        first_delivered: The first audio was handed to the caller.
        ended: It finished, was interrupted, or failed.
    """

    started: float
    first_text: float | None = None
    first_sent: float | None = None
    first_received: float | None = None
    first_delivered: float | None = None
    ended: float | None = None


class _Leg:
    """The part of an utterance that went over one connection."""

    def __init__(self, config: TTSConfig, offset: int, started_ms: float) -> None:
        self.spoken = SpokenText()
        self.offset = offset  # where its text begins in the text sent
        self.started_ms = started_ms  # where its audio begins in the audio received
        self.ended_ms = math.inf  # where its audio was cut, when the connection was lost
        self.samples = WholeSamples(config.format)
        self.complete = False  # its end marker was sent

    def words(self) -> list[Word]:
        """Its words, on the utterance's timeline."""
        return [
            attrs.evolve(
                word,
                start=word.start + self.offset,
                end=word.end + self.offset,
                start_ms=word.start_ms + self.started_ms,
                end_ms=word.end_ms + self.started_ms,
            )
            for word in self.spoken.words
            if word.end_ms + self.started_ms <= self.ended_ms
        ]

    def spoken_characters(self, until_ms: float) -> int:
        """How much of the text sent had been spoken by then, in whole words, this leg's included."""
        return self.offset + len(self.spoken.spoken(min(until_ms, self.ended_ms) - self.started_ms))


class Utterance:
    """The state of one reply, from its first token to its end.

    Attributes:
        ended: How it ended, as far as the service is concerned, or None.
        error: Why it failed.
        timeline: When its parts happened.
        replays: How many times it went on over another connection.
        characters_sent: Characters of text handed to the service, those of replays included.
    """

    def __init__(
        self, config: TTSConfig, now: float, *, on_audio: Callable[[bytes], None], on_drop: Callable[[int], None]
    ) -> None:
        """Begin an utterance.

        Args:
            config: Format and deadlines.
            now: The time, in seconds, as in all other methods.
            on_audio: Called with audio to deliver, in whole samples.
            on_drop: Called with how many of the last bytes given out are not to be delivered, if they still wait.
        """
        self.ended: End | None = None
        self.error: TTSError | None = None
        self.timeline = Timeline(started=now)
        self.replays = 0
        self.characters_sent = 0
        self._config = config
        self._on_audio = on_audio
        self._on_drop = on_drop
        self._phraser = Phraser(config.phrase_policy, language_code=config.language_code)
        self._accepted: list[str] = []
        self._characters = 0
        self._complete = False
        self._queue: deque[str] = deque()  # phrases not yet sent
        self._sent: list[str] = []
        self._sent_characters = 0
        self._legs: list[_Leg] = []
        self._connected = False
        self._clock = AudioClock(config.format)
        self._received_seconds = 0.0
        self._delivered = AudioClock(config.format)
        self._last_text = now
        self._last_audio = -math.inf
        self._characters_a_second = _CHARACTERS_A_SECOND
        self._owed_since: float | None = None
        self._starved_since: float | None = None  # the same, but over lost connections too

    # Text comes in.

    def accept(self, token: str, now: float) -> None:
        """Take a piece of text.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEnded: The utterance, or its text, has ended.
            TTSError: It failed.
        """
        if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not check types
            raise TypeError(f"text must be str, not {type(token).__name__}")
        self._require_text_open()
        if not token:
            return
        if self._characters + len(token) > self._config.max_characters:
            limit = self._config.max_characters
            raise ConfigurationError(
                f"max_characters: a reply may have at most {limit} characters", field="max_characters"
            )
        self._characters += len(token)
        self._accepted.append(token)
        self._last_text = now
        if self.timeline.first_text is None:
            self.timeline = attrs.evolve(self.timeline, first_text=now)
        self._queue.extend(self._phraser.feed(token, now))

    def complete(self, now: float) -> None:
        """Say that the text is complete. Saying so twice, or after the end, changes nothing."""
        if self.ended is None and not self._complete:
            self._complete = True
            self._last_text = now
            self._queue.extend(self._phraser.close())

    def say(self, text: str, now: float) -> None:
        """Take a text as one phrase, complete: what a fixed phrase is."""
        self._characters_a_second = math.inf  # its audio is read as the listener needs it, so none is on its way
        self._accepted.append(text)
        self._queue.append(text)
        self._complete = True
        self.timeline = attrs.evolve(self.timeline, first_text=now)

    def _require_text_open(self) -> None:
        if self.error is not None:
            raise self.error
        if self.ended is not None:
            raise UtteranceEnded(f"the reply is {self.ended}: it takes no more text")
        if self._complete:
            raise UtteranceEnded("the text of this reply was closed")

    # Text goes out.

    def connected(self) -> None:
        """A fresh connection is there: what is to be said goes over it from now on."""
        self._connected = True
        self._legs.append(_Leg(self._config, self._sent_characters, self._received_seconds * 1000))

    def phrases_to_send(self, now: float) -> list[str]:
        """Take the phrases that may leave now: all there are, unless the audio is far ahead of the listener."""
        phrases: list[str] = []
        if not self._connected or self.ended is not None:
            return phrases
        leg = self._legs[-1]
        while self._queue and self.room_at() <= now:
            phrase = self._queue.popleft()
            phrases.append(phrase)
            leg.spoken.sent(phrase)
            self._sent.append(phrase)
            self._sent_characters += len(phrase)
            self.characters_sent += len(phrase)
            if self._config.auto_mode and speakable(phrase):
                self._owe(now)
            if self.timeline.first_sent is None:
                self.timeline = attrs.evolve(self.timeline, first_sent=now)
        return phrases

    def end_to_send(self, now: float) -> bool:
        """Whether the end marker is to be sent now; true once for each connection."""
        if not self._connected or self._queue or not self._complete or self.ended is not None:
            return False
        leg = self._legs[-1]
        if leg.complete:
            return False
        if not speakable(leg.spoken.text):
            self._end("finished", now)  # nothing to say, or nothing left: the service is not asked
            return False
        leg.complete = True
        self._owe(now)
        return True

    def lead(self, now: float) -> float:
        """Seconds of speech ahead of the listener: received and on its way, less what was played since the first."""
        started = self.timeline.first_delivered
        return self._coming() - (0.0 if started is None else min(self._delivered.seconds, now - started))

    def _coming(self) -> float:
        """Seconds of audio received, and, by the length of their text, of those that are owed."""
        if self._owed_since is None:
            return self._received_seconds
        spoken = self._legs[-1].spoken
        return self._received_seconds + (len(spoken.text) - spoken.covered) / self._characters_a_second

    def room_at(self) -> float:
        """Return when the listener will have heard enough for more; never, while he is given nothing."""
        excess = self._coming() - self._config.max_lead
        started = self.timeline.first_delivered
        if excess <= 0:
            return -math.inf
        return math.inf if started is None or self._delivered.seconds < excess else started + excess

    # Audio comes in, and goes out.

    def receive(self, event: AudioReceived | Final, now: float) -> None:
        """Take what the service sent on the connection in use."""
        if self.ended is not None or not self._connected:
            return
        leg = self._legs[-1]
        match event:
            case AudioReceived():
                if leg.spoken.text:  # else it is a clip of silence for the init frame or a keep-alive
                    self._receive_audio(leg, event, now)
            case Final():
                if not leg.complete:
                    self.lost(TTSConnectionError("the service reported the end while text was still to come"), now)
                elif self._received_seconds * 1000 <= leg.started_ms:
                    self.lost(EmptyAudio("the service reported the end and sent no audio for the text"), now)
                else:
                    leg.spoken.final()
                    self._end("finished", now)

    def _receive_audio(self, leg: _Leg, event: AudioReceived, now: float) -> None:
        audio = leg.samples.feed(event.audio)
        before = self._clock.seconds
        self._clock.feed(audio)
        seconds = self._clock.seconds - before
        self._received_seconds += seconds
        self._last_audio = now
        covered = leg.spoken.covered
        leg.spoken.received(seconds * 1000, event.alignment, event.normalized_alignment)
        aligned = leg.spoken.covered > covered
        if self.timeline.first_received is None:
            self.timeline = attrs.evolve(self.timeline, first_received=now)
        self._phraser.lead(self.lead(now))
        if self._owed_since is not None:
            self._starved_since = now
        if not leg.complete and self._paid(leg, aligned=aligned):
            self._owed_since = self._starved_since = None
        if audio:
            self._on_audio(audio)

    @staticmethod
    def _paid(leg: _Leg, *, aligned: bool) -> bool:
        """Whether nothing more is owed for what was sent so far, the end not being asked for yet.

        Where alignment is missing, or does not map, the first audio beyond what was aligned pays: better to miss a
        stall than to see one that is none, and to say the same words twice.
        """
        if aligned:
            return not speakable(leg.spoken.text[leg.spoken.covered :])
        return leg.spoken.received_ms > leg.spoken.aligned_ms

    def delivered(self, audio: bytes, now: float) -> None:
        """Note that this audio was handed to the caller."""
        self._delivered.feed(audio)
        if self.timeline.first_delivered is None:
            self.timeline = attrs.evolve(self.timeline, first_delivered=now)

    # Time passes.

    def _owe(self, now: float) -> None:
        self._owed_since = now if self._owed_since is None else self._owed_since
        self._starved_since = now if self._starved_since is None else self._starved_since

    def excuse(self, now: float) -> None:
        """Count what is owed from now on: until now it was we who made the service wait."""
        if self._owed_since is not None:
            self._owed_since = self._starved_since = self._last_audio = now

    def deadline(self) -> float:
        """Return the time at which `expire` is to be called, if nothing happens before."""
        if self.ended is not None:
            return math.inf
        due = [self._audio_due(), self._starved_at()]
        if not self._complete:
            due += [self._last_text + self._config.text_timeout, self._phraser.deadline() or math.inf]
        if self._queue and self._connected:
            due.append(self.room_at())
        return min(due)

    def _audio_due(self) -> float:
        if self._owed_since is None or not self._connected:
            return math.inf
        if self._last_audio >= self._owed_since:
            return self._last_audio + self._config.stall_timeout
        return self._owed_since + self._config.first_audio_deadline()

    def _starved_at(self) -> float:
        return math.inf if self._starved_since is None else self._starved_since + self._config.reply_deadline

    def expire(self, now: float) -> TTSError | None:
        """Do what is due.

        Returns:
            Why the connection in use is to be given up, or None. `lost` was then called already.
        """
        if self.ended is not None:
            return None
        if self._starved_at() <= now:
            self.fail(ServiceTimeout(f"no audio within {self._config.reply_deadline:g} s"), now)
        elif self._audio_due() <= now:
            error = ServiceTimeout("audio was owed and did not come in time")
            self.lost(error, now)
            return error
        elif not self._complete:
            if self._last_text + self._config.text_timeout <= now:
                timeout = self._config.text_timeout
                self.fail(TextTimeout(f"the text was neither fed nor closed for {timeout:g} s"), now)
            elif (self._phraser.deadline() or math.inf) <= now:
                self._queue.extend(self._phraser.expire(now))
        return None

    # It goes on over another connection, or ends.

    def lost(self, error: TTSError, now: float) -> None:
        """The connection in use is lost: go on with the next one, or fail."""
        if self.ended is not None or not self._connected:
            return
        self._connected = False
        self._owed_since = None
        resumable = self._config.on_lost_connection == "resume" or not self._received_seconds
        if not error.retryable or not resumable or self.replays >= self._config.max_replays:
            self.fail(error, now)
            return
        self.replays += 1
        self._rewind()
        if self._complete and not self._queue:
            self._end("finished", now)  # it was lost after its last word: only the final is missing

    def _rewind(self) -> None:
        """Cut the audio after the last whole word that came, and put the text after it back into the queue."""
        leg = self._legs[-1]
        offset, valid_ms = leg.spoken.resume(leg.spoken.received_ms)
        leg.ended_ms = leg.started_ms + valid_ms
        invalid = self._received_seconds - max(leg.ended_ms / 1000, self._delivered.seconds)
        size = self._config.format.bytes_in(invalid)
        self._received_seconds -= invalid
        self._on_drop(size)
        keep = leg.offset + offset
        rest: list[str] = []
        while self._sent and self._sent_characters > keep:
            phrase = self._sent.pop()
            self._sent_characters -= len(phrase)
            if self._sent_characters < keep:
                cut = keep - self._sent_characters
                self._sent.append(phrase[:cut])
                self._sent_characters += cut
                phrase = phrase[cut:]
            rest.append(phrase)
        self._queue.extendleft(phrase for phrase in rest if speakable(phrase))

    def fail(self, error: TTSError, now: float) -> None:
        """End it as failed, if it has not ended; audio that has come is still delivered before the error is."""
        if self.ended is None:
            self.error = error
            self._end("failed", now)

    def interrupt(self, now: float) -> None:
        """End it as interrupted, unless it failed, or all of it was delivered."""
        if self.ended is None or (self.ended == "finished" and not self._all_delivered()):
            self._end("interrupted", now)

    def _end(self, end: End, now: float) -> None:
        self.ended = end
        self.timeline = attrs.evolve(self.timeline, ended=now)
        self._queue.clear()

    # What became of it.

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are certain, in order, on the timeline of the audio given out."""
        return tuple(word for leg in self._legs for word in leg.words())

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on, and while audio of a finished one is still to be delivered."""
        if self.ended is None or (self.ended == "finished" and not self._all_delivered()):
            return None
        seconds = self._delivered.seconds
        spoken = self.spoken(math.inf if self.ended == "finished" else seconds * 1000)
        unspoken = "".join(self._accepted)[len(spoken) :]
        if self.error is not None:
            self.error.spoken_text, self.error.unspoken_text = spoken, unspoken
        return Outcome(self.ended, self.error, seconds, spoken, unspoken)

    def spoken(self, until_ms: float) -> str:
        """Return the accepted text up to the last word that had ended after so many milliseconds of audio."""
        accepted = "".join(self._accepted)
        if self.ended == "finished" and until_ms >= self._received_seconds * 1000:
            return accepted
        legs = [leg for leg in self._legs if leg.started_ms <= until_ms]
        sent = "".join(self._sent)[: legs[-1].spoken_characters(until_ms)] if legs else ""
        return accepted[: _end_of_same_text(accepted, sent)]

    def _all_delivered(self) -> bool:
        return self._delivered.seconds >= self._received_seconds


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
