"""Decides, without I/O, what an utterance may send, when it is late, when it needs another connection, how it ends.

When a connection is lost, the rest of the text is sent over the next one. Nothing here knows a clock, a socket or a
task: the time is an argument of every call, and the driver reads what to do from `has_connection`, `phrases_to_send`,
`end_to_send`, `deadline` and `ended`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tts_trio.config.config import TTSConfig
from tts_trio.config.formats import AudioFormat
from tts_trio.errors import ProtocolError, TTSConnectionError, TTSError, UtteranceEndedError
from tts_trio.speech.deadlines import Deadlines
from tts_trio.speech.lead import Lead
from tts_trio.speech.playback import Playback
from tts_trio.speech.report import Report
from tts_trio.speech.results import End
from tts_trio.text import speakable
from tts_trio.text.input import TextInput
from tts_trio.wire.events import AudioReceived, Final

if TYPE_CHECKING:
    from tts_trio.speech.openings import Openings


class Utterance(Report):
    """The state of one utterance, from its first token to its end.

    Attributes:
        playback: What the far end was given, and has played.
        format: The format of the audio.
        awaited: Whether the caller has called `receive`, which then raises a failure in place of the block's end.
        dismissed: Whether the caller closed the audio before the block was left.
        paused: Whether the driver reads no audio until the listener has heard more. The service waits meanwhile, and
            is not late.
        deadlines: When the audio that the service owes is overdue.
        admitted: Whether phrases may be sent: with a limiter, whether the utterance has a slot.
        phrases: The phrases that wait to be sent.
        unread: The pieces of text that wait to be read.
        quiet: Seconds from a piece of text to the earliest deadline that it sets, once it was read.
        has_connection: Whether a connection is in use. If not, and `ended` is None, the utterance needs another one.
    """

    __slots__ = (
        "_config", "_input", "_lead", "_resumes", "admitted", "awaited", "deadlines", "dismissed", "format",
        "has_connection", "paused", "phrases", "playback", "quiet", "unread",
    )  # fmt: skip

    ended: End | None  # declared again, for `pyright --verifytypes`: it is assigned here too

    def __init__(self, config: TTSConfig, now: float, *, static: bool = False) -> None:
        """Begin an utterance.

        Args:
            config: The configuration.
            now: The time in seconds, of the same clock as in all other methods.
            static: Whether it is a static text, which `say` takes. After some audio has come, the rest of it cannot be
                requested over another connection.
        """
        super().__init__(config, now, in_messages=not static)
        self.playback: Playback = Playback(now)
        self.deadlines: Deadlines = Deadlines(config)
        self.format: AudioFormat = config.format
        self.awaited: bool = False
        self.dismissed: bool = False
        self.paused: bool = False
        self.admitted: bool = True
        self.has_connection: bool = False
        self._config = config
        self._resumes = not static and config.on_lost_connection == "resume"
        self._input = TextInput.of_static_text(config, now) if static else TextInput.of(config, now)
        self.phrases: deque[str] = self._input.phrases
        self.unread: deque[str] = self._input.unread
        self.quiet: float = self._input.quiet
        self._lead = Lead(self.segments, self.deadlines, self.playback)

    # Text comes in.

    def accept(self, token: str, now: float) -> None:
        """Take a piece of text.

        Raises:
            TypeError: The text is not a `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEndedError: The utterance has ended, or its text was closed.
            TTSError: The utterance failed.
        """
        if self.ended is not None:
            says = f"the reply is {self.ended}, so it takes no more text; start another reply"
            raise self.error or UtteranceEndedError(says)
        if self._input.closed:
            raise UtteranceEndedError("the text of this reply was closed; start another reply")
        self._input.take(token, now)
        self._read(now)

    def complete(self, now: float) -> None:
        """Close the text. A second call, or a call after the end, changes nothing."""
        if self.ended is None and not self._input.closed:
            self._input.close()
            self._read(now)

    def say(self, text: str, now: float) -> None:
        """Take a text that is known as a whole as the only phrase, and close it."""
        self._lead.characters_a_second = math.inf
        self._accept([(text, self._input.take_whole(text))], now)

    def _read(self, now: float) -> None:
        self._accept(self._input.read(now, self._lead.seconds(now)), now)

    def _accept(self, pieces: Iterable[tuple[str, str]], now: float) -> None:
        for said, source in pieces:
            if source:
                self.segments.accepted_text.add(said, source)
                self.moments.setdefault("first_text", now)

    # Text goes out. Four rules decide when a phrase is sent:
    #
    # 1. The utterance has a connection and a slot, and has not sent the end marker over this connection.
    # 2. It will be known where the phrase ends in the audio. Only the times of its words tell that, and the first audio
    #    shows whether the service sends times. So one phrase is sent at first. If its audio has times, all others are
    #    sent over the same connection. If it has none, the end marker is sent, the final tells where the phrase ended,
    #    and the next phrase is sent over another connection. (Without `auto_mode` all phrases are sent at once, because
    #    the service waits for more text before it speaks.)
    # 3. At most `max_lead` seconds of speech are ahead of the listener.
    # 4. When the text is closed and every phrase was sent, the end marker is sent. If there is no connection then, all
    #    was said, since what was lost with the last one is a phrase again: the utterance ends.

    def connected(self) -> None:
        """Note a new connection, over which text is sent from now on. After the end it is not used."""
        if self.ended is None:
            self.has_connection = True
            carrier = self.replays.connected()
            self.segments.begin(carrier)
            self.deadlines.begin(carrier)

    def phrases_to_send(self, now: float) -> list[str]:
        """Take the phrases that may be sent now, in order."""
        phrases: list[str] = []
        while self.phrases and self._takes_text() and self.room_at() <= now:
            phrase = self._input.next_phrase()
            phrases.append(phrase)
            self.segments.current.send(phrase)
            if self._config.auto_mode and speakable(phrase):
                self.deadlines.start(now)
            self.moments.setdefault("first_sent", now)
        return phrases

    def text_deadline(self) -> float:
        """Return the part of `deadline` that a token changes which has made no phrase."""
        return self._input.deadline()

    def say_from_memory(self, openings: Openings, now: float) -> bool:
        """Say the first phrases from memory; return whether that is over."""
        from tts_trio.speech.openings import recall  # loaded late: few ask for it

        if (since := self.moments.get("first_text")) is None or self.ended is not None:
            return False
        is_over = recall(openings, self._input, self.segments, since=since, connected=self.has_connection)
        if self.segments.waiting:
            self.moments.setdefault("first_received", now)
        return is_over

    def end_to_send(self, now: float) -> bool:
        """Whether to send the end marker now; True once for each connection. Where all was said, the utterance ends."""
        if not self.has_connection:
            if self.ended is None and self._input.complete and not speakable("".join(self.phrases)):
                self._end("finished", now)
            return False
        if self.segments.current.complete:
            return False
        segment = self.segments.current
        untimed = segment.heard and not segment.timed  # only its final tells where its text ends
        if not untimed and (self.phrases or not self._input.complete):
            return False
        if not speakable(segment.spoken.text):
            self._end("finished", now)  # there is nothing to speak, or nothing left, so the service is not asked
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
        """Return when at most `max_lead` seconds will be ahead of the listener; infinity while he is given nothing."""
        return self._lead.falls_to(self._config.max_lead)

    # Audio comes in, and goes out.

    def receive(self, event: AudioReceived | Final, now: float) -> TTSConnectionError | None:
        """Take audio or a final that came over the connection in use.

        Returns:
            Why the connection must be abandoned, or None. `lost` or `fail` was then called already.
        """
        if not self.has_connection:
            return None
        if isinstance(event, Final):
            self._receive_final(now)
            return None
        segment = self.segments.current
        if not segment.phrase_ends:  # audio before any text answers the init frame or a keep-alive
            return None
        if segment.received_bytes + len(event.audio) > segment.most_bytes:
            says = f"the service sent more than {segment.longest_seconds:g} s of audio for the text sent"
            self.fail(ProtocolError(says), now)
            return TTSConnectionError(says)
        seconds = self.segments.receive(event)
        self.deadlines.receive(seconds, now)
        if self.segments.waiting:
            self.moments.setdefault("first_received", now)
        if segment.spoken.lost_audio:
            error = TTSConnectionError("the service left out a part of the audio")
            self.lost(error, now)
            return error
        if not segment.complete and segment.settled:
            self.deadlines.stop()
        return None

    def _receive_final(self, now: float) -> None:
        """End the segment of this connection. The utterance ends with it, or goes on over the next one."""
        error = self.segments.current.finish()
        if error is not None:
            self.lost(error, now)
            return
        self.has_connection = False
        self.deadlines.stop()
        if self._input.complete and not self.phrases:
            self._end("finished", now)

    def deliver(self, now: float) -> bytes:
        """Take the next piece of audio for the caller, in whole samples; `b""` if there is none."""
        if not self.segments.waiting:
            return b""
        audio, seconds = self.segments.deliver()
        if not self.segments.delivered_filler:
            self.moments.setdefault("first_delivered", now)
        if not self.playback.paced:
            self.playback.give(seconds, now)
        return audio

    @property
    def only_listens(self) -> bool:
        """Whether audio changes only what there is to read: all text was sent, and the first audio of it has come."""
        sent = self.has_connection and self.segments.current.complete
        return sent and self.ended is None and not self.deadlines.awaits_first

    @property
    def waits_for_playback(self) -> bool:
        """Whether the driver must act when the listener has heard more."""
        return self.paused or self.fills or bool(self.phrases)

    # Time passes.

    def deadline(self) -> float:
        """Return the time at which to call `expire` if nothing happens before."""
        if self.ended is not None:
            return math.inf
        due = [self.deadlines.due(), self.deadlines.starved_at(), self._input.deadline()]
        if self.phrases and self._takes_text():
            due.append(self.room_at())
        return min(due)

    def overdue_at(self) -> float:
        """Return the time from which on the service is late with audio, or the caller with text."""
        if self.ended is not None or self.paused:
            return math.inf
        return min(self.deadlines.due(), self.deadlines.starved_at(), self._input.given_up_at())

    def expire(self, now: float) -> TTSError | None:
        """Do what is due. After `overdue_at`, call it only when everything that came by then was taken.

        Returns:
            Why the connection in use must be abandoned, or None. `lost` was then called already.
        """
        if self.ended is not None:
            return None
        if self.deadlines.starved_at() <= now and not self.replays.give_up(starved := self.deadlines.starved()):
            self.fail(starved, now)
        elif (error := self.deadlines.expire(now)) is not None:
            self.lost(error, now)
            return error
        elif self._input.unread:
            self._read(now)
        elif (silence := self._input.expire(now)) is not None:
            self.fail(silence, now)
        return None

    # It goes on over another connection, or ends.

    def lost(self, error: TTSError, now: float) -> None:
        """Note that the connection in use is lost: go on with the next one, or fail."""
        if not self.has_connection:
            return
        self.has_connection = False
        self.deadlines.pause()
        resumable = self._resumes or not self.segments.heard
        if self._input.complete and not self.phrases and not speakable(self.segments.unheard()):
            self._end("finished", now)  # only the final is missing
        elif not resumable or not self.replays.allow(error):
            if self.segments.current.spoken.lost_audio:
                self.segments.take_back()  # drop the audio that came after the missing part
            self.fail(error, now)
        else:
            self.replays.note(error)
            self._input.put_back(self.segments.take_back())

    def fail(self, error: TTSError, now: float) -> None:
        """End the utterance as failed, if it has not ended. Audio that has come is delivered before the error."""
        if self.ended is None:
            self._note_failure(error)
            self._end("failed", now)

    def interrupt(self, now: float) -> None:
        """End the utterance as interrupted, unless it has failed, or all of its audio was delivered."""
        if self.ended is None or (self.ended == "finished" and self.segments.waiting):
            self._end("interrupted", now)

    def leave(self, now: float, *, dismissed: bool) -> None:
        """Note that the caller left, which interrupts an unfinished utterance and drops what was not played.

        Args:
            now: The time, in seconds.
            dismissed: Whether the caller closed the audio and is still in the block of the utterance.
        """
        self.dismissed = dismissed
        self.playback.leave(now, whole=self.all_delivered)
        self.interrupt(now)

    def _end(self, end: End, now: float) -> None:
        self.ended = end
        self.has_connection = False
        self.moments["ended"] = now
        self.segments.accepted_text.add("", self._input.drop())
        self.playback.tell()
