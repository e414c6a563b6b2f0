"""`UtteranceRecord`: what became of one utterance, for the caller's own metrics and logs."""

from __future__ import annotations

import logging
from typing import Any, Literal

import attrs

from tts_trio.errors import TTSError

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class UtteranceRecord:
    """What became of one utterance, when its block was left. `TTSConfig(on_utterance=...)` gets it.

    The fields that end in `_ms` are milliseconds. Instants are counted from the first text of the utterance, or from
    its beginning if there was no text; None: it did not happen. Only `error` contains text. There is no API key in it.

    Attributes:
        kind: "reply": an LLM's reply. "static text": a text that was known as a whole.
        voice_id: The voice that spoke it.
        model_id: The model that spoke it.
        end: "finished", "interrupted" or "failed".
        error: Why it failed; None if it did not. Its `spoken_text` and `unspoken_text` are the text.
        connection: "reused": a hot connection was there. "dialed": the utterance waited for a dial. None: it needed no
            connection of its own, since its audio came from memory, from a cache or by another utterance's request, or
            there was no WebSocket and HTTP took its place.
        cached: Whether its first audio came from memory or from a cache, where an opening or the whole text was kept.
        replays: How often a part of the text was sent again over another connection.
        hedge: Whether its text went over a second connection too, because its first audio was late: "none"; "lost": the
            first connection was heard all the same; "won": the second one was.
        hedged_characters: The characters of text that did.
        characters: The characters of text that were sent to the service, replays and `hedged_characters` included.
        credits: The credits that the service charged; None over WebSockets, where it does not say so.
        started_ms: When its block was entered: at most 0.
        connected_ms: When a reply had a connection; None for a static text.
        first_text_ms: When its first text was accepted: 0.
        first_sent_ms: When its first phrase was given to the connection.
        first_received_ms: When its first audio came, from the service or from memory.
        first_delivered_ms: When its first audio was delivered to the caller.
        first_audible_ms: When the silence with which its audio begins is over, for a listener who hears the audio from
            `first_delivered_ms` on. It is None for mp3 and opus, which are not decoded.
        ended_ms: When it was finished, was interrupted, or failed.
        left_ms: When its block was left.
        audio_ms: How much audio came, without audio that was dropped because its word was sent again.
        discarded_bytes: The bytes of audio that came and were not delivered.
        underruns: How often the caller heard a gap because no frame was there when it was due; 0 without
            `audio.paced`.
        underrun_ms: The sum of these gaps.
        request_id: The service's id of the request; None over WebSockets.
        trace_id: The service's trace id of the request or of the WebSocket's handshake.
    """

    kind: Literal["reply", "static text"]
    voice_id: str
    model_id: str
    end: Literal["finished", "interrupted", "failed"] | None
    error: TTSError | None
    connection: Literal["reused", "dialed"] | None
    cached: bool
    replays: int
    hedge: Literal["none", "lost", "won"]
    hedged_characters: int
    characters: int
    credits: int | None
    started_ms: float
    connected_ms: float | None
    first_text_ms: float | None
    first_sent_ms: float | None
    first_received_ms: float | None
    first_delivered_ms: float | None
    first_audible_ms: float | None
    ended_ms: float | None
    left_ms: float
    audio_ms: float
    discarded_bytes: int
    underruns: int
    underrun_ms: float
    request_id: str | None
    trace_id: str | None

    def log(self) -> None:
        """Log the record in one line at INFO, as `name=value`, without what is None: `on_utterance` takes it as it is.

        config = TTSConfig.from_env(on_utterance=UtteranceRecord.log)
        """
        fields = attrs.asdict(self, filter=lambda field, value: field.name != "kind" and value is not None)
        logger.info("%s: %s", self.kind, " ".join(f"{name}={_shown(value)}" for name, value in fields.items()))


def _shown(value: Any) -> str:
    if isinstance(value, TTSError):
        return type(value).__name__
    return f"{value:.1f}" if isinstance(value, float) else str(value)
