"""Many utterances a socket, five at a time: `/v1/text-to-speech/{voice_id}/multi-stream-input`.

Each utterance is a context with an id. The service makes a context of any id that it does not know, so no frame may
name one before its first frame, nor after its close; `""` is the keep-alive here, not the end (ElevenLabs API
reference, multi-context WebSocket; the traps are from reports of production).
"""

from __future__ import annotations

from tts_trio.wire.encode import encode_frame, encode_query
from tts_trio.wire.endpoint import SharedSocket
from tts_trio.wire.stream_input import initialization, query


class MultiStreamInput(SharedSocket):
    """The frames of `multi-stream-input`."""

    begins = "with the text"

    @property
    def idle_seconds(self) -> float:
        """After how long without a context the service may close the socket; nothing but a context keeps it open."""
        return self.config.inactivity_timeout

    def path(self) -> str:
        """Return the path and query of the WebSocket, below the base URL."""
        return f"/v1/text-to-speech/{self.config.voice_id}/multi-stream-input?{encode_query(query(self.config))}"

    def begin(self, context_id: str | None) -> str:
        """Return the first frame of a context. Its settings cannot be said, or changed, later."""
        return encode_frame(initialization(self.config) | {"context_id": context_id})

    def text(self, context_id: str | None, phrase: str) -> str:
        """Return the frame that speaks a phrase. Under `auto_mode` it becomes a clip of its own."""
        return encode_frame({"text": phrase, "context_id": context_id})

    def end(self, context_id: str | None) -> str | None:
        """Return the frame that has the rest spoken; the context stays open."""
        return encode_frame({"context_id": context_id, "flush": True})

    def close(self, context_id: str | None) -> str | None:
        """Return the frame that ends a context: what was flushed is spoken, then comes its final."""
        return encode_frame({"context_id": context_id, "close_context": True})

    def keep_alive(self, context_id: str | None) -> str:
        """Return the frame that resets the inactivity timer of a context."""
        return encode_frame({"context_id": context_id, "text": ""})
