"""The records of an utterance's results: how it ended, when its parts happened, and what it cost."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from tts_trio.errors import TTSError

End: TypeAlias = Literal["finished", "interrupted", "failed"]

Hedge: TypeAlias = Literal["none", "lost", "won"]
"""Whether a text was sent a second time, because its first audio was late, and whether the second audio was heard."""


@attrs.frozen
class Word:
    """A word of the text, or one of its characters (`audio.characters`), and its place in the received audio.

    A word is a run of characters between blanks, with its punctuation. Each Chinese or Japanese character is a word.

    Attributes:
        text: The word as it was sent.
        start: Where the word begins in the text that was sent, in characters. The text that was sent is the accepted
            text with one blank at the end of each phrase.
        end: Where the word ends in that text.
        start_ms: When the word begins, in milliseconds from the beginning of the utterance's audio.
        end_ms: When its last letter or digit ends there. The punctuation after it may be a pause, and does not count.
        estimated: Whether its times are estimated by the length of the text, because the service sent none.
        filler: Whether it is of a `Filler`, and not of the text: `start` and `end` then tell where in the text it was.
    """

    text: str
    start: int
    end: int
    start_ms: float
    end_ms: float
    estimated: bool = False
    filler: bool = False


@attrs.frozen
class Outcome:
    """How an utterance ended.

    Attributes:
        end: "finished": all audio was delivered to the caller. "interrupted": the caller left before. "failed": see
            `error`.
        error: Why the utterance failed; None if it did not.
        delivered_ms: The audio that was delivered to the caller, in milliseconds.
        spoken_text: The beginning of the accepted text, up to the last word whose audio was delivered whole.
        unspoken_text: The rest: `spoken_text + unspoken_text` is the accepted text.
        estimated: Whether the text is divided by an estimate, because the service sent no times of the words: in
            proportion to the delivered audio, between two words.
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
        started: The block of the utterance was entered.
        connected: The reply had a connection: at once where one was hot, and else after a dial. None: a static text, or
            a reply that found no connection.
        first_text: The first text was accepted.
        first_sent: The first phrase was given to the connection, which sends it.
        first_received: The first audio came, from the service or from memory.
        first_delivered: The first audio was delivered to the caller.
        ended: The utterance was finished, was interrupted, or failed.
    """

    started: float
    connected: float | None = None
    first_text: float | None = None
    first_sent: float | None = None
    first_received: float | None = None
    first_delivered: float | None = None
    ended: float | None = None


@attrs.frozen
class Usage:
    """What an utterance cost, and the ids that the service's support asks for.

    Attributes:
        characters: The characters of text that were sent to the service, replays and `hedged_characters` included. What
            was said from memory, or by a `fallback` of yours, is not counted.
        credits: The credits that the service charged for the answer that was heard (header `character-cost`); None over
            WebSockets, where it does not say so.
        request_id: The service's id of the request (header `request-id`); None over WebSockets.
        trace_id: The service's trace id of the request or of the WebSocket's handshake (header `x-trace-id`).
        replays: How often a part of the text was sent again over another connection.
        hedged_characters: The characters that were sent over a second connection at the same time, because the first
            audio was late (`TTSConfig.hedge`). The service may charge for them too.
    """

    characters: int
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None
    replays: int = 0
    hedged_characters: int = 0


@attrs.frozen
class Receipt:
    """What the service says about the cost of an utterance.

    Attributes:
        charged: Whether the service charges for the utterance. An answer from a cache, or one that another utterance
            has requested, costs nothing.
        credits: As in `Usage`.
        request_id: As in `Usage`.
        trace_id: As in `Usage`.
    """

    charged: bool = True
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None


@attrs.frozen
class AudioStatistics:
    """The state of an `AudioChannel`, named as in `trio.MemoryChannelStatistics`.

    Attributes:
        current_buffer_used: The number of pieces of audio that wait to be received.
        tasks_waiting_receive: The number of tasks that wait for a piece.
    """

    current_buffer_used: int
    tasks_waiting_receive: int
