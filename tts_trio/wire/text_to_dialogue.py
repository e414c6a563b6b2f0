"""The v3 and v4 models: `/v1/text-to-dialogue/multi-stream-input`.

Contexts as on `multi-stream-input`, with other frames: the voice belongs to a context and is said in its first frame
only, text comes as `inputs`, and the service holds back about 40 characters and 8 words unless it is told to flush.
Any error of the protocol ends the socket with all its contexts (ElevenLabs API reference, text to dialogue).
"""

from __future__ import annotations

from typing import Any

from tts_trio.config.models import DIALOGUE_INACTIVITY
from tts_trio.wire.encode import encode_frame, encode_query
from tts_trio.wire.endpoint import SharedSocket
from tts_trio.wire.stream_input import dictionaries


class TextToDialogue(SharedSocket):
    """The frames of `text-to-dialogue`."""

    begins = "with the utterance"

    @property
    def idle_seconds(self) -> float:
        """After how long without a context the service may close the socket; nothing but a context keeps it open."""
        return DIALOGUE_INACTIVITY

    def path(self) -> str:
        """Return the path and query of the WebSocket, below the base URL."""
        config = self.config
        query = {
            "model_id": config.model_id,
            "output_format": config.output_format,
            "sync_alignment": config.sync_alignment,
            "enable_logging": config.enable_logging,
            "language_code": config.language_code,
            "apply_text_normalization": config.apply_text_normalization,
            "seed": config.seed,
        }
        return f"/v1/text-to-dialogue/multi-stream-input?{encode_query(query)}"

    def begin(self, context_id: str | None) -> str:
        """Return the first frame of a context, which has the service load the voice."""
        frame: dict[str, Any] = {"context_id": context_id, "voices": [self.config.voice_id]}
        if self.config.voice_settings is not None:
            frame["voice_settings"] = self.config.voice_settings.to_json()
        return encode_frame(frame | dictionaries(self.config))

    def text(self, context_id: str | None, phrase: str) -> str:
        """Return the frame that speaks a phrase, at once."""
        inputs = [{"text": phrase, "voice_id": self.config.voice_id}]
        return encode_frame({"context_id": context_id, "inputs": inputs, "flush": True})

    def end(self, context_id: str | None) -> str | None:
        """Return None: the service holds nothing back."""
        return None

    def close(self, context_id: str | None) -> str | None:
        """Return the frame that ends a context. What it has got is spoken first: there is no frame to cancel that."""
        return encode_frame({"context_id": context_id, "close_context": True})

    def keep_alive(self, context_id: str | None) -> str:
        """Return the frame that resets the inactivity timer of a context."""
        return encode_frame({"context_id": context_id, "keep_alive": True})
