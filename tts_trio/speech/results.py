"""What is told of an utterance: how it ended, and when its parts happened."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from tts_trio.errors import TTSError

End: TypeAlias = Literal["finished", "interrupted", "failed"]


@attrs.frozen
class Outcome:
    """How an utterance ended.

    Attributes:
        end: "finished": all was handed to the caller. "interrupted": the caller left before. "failed": see `error`.
        error: Why it failed; None otherwise.
        delivered_seconds: Audio handed to the caller.
        spoken_text: The part of the accepted text whose sound was handed to the caller whole, word by word.
        unspoken_text: The rest: `spoken_text + unspoken_text` is the text that was accepted.
        estimated: Whether the two are divided by an estimate, because the service did not say when the words are heard:
            by the sound handed over, in proportion to the length of the text, in whole words.
    """

    end: End
    error: TTSError | None
    delivered_seconds: float
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
