"""The results of one utterance: its outcome, its spoken text, its timeline and its usage."""

from __future__ import annotations

import copy
import math
from typing import Literal

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.speech.replays import Replays
from tts_trio.speech.results import End, Hedge, Outcome, Receipt, Timeline, Usage
from tts_trio.speech.segments import Segments


class Report:
    """The results of an utterance so far. `Utterance`, which is derived from it, makes the utterance happen.

    Attributes:
        ended: How the utterance ended on the service's side, or None. Audio may still wait for delivery.
        moments: When the parts of the utterance happened that have, by their names in `Timeline`.
        receipt: What the service said about the cost.
        connection: As in `UtteranceRecord`.
        segments: The text and the audio that were accepted, sent, received and delivered.
        replays: How often a part of the text was sent again over another connection, and whether it may be once more.
        hedge: Whether the text went over a second connection at the same time, because the first audio was late.
        hedged_characters: How many characters of it did.
        fills: Whether a filler may be said, so that the driver must know when the listener has heard all.
        filler_characters: How many characters of fillers were requested.
    """

    __slots__ = (
        "_failure", "connection", "ended", "filler_characters", "fills", "hedge", "hedged_characters", "moments",
        "receipt", "replays", "segments",
    )  # fmt: skip

    def __init__(self, config: TTSConfig, now: float, *, in_messages: bool) -> None:
        """Begin an utterance.

        Args:
            config: The configuration.
            now: The time, in seconds.
            in_messages: As for `Segments`.
        """
        self.ended: End | None = None
        self.moments: dict[str, float] = {"started": now}
        self.receipt: Receipt = Receipt()
        self.connection: Literal["reused", "dialed"] | None = None
        self.segments: Segments = Segments(config, in_messages=in_messages)
        self.replays: Replays = Replays(config, falls_back=in_messages)
        self.hedge: Hedge = "none"
        self.hedged_characters: int = 0
        self.fills: bool = False
        self.filler_characters: int = 0
        self._failure: TTSError | None = None

    def _note_failure(self, error: TTSError) -> None:
        """Note the error by which the utterance failed.

        Several utterances may fail by the same error, so this one keeps a copy, to which its spoken text is added.
        """
        self._failure = copy.copy(error)
        self._failure.__cause__ = error.__cause__

    @property
    def timeline(self) -> Timeline:
        """When the parts of the utterance happened."""
        return Timeline(**self.moments)

    @property
    def usage(self) -> Usage:
        """What the utterance cost so far."""
        receipt = self.receipt
        hedged = self.hedged_characters
        characters = self.segments.characters_sent + hedged + self.filler_characters if receipt.charged else 0
        return Usage(characters, receipt.credits, receipt.request_id, receipt.trace_id, self.replays.count, hedged)

    @property
    def error(self) -> TTSError | None:
        """Why the utterance failed, with the text that was spoken in the audio delivered by now; None if it did not."""
        if self._failure is not None:
            self._failure.spoken_text, self._failure.unspoken_text = self._divided()
        return self._failure

    @property
    def all_delivered(self) -> bool:
        """Whether all audio came, and was delivered to the caller."""
        return self.ended == "finished" and not self.segments.waiting

    @property
    def outcome(self) -> Outcome | None:
        """How the utterance ended; None while it goes on, or while audio of a finished one waits for delivery."""
        if self.ended is None or (self.ended == "finished" and self.segments.waiting):
            return None
        delivered_ms = self.segments.delivered_seconds * 1000
        estimated = self.ended != "finished" and self.segments.estimated(delivered_ms)
        return Outcome(self.ended, self.error, delivered_ms, *self._divided(), estimated)

    def spoken(self, until_ms: float) -> str:
        """Return the accepted text up to the last word that ends in the first `until_ms` milliseconds of audio.

        If the service sent no times of the words, they are estimated by the length of the text.
        """
        if self.ended == "finished" and until_ms >= self.segments.received_seconds * 1000:
            return self.segments.accepted
        return self.segments.spoken(until_ms)

    def _divided(self) -> tuple[str, str]:
        """Return the accepted text in two parts: the text spoken in the delivered audio, and the rest."""
        spoken = self.spoken(math.inf if self.all_delivered else self.segments.delivered_seconds * 1000)
        return spoken, self.segments.accepted[len(spoken) :]
