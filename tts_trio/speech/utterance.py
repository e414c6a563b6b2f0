"""One utterance without I/O: what may be sent, what is due when, over how many connections it goes, how it ends.

Where a connection is lost the rest of the text goes to the next one. Nothing here knows a clock, a socket or a task:
the time comes in with every call, and `has_connection`, `phrases_to_send`, `end_to_send`, `deadline` and `ended` say
what to do. The ledger (`ledger.py`) knows what was accepted, sent, received and delivered.
"""

from __future__ import annotations

import copy
import math

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import is_dialogue_model
from tts_trio.errors import (
    ConcurrencyError,
    EmptyAudioError,
    ProtocolError,
    ServiceTimeoutError,
    TTSConnectionError,
    TTSError,
    UtteranceEndedError,
)
from tts_trio.speech.deadlines import AudioDebt
from tts_trio.speech.playback import Listener
from tts_trio.speech.results import End, Outcome, Receipt, Summary, Timeline, Usage, Word
from tts_trio.speech.segments import Ledger, Leg
from tts_trio.text import phrases_for, speakable
from tts_trio.text.input import TextInput
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.events import AudioReceived, Final

_EMPTY = (
    "the service reported the end and sent no audio for the text; the likely cause is an exhausted quota, of which the "
    "multi-stream WebSockets say nothing else"
)


