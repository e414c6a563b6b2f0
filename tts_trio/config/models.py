"""What the configuration must know of the models: which WebSocket speaks them, and which options they take."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from tts_trio.config.voice import VoiceSettings
from tts_trio.errors import ConfigurationError

if TYPE_CHECKING:
    from tts_trio.config.config import TTSConfig

logger = logging.getLogger(__name__)

WebSocketEndpoint: TypeAlias = Literal["stream-input", "multi-stream-input", "text-to-dialogue"]

DIALOGUE_INACTIVITY = 20
"""Seconds of silence after which text-to-dialogue closes a context: fixed by the service (ElevenLabs API reference)."""

V3_STABILITIES = (None, 0.0, 0.5, 1.0)
"""What the v3 models take as `stability` over HTTP; others are refused with `invalid_ttd_stability` (four projects)."""

LONGEST_CONTEXT = 100
"""Characters of `previous_text` and of `next_text` that the v4 models take (official SDK 2.78)."""

ADVISED_DIALOGUE = 2000
"""Characters of one request, above which the service advises to split it, for the v4 models (official SDK 2.78)."""

_SPEECH_MODELS = ("eleven_flash", "eleven_turbo", "eleven_multilingual", "eleven_monolingual")
_UNKNOWN_TO_DIALOGUE = (
    "auto_mode",
    "chunk_length_schedule",
    "apply_language_text_normalization",
    "enable_ssml_parsing",
    "inactivity_timeout",
)


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


@cache
def _warn_of_v3_stability() -> None:
    logger.warning(
        "voice_settings: over HTTP the v3 models take a stability of 0.0, 0.5 or 1.0 only, so static texts are "
        "refused; whether they take others over the WebSocket is not known"
    )


def check_options(config: TTSConfig) -> None:
    """Refuse what the endpoint or the model does not know: the service would ignore it, or refuse it too late.

    Raises:
        ConfigurationError: It names the field, and what can be had.
    """
    dialogue = config.websocket_endpoint() == "text-to-dialogue"
    if config.model_id.startswith(_SPEECH_MODELS) if dialogue else is_dialogue_model(config.model_id):
        right = "stream-input or multi-stream-input" if dialogue else "text-to-dialogue"
        raise ConfigurationError(
            f"endpoint: the service does not serve {config.model_id} on {config.endpoint}; set {right}, or None",
            field="endpoint",
        )
    settings = config.voice_settings or VoiceSettings()
    if settings.clone_strength is not None and not is_v4(config.model_id):
        raise ConfigurationError(
            f"voice_settings: clone_strength is for the v4 models; {config.model_id} does not know it",
            field="voice_settings",
        )
    if is_dialogue_model(config.model_id) and config.optimize_streaming_latency not in {None, 4}:
        raise ConfigurationError(
            f"optimize_streaming_latency: {config.model_id} does not take it; leave it at 4, the default, which is not "
            "sent to this model, or None",
            field="optimize_streaming_latency",
        )
    if is_v3(config.model_id) and settings.stability not in V3_STABILITIES:
        if config.fallback == "http":
            raise v3_stability(settings.stability)
        _warn_of_v3_stability()
    if dialogue:
        _check_dialogue(config, settings)


def _check_dialogue(config: TTSConfig, settings: VoiceSettings) -> None:
    for name in _UNKNOWN_TO_DIALOGUE:
        default = attrs.fields_dict(type(config))[name].default
        if (value := getattr(config, name)) != default:
            raise ConfigurationError(
                f"{name}: {value!r} is unknown to text-to-dialogue; leave it at {default!r}", field=name
            )
    unknown = sorted(settings.to_json().keys() - {"stability", "clone_strength"})
    if unknown:
        raise ConfigurationError(
            f"voice_settings: {', '.join(unknown)} is unknown to text-to-dialogue, which takes stability, and "
            "clone_strength for the v4 models",
            field="voice_settings",
        )
