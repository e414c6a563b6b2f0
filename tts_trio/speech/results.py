"""What is told of an utterance: how it ended, when its parts happened, and what it cost."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from tts_trio.errors import TTSError

End: TypeAlias = Literal["finished", "interrupted", "failed"]


@attrs.frozen
class Word:
    """A word of the source text and its place in the audio received.

    Words are what stands between blanks, with its punctuation; each Chinese or Japanese character is one.

    Attributes:
        text: The word as it was sent.
        start: Where it begins in the text that was sent, in characters: the text accepted, but for the blanks at the
            end of a phrase, which are one there.
        end: Where it ends there.
        start_ms: When it begins, in milliseconds from the beginning of the utterance's audio.
        end_ms: When its last letter or digit ends there; punctuation after that may be a pause, and is no part of it.
        estimated: Whether its times are estimated, by its place in a text whose words the service did not time.
    """

    text: str
    start: int
    end: int
    start_ms: float
    end_ms: float
    estimated: bool = False


@attrs.frozen
class Outcome:
    """How an utterance ended.

    Attributes:
        end: "finished": all was handed to the caller. "interrupted": the caller left before. "failed": see `error`.
        error: Why it failed; None otherwise.
        delivered_ms: Audio handed to the caller, in milliseconds.
        spoken_text: The part of the accepted text whose sound was handed to the caller whole, word by word.
        unspoken_text: The rest: `spoken_text + unspoken_text` is the text that was accepted.
        estimated: Whether the two are divided by an estimate, because the service did not say when the words are heard:
            by the sound handed over, in proportion to the length of the text, in whole words.
    """

    end: End
    error: TTSError | None
    delivered_ms: float
    spoken_text: str
    unspoken_text: str
    estimated: bool = False


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


@attrs.frozen
class Usage:
    """What an utterance cost, and the ids to tell the service's support.

    Attributes:
        characters: Characters of text handed to the service, those of replays included.
        credits: What the service says that it charged (`character-cost`); None where it does not say (WebSocket).
        request_id: The service's id of the request; None where it gives none (WebSocket).
        trace_id: The service's trace id of the request or of the WebSocket's handshake.
        replays: How many times a part of the text was sent again, over another connection.
    """

    characters: int
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None
    replays: int = 0


@attrs.frozen
class Receipt:
    """What the service says of the cost of an utterance.

    Attributes:
        charged: Whether the service charges for it; an answer from a cache, or that others asked for, costs nothing.
        credits: As in `Usage`.
        request_id: As in `Usage`.
        trace_id: As in `Usage`.
    """

    charged: bool = True
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None


@attrs.frozen
class Summary:
    """What telemetry is told of an utterance that is over.

    Attributes:
        end: How it ended, as far as the service is concerned.
        error: Why it failed; None otherwise.
        timeline: When its parts happened.
        usage: What it cost.
        received_seconds: Audio received, less what was taken back to be said again.
        discarded_bytes: Audio received that was never delivered to the caller.
    """

    end: End | None
    error: TTSError | None
    timeline: Timeline
    usage: Usage
    received_seconds: float
    discarded_bytes: int
