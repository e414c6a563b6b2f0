"""The defaults that depend on the model or on the endpoint: what a field that is None stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tts_trio.config.models import WebSocketEndpoint, is_dialogue_model

if TYPE_CHECKING:
    from tts_trio.config.config import TTSConfig


def first_audio_timeout(config: TTSConfig) -> float:
    """Return `timeouts.first_audio`, or the model's default where it is None, in seconds."""
    if config.timeouts.first_audio is not None:
        return config.timeouts.first_audio
    return 5.0 if is_dialogue_model(config.model_id) else 2.0


def websocket_endpoint(config: TTSConfig) -> WebSocketEndpoint:
    """Return `endpoint`, or the one that the model needs where it is None."""
    if config.endpoint is not None:
        return config.endpoint
    return "text-to-dialogue" if is_dialogue_model(config.model_id) else "stream-input"


def spare_connections(config: TTSConfig) -> int:
    """Return `spares`, or the endpoint's default where it is None."""
    if config.spares is not None:
        return config.spares
    return 0 if websocket_endpoint(config) == "text-to-dialogue" else 1
