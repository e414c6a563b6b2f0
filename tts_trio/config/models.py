"""What the service's models support: which WebSocket serves them, and which values they take."""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

from tts_trio.errors import ConfigurationError

WebSocketEndpoint: TypeAlias = Literal["stream-input", "multi-stream-input", "text-to-dialogue"]

DIALOGUE_INACTIVITY = 20
"""Seconds of silence after which text-to-dialogue closes a context: fixed by the service (ElevenLabs API reference)."""

V3_STABILITIES = (None, 0.0, 0.5, 1.0)
"""The values of `stability` that the v3 models take over HTTP (None: not sent).

The service refuses others with `invalid_ttd_stability` (reported by four projects).
"""

LONGEST_CONTEXT = 100
"""The most characters of `previous_text` and of `next_text` that the v4 models take (official SDK 2.78)."""

ADVISED_DIALOGUE = 2000
"""Characters of one request to a v4 model above which the service advises to split the text (official SDK 2.78)."""


def is_v3(model_id: str) -> bool:
    """Whether this is a v3 model. The v3 models take no `previous_text` and no `next_text`."""
    return model_id.startswith("eleven_v3")


def is_v4(model_id: str) -> bool:
    """Whether this is a v4 model. A static text for a v4 model is requested as a dialogue too."""
    return model_id.startswith("eleven_v4")


@functools.lru_cache  # asked for several times an utterance
def is_dialogue_model(model_id: str) -> bool:
    """Whether text-to-dialogue is the only WebSocket that serves this model."""
    return is_v3(model_id) or is_v4(model_id)


def v3_stability(stability: float | None) -> ConfigurationError:
    """Return the error for a `stability` that the v3 models do not take over HTTP; it is not raised here."""
    return ConfigurationError(
        f"voice_settings: stability {stability:g} is not allowed over HTTP with a v3 model; it must be 0.0, 0.5 or 1.0",
        field="voice_settings",
    )
