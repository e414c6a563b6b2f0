"""One utterance without I/O: what may be sent, what is due when, over how many connections it goes, how it ends.

Where a connection is lost the rest of the text goes to the next one. Nothing here knows a clock, a socket or a task:
the time comes in with every call, and `has_connection`, `phrases_to_send`, `end_to_send`, `deadline` and `ended` say
what to do.
"""

from __future__ import annotations

import math

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.config.formats import AudioFormat
from tts_trio.config.models import is_dialogue_model
from tts_trio.errors import (
    ProtocolError,
    ServiceTimeoutError,
    TTSConnectionError,
    TTSError,
    UtteranceEndedError,
)
from tts_trio.speech.deadlines import Deadlines
from tts_trio.speech.lead import Lead
from tts_trio.speech.playback import Playback
from tts_trio.speech.report import Report
from tts_trio.speech.results import End, Timeline
from tts_trio.text import phrases_for, speakable
from tts_trio.text.input import TextInput
from tts_trio.wire.events import AudioReceived, Final


class Utterance(Report):
    """The state of one utterance, from its first token to its end, and what is to be done next.

    Attributes:
        playback: What the far end was given, and has heard.
        format: The format of the audio.
        awaited: Whether the caller has asked for audio: then it is there that he learns of a failure.
        dismissed: Whether the caller closed the audio before he left its block.
        paused: Whether no audio is read until the listener has heard more; the service, which waits then, is not late.
        deadlines: When audio that is owed is overdue.
        admitted: Whether phrases may leave; where a limiter has the say, when there is a slot.
        has_connection: Whether a connection is in use; where it is not, and `ended` is None, another one is wanted.
    """

    ended: End | None  # declared again, for `pyright --verifytypes`: they are assigned here too
    timeline: Timeline

    def __init__(self, config: TTSConfig, now: float, *, resumes: bool = True) -> None:
        """Begin an utterance.

        Args:
            config: Format and deadlines.
            now: The time, in seconds, as in all other methods.
            resumes: When a connection is lost after some audio, the rest can be had over another one.
        """
        super().__init__(config, now, in_messages=resumes)
        self.playback: Playback = Playback(now)
        self.deadlines: Deadlines = Deadlines(config)
        self.format: AudioFormat = config.format
        self.awaited: bool = False
        self.dismissed: bool = False
        self.paused: bool = False
        self.admitted: bool = True
        self.has_connection: bool = False
        self._config = config
        self._resumes = resumes and config.on_lost_connection == "resume"
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
        self._lead = Lead(self.segments, self.deadlines, self.playback)

    # Text comes in.

    def accept(self, token: str, now: float) -> None:
        """Take a piece of text.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEndedError: The utterance, or its text, has ended.
            TTSError: It failed.
        """
        if (error := self.error) is not None:
            raise error
        if self.ended is not None:
            raise UtteranceEndedError(f"the reply is {self.ended}: it takes no more text")
        if self._input.closed:
            raise UtteranceEndedError("the text of this reply was closed")
        self._input.take(token, now)
        self._read(now)

    def complete(self, now: float) -> None:
        """Say that the text is complete. Saying so twice, or after the end, changes nothing."""
        if self.ended is None and not self._input.closed:
            self._input.close()
            self._read(now)

    def say(self, text: str, now: float) -> None:
        """Take a text as one phrase, complete: what a static text is."""
        self._lead.characters_a_second = math.inf
        self._accept(self._input.take_whole(text), now)

    def _read(self, now: float) -> None:
        self._accept(self._input.read(now, self._lead.seconds(now)), now)

    def _accept(self, text: str, now: float) -> None:
        if text:
            self.segments.accept(text)
            if self.timeline.first_text is None:
                self.timeline = attrs.evolve(self.timeline, first_text=now)

    # Text goes out. When a phrase leaves is decided here, by four questions:
    #
    # 1. May it? There is a connection, a slot of the plan's, and no end marker was sent over this connection.
    # 2. Can it be told where it ends in the audio? Only the times of its words tell, and whether the service sends
    #    times is known by its first audio. So one phrase leaves at first. If its audio has times, all others follow
    #    over the same connection. If it has none, the end marker follows, the final tells where the phrase ended, and
    #    the next phrase goes over another connection. (Without `auto_mode` all phrases leave at once, for the service
    #    waits for more text before it speaks.)
    # 3. Is there room? No phrase leaves while more than `max_lead` seconds of speech are ahead of the listener.
    # 4. Was that all? When the text is complete and every phrase has left, the end marker leaves.

    def connected(self) -> None:
        """Note that there is a fresh connection: text goes over it from now on. After the end it is not used."""
        if self.ended is None:
            self.has_connection = True
            self.segments.begin()

    def phrases_to_send(self, now: float) -> list[str]:
        """Take the phrases that may leave now, in order."""
        phrases: list[str] = []
        while self._input.phrases and self._takes_text() and self.room_at() <= now:
            phrase = self._input.next_phrase()
            phrases.append(phrase)
            self.segments.current.send(phrase)
            if self._config.auto_mode and speakable(phrase):
                self.deadlines.start(now)
            if self.timeline.first_sent is None:
                self.timeline = attrs.evolve(self.timeline, first_sent=now)
        return phrases

    @property
    def has_phrases(self) -> bool:
        """Whether phrases wait to be sent."""
        return bool(self._input.phrases)

    def end_to_send(self, now: float) -> bool:
        """Whether the end marker is to be sent now; true once for each connection."""
        if not self.has_connection or self.segments.current.complete:
            return False
        segment = self.segments.current
        untimed = segment.heard and not segment.timed  # its final tells where it ends
        if not untimed and (self._input.phrases or not self._input.complete):
            return False
        if not speakable(segment.spoken.text):
            self._end("finished", now)  # nothing to say, or nothing left: the service is not asked
            return False
        segment.complete = True
        self.deadlines.start(now)
        return True

    def _takes_text(self) -> bool:
        if not (self.admitted and self.has_connection) or self.segments.current.complete:
            return False
        if self.segments.current.heard:
            return self.segments.current.timed
        return not self._config.auto_mode or not self.segments.current.spoken.text

    def room_at(self) -> float:
        """Return when the listener will have heard enough for more; never, while he is given nothing."""
        return self._lead.falls_to(self._config.max_lead)

    # Audio comes in, and goes out.

    def receive(self, event: AudioReceived | Final, now: float) -> TTSConnectionError | None:
        """Take what the service sent on the connection in use.

        Returns:
            Why that connection is no good any more, or None. `lost` or `fail` was then called already.
        """
        if not self.has_connection:
            return None
        match event:
            case AudioReceived():
                if self.segments.current.spoken.text:  # else it is a clip of silence for the init frame or a keep-alive
                    return self._receive_audio(event, now)
            case Final():
                self._receive_final(now)
        return None

    def _receive_audio(self, event: AudioReceived, now: float) -> TTSConnectionError | None:
        segment = self.segments.current
        if segment.exceeds(event):
            says = f"more than {segment.longest_seconds:g} s of audio came for the text sent"
            self.fail(ProtocolError(says), now)
            return TTSConnectionError(says)
        seconds = self.segments.receive(event)
        self.deadlines.receive(seconds, now)
        if self.timeline.first_received is None and self.segments.waiting:
            self.timeline = attrs.evolve(self.timeline, first_received=now)
        if segment.spoken.lost_audio:
            error = TTSConnectionError("a part of the audio did not come")
            self.lost(error, now)
            return error
        if not segment.complete and segment.settled:
            self.deadlines.stop()
        return None

    def _receive_final(self, now: float) -> None:
        """End what went over this connection; the utterance ends with it, or goes on over the next one."""
        error = self.segments.current.finish()
        if error is not None:
            self.lost(error, now)
            return
        self.has_connection = False
        self.deadlines.stop()
        if self._input.complete and not self._input.phrases:
            self._end("finished", now)

    def deliver(self, now: float) -> bytes:
        """Take the next piece of audio to hand to the caller, in whole samples; `b""` if there is none."""
        delivered = self.segments.delivered_seconds
        audio = self.segments.deliver()
        if audio and self.timeline.first_delivered is None:
            self.timeline = attrs.evolve(self.timeline, first_delivered=now)
        if audio and not self.playback.paced:
            self.playback.give(self.segments.delivered_seconds - delivered, now)
        return audio

    @property
    def readable(self) -> bool:
        """Whether there is something to tell who waits for audio: a piece of it, the end, or that the caller left."""
        return self.ended is not None or self.playback.left or self.segments.waiting > 0

    @property
    def waits_for_playback(self) -> bool:
        """Whether something is to be done when the listener has heard more."""
        return self.paused or bool(self._input.phrases)

    # Time passes.

    def deadline(self) -> float:
        """Return the time at which `expire` is to be called, if nothing happens before."""
        if self.ended is not None:
            return math.inf
        due = [self.deadlines.due(), self.deadlines.starved_at(), self._input.deadline()]
        if self._input.phrases and self._takes_text():
            due.append(self.room_at())
        return min(due)

    def overdue_at(self) -> float:
        """Return the time from which on somebody is late: the service with audio, or the caller with text."""
        if self.ended is not None or self.paused:
            return math.inf
        return min(self.deadlines.due(), self.deadlines.starved_at(), self._input.given_up_at())

    def expire(self, now: float) -> TTSError | None:
        """Do what is due; where `overdue_at` has passed, only after everything that had come by then was taken.

        Returns:
            Why the connection in use is to be given up, or None. `lost` was then called already.
        """
        if self.ended is not None:
            return None
        if self.deadlines.starved_at() <= now:
            self.fail(ServiceTimeoutError(f"no audio within {self._config.timeouts.reply:g} s"), now)
        elif self.deadlines.due() <= now:
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
        """Note that the connection in use is lost: go on with the next one, or fail."""
        if not self.has_connection:
            return
        self.has_connection = False
        self.deadlines.pause()
        resumable = self._resumes or self.timeline.first_received is None
        if self._input.complete and not self._input.phrases and not speakable(self.segments.unheard()):
            self._end("finished", now)  # only the final is missing
        elif not resumable or not self.replays.allow(error):
            if self.segments.current.spoken.lost_audio:
                self.segments.take_back()  # what came behind the part that is missing is not for the listener
            self.fail(error, now)
        else:
            self.replays.note(error)
            self._input.put_back(self.segments.take_back())

    def fail(self, error: TTSError, now: float) -> None:
        """End it as failed, if it has not ended; audio that has come is still delivered before the error is."""
        if self.ended is None:
            self._note_failure(error)
            self._end("failed", now)

    def interrupt(self, now: float) -> None:
        """End it as interrupted, unless it failed, or all of it was delivered."""
        if self.ended is None or (self.ended == "finished" and self.segments.waiting):
            self._end("interrupted", now)

    def leave(self, now: float, *, dismissed: bool) -> None:
        """Note that the caller left: what is not finished is interrupted, and what was not played never will be.

        Args:
            now: The time.
            dismissed: He closed the audio, and is still in its block.
        """
        self.dismissed = dismissed
        self.playback.leave(now, whole=self.ended == "finished" and not self.segments.waiting)
        self.interrupt(now)

    def _end(self, end: End, now: float) -> None:
        self.ended = end
        self.has_connection = False
        self.timeline = attrs.evolve(self.timeline, ended=now)
        self.segments.accept(self._input.drop())
