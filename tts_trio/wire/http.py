"""Requests for fixed phrases: `POST /v1/text-to-speech/{voice_id}/stream`."""

from __future__ import annotations

import json
from typing import Any

import attrs

from tts_trio.config import TTSConfig
from tts_trio.wire.encode import encode_query


@attrs.frozen
class SpeechRequest:
    """One request.

    Attributes:
        path: Path and query, below the base URL.
        body: The JSON body.
    """

    path: str
    body: bytes


def stream_request(config: TTSConfig, text: str) -> SpeechRequest:
    """Return the request that speaks `text`, whose answer is raw audio, streamed (ElevenLabs API reference)."""
    query = {
        "output_format": config.output_format,
        "optimize_streaming_latency": config.optimize_streaming_latency,
        "enable_logging": config.enable_logging,
    }
    body: dict[str, Any] = {
        "text": text,
        "model_id": config.model_id,
        "language_code": config.language_code,
        "voice_settings": config.voice_settings.to_json() if config.voice_settings else None,
        "pronunciation_dictionary_locators": [
            attrs.asdict(locator) for locator in config.pronunciation_dictionary_locators
        ]
        or None,
        "seed": config.seed,
        "apply_text_normalization": config.apply_text_normalization,
        "apply_language_text_normalization": config.apply_language_text_normalization,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return SpeechRequest(
        path=f"/v1/text-to-speech/{config.voice_id}/stream?{encode_query(query)}",
        body=json.dumps(given, ensure_ascii=False).encode(),
    )
