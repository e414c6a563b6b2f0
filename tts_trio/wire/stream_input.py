"""One utterance a socket: `/v1/text-to-speech/{voice_id}/stream-input`.

The frames that the client writes, and the address that they are written to. Text frames are concatenated by the
service verbatim, so each ends in a blank where the source had one. `{"text": " "}` is the keep-alive and `{"text": ""}`
the end (ElevenLabs API reference, stream-input). Voice, model, format, language and settings belong to the
socket for its life.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import attrs

from tts_trio.config import TTSConfig

KEEP_ALIVE = '{"text":" "}'
"""Resets the service's inactivity timer and is not heard (recorded)."""

END_OF_SEQUENCE = '{"text":""}'
"""The text is complete: the service speaks what it holds, sends `isFinal` and closes. No text may follow."""


def path(config: TTSConfig) -> str:
    """Return the path and query of the WebSocket, below the base URL."""
    query: dict[str, Any] = {
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
    return f"/v1/text-to-speech/{config.voice_id}/stream-input?{encode_query(query)}"


def initialize(config: TTSConfig) -> str:
    """Return the first frame of a socket: it carries what cannot be said in the address."""
    frame: dict[str, Any] = {"text": " "}
    if config.voice_settings is not None:
        frame["voice_settings"] = config.voice_settings.to_json()
    if config.chunk_length_schedule is not None:
        frame["generation_config"] = {"chunk_length_schedule": config.chunk_length_schedule}
    if config.pronunciation_dictionary_locators:
        frame["pronunciation_dictionary_locators"] = [
            attrs.asdict(locator) for locator in config.pronunciation_dictionary_locators
        ]
    return _frame(frame)


def text(phrase: str) -> str:
    """Return the frame that speaks a phrase. Under `auto_mode` it becomes a clip of its own (recorded)."""
    return _frame({"text": phrase})


def encode_query(parameters: dict[str, Any]) -> str:
    """Return a query string as the service reads it: booleans in lower case, None left out."""
    return urlencode(
        {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in parameters.items()
            if value is not None
        }
    )


def _frame(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
