"""What is told of one utterance, while it goes on and when it has ended."""

from __future__ import annotations

import copy
import math

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.speech.replays import Replays
from tts_trio.speech.results import End, Outcome, Receipt, Timeline, Usage
from tts_trio.speech.segments import Segments


class Report:
    """How an utterance ended, what of its text was spoken, and what it cost; `Utterance` makes that happen.

    Attributes:
        ended: How it ended, as far as the service is concerned, or None.
        timeline: When its parts happened.
        receipt: What the service said of its cost.
        segments: What was accepted, sent, received and delivered.
        replays: How many times a part of it was sent again over another connection, and whether it may be once more.
    """

    def __init__(self, config: TTSConfig, now: float, *, in_messages: bool) -> None:
        """Begin an utterance; `in_messages` is as in `Segments`."""
        self.ended: End | None = None
        self.timeline: Timeline = Timeline(started=now)
        self.receipt: Receipt = Receipt()
        self.segments: Segments = Segments(config, in_messages=in_messages)
        self.replays: Replays = Replays(config)
        self._failure: TTSError | None = None

    def _note_failure(self, error: TTSError) -> None:
        """Note why it failed. Others may be told of the same error: a copy of it tells what was spoken here."""
        self._failure = copy.copy(error)
        self._failure.__cause__ = error.__cause__

    @property
    def usage(self) -> Usage:
        """What it cost so far."""
        receipt = self.receipt
        characters = self.segments.characters_sent if receipt.charged else 0
        return Usage(characters, receipt.credits, receipt.request_id, receipt.trace_id, self.replays.count)

    @property
    def error(self) -> TTSError | None:
        """Why it failed, with what was spoken, of what was delivered by now; None if it did not."""
        if self._failure is not None:
            self._failure.spoken_text, self._failure.unspoken_text = self._divided()
        return self._failure

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on, and while audio of a finished one is still to be delivered."""
        if self.ended is None or (self.ended == "finished" and self.segments.waiting):
            return None
        delivered_ms = self.segments.delivered_seconds * 1000
        estimated = self.ended != "finished" and self.segments.estimated(delivered_ms)
        return Outcome(self.ended, self.error, delivered_ms, *self._divided(), estimated)

    def spoken(self, until_ms: float) -> str:
        """Return the accepted text up to the last word that had ended after so many milliseconds of audio.

        Where the service did not say when the words are heard, that is estimated by the text's length.
        """
        if self.ended == "finished" and until_ms >= self.segments.received_seconds * 1000:
            return self.segments.accepted
        return self.segments.spoken(until_ms)

    def _divided(self) -> tuple[str, str]:
        """The text accepted, divided into what was spoken, of what was delivered, and the rest."""
        all_delivered = self.ended == "finished" and not self.segments.waiting
        spoken = self.spoken(math.inf if all_delivered else self.segments.delivered_seconds * 1000)
        return spoken, self.segments.accepted[len(spoken) :]
