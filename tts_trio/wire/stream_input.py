"""One utterance a socket: `/v1/text-to-speech/{voice_id}/stream-input`.

Text frames are concatenated by the service verbatim, so each ends in a blank where the source had one.
`{"text": " "}` is the keep-alive and `{"text": ""}` the end (ElevenLabs API reference, stream-input). Voice, model,
format, language and settings belong to the socket for its life.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.wire.encode import encode_frame, encode_query
from tts_trio.wire.endpoint import Endpoint

_END_OF_SEQUENCE = '{"text":""}'  # the service speaks what it holds, sends `isFinal` and closes; no text may follow
_KEEP_ALIVE = '{"text":" "}'  # resets the service's inactivity timer silent (wire/README.md, 2.2)


class StreamInput(Endpoint):
    """The frames of `stream-input`."""

    contexts: ClassVar[int] = 1
    contexts_in_all: ClassVar[float] = 1
    begins = "with the socket"
    goodbye: ClassVar[str] = _END_OF_SEQUENCE

    def context_id(self, number: int) -> str | None:
        """Return None: the socket is the context, and has no id."""
        return None

    def context_of(self, context_id: str) -> str | None:
        """Return None, whatever a frame names: there is one context."""
        return None

    def sockets_to_keep(self, spares: int, *, speaking: bool) -> int:
        """Return the spares: a socket that serves takes no other utterance. Where none serves it is one at least."""
        return spares if speaking else max(1, spares)

    def path(self) -> str:
        """Return the path and query of the WebSocket, below the base URL."""
        return f"/v1/text-to-speech/{self.config.voice_id}/stream-input?{encode_query(query(self.config))}"

    def begin(self, context_id: str | None) -> str:
        """Return the first frame: it carries what cannot be said in the address."""
        return encode_frame(initialization(self.config))

    def text(self, context_id: str | None, phrase: str) -> str:
        """Return the frame that speaks a phrase: with `auto_mode`, as a clip of its own (wire/README.md, 2.4)."""
        return encode_frame({"text": phrase})

    def end(self, context_id: str | None) -> str | None:
        """Return the end marker: the service speaks the rest, reports the final, and closes the socket."""
        return _END_OF_SEQUENCE

    def close(self, context_id: str | None) -> str | None:
        """Return None: there is no frame for it, and an end marker would have the rest spoken, and billed."""
        return None

    def keep_alive(self, context_id: str | None) -> str:
        """Return the frame that resets the inactivity timer."""
        return _KEEP_ALIVE


def query(config: TTSConfig) -> dict[str, Any]:
    """Return the parameters of the address, as both text-to-speech WebSockets take them."""
    return {
        "model_id": config.model_id,
        "output_format": config.output_format,
        "auto_mode": config.auto_mode,
        "sync_alignment": config.sync_alignment,
        "inactivity_timeout": config.inactivity_timeout,
        "enable_logging": config.enable_logging,
        "enable_ssml_parsing": config.enable_ssml_parsing,
        "language_code": config.language_code,
        "apply_text_normalization": config.apply_text_normalization,
        "apply_language_text_normalization": config.apply_language_text_normalization,
        "seed": config.seed,
    }


def initialization(config: TTSConfig) -> dict[str, Any]:
    """Return the fields of a first frame, as both text-to-speech WebSockets take them."""
    frame: dict[str, Any] = {"text": " "}
    if config.voice_settings is not None:
        frame["voice_settings"] = config.voice_settings.to_json()
    if config.chunk_length_schedule is not None:
        frame["generation_config"] = {"chunk_length_schedule": config.chunk_length_schedule}
    return frame | dictionaries(config)


def dictionaries(config: TTSConfig) -> dict[str, Any]:
    """Return the field of a first frame that names the pronunciation dictionaries, if there are any."""
    locators = [attrs.asdict(locator) for locator in config.pronunciation_dictionary_locators]
    return {"pronunciation_dictionary_locators": locators} if locators else {}
