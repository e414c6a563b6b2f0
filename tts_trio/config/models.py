"""What the service's models know and take: which WebSocket speaks them, and which values."""

from __future__ import annotations

from typing import Literal, TypeAlias

from tts_trio.errors import ConfigurationError

WebSocketEndpoint: TypeAlias = Literal["stream-input", "multi-stream-input", "text-to-dialogue"]

DIALOGUE_INACTIVITY = 20
"""Seconds of silence after which text-to-dialogue closes a context: fixed by the service (ElevenLabs API reference)."""

V3_STABILITIES = (None, 0.0, 0.5, 1.0)
"""What the v3 models take as `stability` over HTTP; others are refused with `invalid_ttd_stability` (four projects)."""

LONGEST_CONTEXT = 100
"""Characters of `previous_text` and of `next_text` that the v4 models take (official SDK 2.78)."""

ADVISED_DIALOGUE = 2000
"""Characters of one request, above which the service advises to split it, for the v4 models (official SDK 2.78)."""


def is_v3(model_id: str) -> bool:
    """Whether it is one of the v3 models, which know of no text before or after."""
    return model_id.startswith("eleven_v3")


def is_v4(model_id: str) -> bool:
    """Whether it is one of the v4 models, whose static texts are dialogues, too."""
    return model_id.startswith("eleven_v4")


def is_dialogue_model(model_id: str) -> bool:
    """Whether it speaks over no WebSocket but text-to-dialogue."""
    return is_v3(model_id) or is_v4(model_id)


def v3_stability(stability: float | None) -> ConfigurationError:
    """Return the refusal of a `stability` that the v3 models do not take over HTTP."""
    return ConfigurationError(
        f"voice_settings: stability {stability:g} is not allowed; over HTTP the v3 models take 0.0, 0.5 or 1.0",
        field="voice_settings",
    )