class Utterance:
    """The state of one reply, from its first token to its end.

    Attributes:
        ended: How it ended, as far as the service is concerned, or None.
        timeline: When its parts happened.
        listener: What the far end was given, and has heard.
        format: The format of the audio.
        receipt: What the service said of its cost.
        awaited: Whether the caller has asked for audio: then it is there that he learns of a failure.
        dismissed: Whether the caller closed the audio before he left its block.
        paused: Whether no audio is read until the listener has heard more; the service, which waits then, is not late.
        replays: How many times a part of it was said again over another connection.
        admitted: Whether phrases may leave; where a limiter has the say, when there is a slot.
        has_connection: Whether a connection is in use; where it is not, and `ended` is None, another one is wanted.
    """

    def __init__(self, config: TTSConfig, now: float, *, resumes: bool = True) -> None:
        """Begin an utterance.

        Args:
            config: Format and deadlines.
            now: The time, in seconds, as in all other methods.
            resumes: When a connection is lost after some audio, the rest can be had over another one.
        """
        self.ended: End | None = None
        self.timeline = Timeline(started=now)
        self.listener = Listener(now)
        self.format = config.format
        self.receipt = Receipt()
        self.awaited = False
        self.dismissed = False
        self.paused = False
        self.replays = 0
        self.admitted = True
        self.has_connection = False
        self._config = config
        self._resumes = resumes and config.on_lost_connection == "resume"
        self._ledger = Ledger(config, in_messages=resumes)
        self._input = TextInput(
            phrases_for(
                config.phrase_policy,
                language_code=config.language_code,
                ssml=config.enable_ssml_parsing,
                audio_tags=is_dialogue_model(config.model_id),
            ),
            now,
            max_characters=config.max_characters,
            text_timeout=config.timeouts.text,
            strip_markdown=config.strip_markdown,
        )
        self._error: TTSError | None = None
        self._came_empty = False  # the last connection said "done" and gave no sound
        self._characters_a_second = CHARACTERS_A_SECOND  # of text that was sent, before its audio has come
        self._debt = AudioDebt(config)

    # Text comes in.

    def accept(self, token: str, now: float) -> None:
        """Take a piece of text.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEndedError: The utterance, or its text, has ended.
            TTSError: It failed.
        """
        self._require_text_open()
        self._input.take(token, now)
        self._read(now)

    def complete(self, now: float) -> None:
        """Say that the text is complete. Saying so twice, or after the end, changes nothing."""
        if self.ended is None and not self._input.closed:
            self._input.close()
            self._read(now)

    def say(self, text: str, now: float) -> None:
        """Take a text as one phrase, complete: what a static text is."""
        self._characters_a_second = math.inf  # its audio is read as the listener needs it, so none is on its way
        self._accept(self._input.take_whole(text), now)

    def _read(self, now: float) -> None:
        self._accept(self._input.read(now, self.lead(now)), now)

    def _accept(self, text: str, now: float) -> None:
        if text:
            self._ledger.accept(text)
            if self.timeline.first_text is None:
                self.timeline = attrs.evolve(self.timeline, first_text=now)

    def _require_text_open(self) -> None:
        if (error := self.error) is not None:
            raise error
        if self.ended is not None:
            raise UtteranceEndedError(f"the reply is {self.ended}: it takes no more text")
        if self._input.closed:
            raise UtteranceEndedError("the text of this reply was closed")

    # Text goes out.

    def connected(self) -> None:
        """A fresh connection is there: what is to be said goes over it from now on. After the end it is not used."""
        if self.ended is None:
            self.has_connection = True
            self._ledger.begin_leg()

    def phrases_to_send(self, now: float) -> list[str]:
        """Take the phrases that may leave now: all there are, unless the audio is far ahead of the listener.

        Where a phrase ends in the audio is known by its times. So, until it is known that the service sends them, one
        phrase is on its way at a time; and where there are none, each phrase goes over a connection of its own.
        """
        phrases: list[str] = []
        while self._input.phrases and self._takes_text() and self.room_at() <= now:
            phrase = self._input.next_phrase()
            phrases.append(phrase)
            self._ledger.send(phrase)
            if self._config.auto_mode and speakable(phrase):
                self._debt.incur(now)
            if self.timeline.first_sent is None:
                self.timeline = attrs.evolve(self.timeline, first_sent=now)
        return phrases

    @property
    def has_phrases(self) -> bool:
        """Whether phrases wait to be sent."""
        return bool(self._input.phrases)

    def end_to_send(self, now: float) -> bool:
        """Whether the end marker is to be sent now; true once for each connection."""
        if not self.has_connection or self.ended is not None or self._leg.complete:
            return False
        leg = self._leg
        untimed = leg.heard and not leg.timed  # its final tells where it ends
        if not untimed and (self._input.phrases or not self._input.complete):
            return False
        if not speakable(leg.spoken.text):
            self._end("finished", now)  # nothing to say, or nothing left: the service is not asked
            return False
        leg.complete = True
        self._debt.incur(now)
        return True

    @property
    def _leg(self) -> Leg:
        return self._ledger.legs[-1]

    def _takes_text(self) -> bool:
        if not (self.admitted and self.has_connection) or self.ended is not None or self._leg.complete:
            return False
        if self._leg.heard:
            return self._leg.timed
        return not self._config.auto_mode or not self._leg.spoken.text

    def lead(self, now: float) -> float:
        """Seconds of speech ahead of the listener: received and on its way, less what was heard."""
        return self._coming() - self.listener.heard(now)

    def _coming(self) -> float:
        """Seconds of audio received, and, by the length of their text, of those that are owed."""
        received = self._ledger.received_seconds
        if not self._debt.owed:
            return received
        spoken = self._leg.spoken
        return received + (len(spoken.text) - spoken.covered) / self._characters_a_second

    def room_at(self) -> float:
        """Return when the listener will have heard enough for more; never, while he is given nothing."""
        excess = self._coming() - self._config.max_lead
        return -math.inf if excess <= 0 else self.listener.hears(excess)

    # Audio comes in, and goes out.

    def receive(self, event: AudioReceived | Final, now: float) -> TTSConnectionError | None:
        """Take what the service sent on the connection in use.

        Returns:
            Why that connection is no good any more, or None. `lost` or `fail` was then called already.
        """
        if self.ended is not None or not self.has_connection:
            return None
        match event:
            case AudioReceived():
                if self._leg.spoken.text:  # else it is a clip of silence for the init frame or a keep-alive
                    return self._receive_audio(event, now)
            case Final():
                self._receive_final(now)
        return None

    def _receive_audio(self, event: AudioReceived, now: float) -> TTSConnectionError | None:
        leg = self._leg
        if leg.exceeds(event):
            says = f"more than {leg.longest_seconds:g} s of audio came for the text sent"
            self.fail(ProtocolError(says), now)
            return TTSConnectionError(says)
        covered, received = leg.spoken.covered, leg.spoken.received_ms
        self._ledger.receive(event)
        self._debt.receive((leg.spoken.received_ms - received) / 1000, now)
        if self.timeline.first_received is None:
            self.timeline = attrs.evolve(self.timeline, first_received=now)
        if leg.spoken.lost_audio:
            error = TTSConnectionError("a part of the audio did not come")
            self.lost(error, now)
            return error
        if not leg.complete and self._paid(leg, aligned=leg.spoken.covered > covered):
            self._debt.pay()
        return None

    @staticmethod
    def _paid(leg: Leg, *, aligned: bool) -> bool:
        """Whether nothing more is owed for what was sent so far, the end not being asked for yet.

        Where alignment does not map, the first audio beyond what was aligned pays: better to miss a stall than to see
        one that is none, and to say the same words twice. Without times the end is asked for, and the final pays.
        """
        if not leg.timed:
            return False
        if not speakable(leg.spoken.text[leg.spoken.covered :]):
            return not leg.spoken.lacks_audio(strictly=False)
        return not aligned and leg.spoken.received_ms > leg.spoken.aligned_ms

    def _receive_final(self, now: float) -> None:
        """The service ends this connection's part: the utterance ends with it, or goes on over the next one."""
        leg = self._leg
        if not leg.heard:
            self.lost(EmptyAudioError(_EMPTY), now)
        elif leg.lacks_audio:
            self.lost(TTSConnectionError("the service reported the end before all was spoken"), now)
        else:
            leg.spoken.final()
            self.has_connection = False
            self._debt.pay()
            if self._input.complete and not self._input.phrases:
                self._end("finished", now)

    def deliver(self, now: float) -> bytes:
        """Take the next piece of audio to hand to the caller, in whole samples; `b""` if there is none."""
        delivered = self._ledger.delivered_seconds
        audio = self._ledger.deliver()
        if audio and self.timeline.first_delivered is None:
            self.timeline = attrs.evolve(self.timeline, first_delivered=now)
        if audio and not self.listener.paced:
            self.listener.give(self._ledger.delivered_seconds - delivered, now)
        return audio

    @property
    def undelivered(self) -> int:
        """How many pieces of audio wait for the caller."""
        return self._ledger.waiting

    @property
    def readable(self) -> bool:
        """Whether there is something to tell who waits for audio: a piece of it, the end, or that the caller left."""
        return self.ended is not None or self.left or bool(self.undelivered)

    @property
    def left(self) -> bool:
        """Whether the caller closed the audio, or left its block."""
        return self.listener.left

    @property
    def waits_for_playback(self) -> bool:
        """Whether something is to be done when the listener has heard more."""
        return self.paused or bool(self._input.phrases)

    # Time passes.

    def excuse(self, now: float) -> None:
        """Count what is owed from now on: until now it was we who made the service wait."""
        self._debt.excuse(now)

    def ask_anew(self, now: float) -> None:
        """Count the first audio from now on: what was asked for before now failed, and not for this utterance."""
        if self._debt.owed:
            self._debt.forget()
            self._debt.incur(now)

    def deadline(self) -> float:
        """Return the time at which `expire` is to be called, if nothing happens before."""
        if self.ended is not None:
            return math.inf
        due = [self._debt.due(), self._debt.starved_at(), self._input.deadline()]
        if self._input.phrases and self._takes_text():
            due.append(self.room_at())
        return min(due)

    def overdue_at(self) -> float:
        """Return the time from which on somebody is late: the service with audio, or the caller with text."""
        if self.ended is not None or self.paused:
            return math.inf
        return min(self._debt.due(), self._debt.starved_at(), self._input.given_up_at())

    def expire(self, now: float) -> TTSError | None:
        """Do what is due; where `overdue_at` has passed, only after everything that had come by then was taken.

        Returns:
            Why the connection in use is to be given up, or None. `lost` was then called already.
        """
        if self.ended is not None:
            return None
        if self._debt.starved_at() <= now:
            self.fail(ServiceTimeoutError(f"no audio within {self._config.timeouts.reply:g} s"), now)
        elif self._debt.due() <= now:
            error = ServiceTimeoutError("audio was owed and did not come in time")
            self.lost(error, now)
            return error
        elif self._input.unread:
            self._read(now)
        elif (timeout := self._input.expire(now)) is not None:
            self.fail(timeout, now)
        return None

    # It goes on over another connection, or ends.

    def lost(self, error: TTSError, now: float) -> None:
        """The connection in use is lost: go on with the next one, or fail."""
        if self.ended is not None or not self.has_connection:
            return
        self.has_connection = False
        self._debt.forget()
        resumable = self._resumes or self._ledger.silent
        if self._input.complete and not self._input.phrases and not speakable(self._ledger.unheard()):
            self._end("finished", now)  # only the final is missing
        elif not error.retryable or not resumable or not self._may_replay(error):
            if self._leg.spoken.lost_audio:
                self._ledger.take_back()  # what came behind the part that is missing is not for the listener
            self.fail(error, now)
        else:
            self.replays += not self._waits_for_slot(error)
            self._came_empty = isinstance(error, EmptyAudioError)
            self._input.put_back(self._ledger.take_back())

    def _may_replay(self, error: TTSError) -> bool:
        """Whether this may be tried once more; what came empty twice will do so again."""
        if isinstance(error, EmptyAudioError) and self._came_empty:
            return False
        return self._waits_for_slot(error) or self.replays < self._config.max_replays

    def _waits_for_slot(self, error: TTSError) -> bool:
        """Whether it was refused for now, and is sent when the limiter has a slot again, within `timeouts.reply`."""
        return isinstance(error, ConcurrencyError) and self._config.limiter is not None

    def fail(self, error: TTSError, now: float) -> None:
        """End it as failed, if it has not ended; audio that has come is still delivered before the error is."""
        if self.ended is None:
            self._error = copy.copy(error)  # others may be told of the same one: this one tells what was spoken here
            self._error.__cause__ = error.__cause__
            self._end("failed", now)

    def interrupt(self, now: float) -> None:
        """End it as interrupted, unless it failed, or all of it was delivered."""
        if self.ended is None or (self.ended == "finished" and self.undelivered):
            self._end("interrupted", now)

    def leave(self, now: float, *, dismissed: bool) -> None:
        """The caller wants no more of it: what is not finished is interrupted, what was not played never will be.

        Args:
            now: The time.
            dismissed: He closed the audio, and is still in its block.
        """
        self.dismissed = dismissed
        self.listener.leave(now, whole=self.ended == "finished" and not self.undelivered)
        self.interrupt(now)

    def _end(self, end: End, now: float) -> None:
        self.ended = end
        self.has_connection = False
        self.timeline = attrs.evolve(self.timeline, ended=now)
        self._ledger.accept(self._input.drop())

    # What became of it.

    @property
    def usage(self) -> Usage:
        """What it cost so far."""
        receipt = self.receipt
        characters = self._ledger.characters_sent if receipt.charged else 0
        return Usage(characters, receipt.credits, receipt.request_id, receipt.trace_id, self.replays)

    @property
    def summary(self) -> Summary:
        """What is to be told of it when it is over."""
        return Summary(
            self.ended, self.error, self.timeline, self.usage, self.received_seconds, self._ledger.waiting_bytes
        )

    @property
    def received_seconds(self) -> float:
        """Audio received, and not taken back to be said again."""
        return self._ledger.received_seconds

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known, or estimated, in order, on the timeline of the audio given out."""
        return self._ledger.words

    @property
    def error(self) -> TTSError | None:
        """Why it failed, with what was spoken, of what was delivered by now; None if it did not."""
        if self._error is not None:
            self._error.spoken_text, self._error.unspoken_text = self._divided()
        return self._error

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on, and while audio of a finished one is still to be delivered."""
        if self.ended is None or (self.ended == "finished" and self.undelivered):
            return None
        delivered_ms = self._ledger.delivered_seconds * 1000
        estimated = self.ended != "finished" and self._ledger.estimated(delivered_ms)
        return Outcome(self.ended, self.error, delivered_ms, *self._divided(), estimated)

    def spoken(self, until_ms: float) -> str:
        """Return the accepted text up to the last word that had ended after so many milliseconds of audio.

        Where the service did not say when the words are heard, that is estimated by the text's length.
        """
        if self.ended == "finished" and until_ms >= self._ledger.received_seconds * 1000:
            return self._ledger.accepted
        return self._ledger.spoken(until_ms)

    def _divided(self) -> tuple[str, str]:
        """The text accepted, divided into what was spoken, of what was delivered, and the rest."""
        all_delivered = self.ended == "finished" and not self.undelivered
        spoken = self.spoken(math.inf if all_delivered else self._ledger.delivered_seconds * 1000)
        return spoken, self._ledger.accepted[len(spoken) :]
