"""Which fields of a configuration go together: what one field alone cannot tell of its value."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from tts_trio.config.defaults import websocket_endpoint
from tts_trio.config.models import DIALOGUE_INACTIVITY, V3_STABILITIES, is_dialogue_model, is_v3, is_v4, v3_stability
from tts_trio.config.validators import is_loopback
from tts_trio.config.voice import VoiceSettings
from tts_trio.errors import ConfigurationError

if TYPE_CHECKING:
    from tts_trio.config.config import TTSConfig

logger = logging.getLogger(__name__)

_UNKNOWN_TO_DIALOGUE = (
    "auto_mode",
    "chunk_length_schedule",
    "apply_language_text_normalization",
    "enable_ssml_parsing",
    "inactivity_timeout",
)

_SPEECH_MODELS = ("eleven_flash", "eleven_turbo", "eleven_multilingual", "eleven_monolingual")


def check_combinations(config: TTSConfig) -> None:
    """Refuse what the endpoint or the model does not know, and what contradicts something else.

    The service would ignore it, or refuse it too late.

    Raises:
        ConfigurationError: It names the field, and what can be had.
    """
    _check_base_url(config)
    if config.chunk_length_schedule is not None and config.auto_mode:
        raise ConfigurationError(
            "chunk_length_schedule: auto_mode=True switches the schedule off; set auto_mode=False to use one",
            field="chunk_length_schedule",
        )
    _check_model(config)
    sends_latency = not is_dialogue_model(config.model_id)
    if config.apply_text_normalization == "on" and config.optimize_streaming_latency == 4 and sends_latency:
        raise ConfigurationError(
            "apply_text_normalization: 'on' contradicts optimize_streaming_latency=4, which switches the "
            "normalizer off; set optimize_streaming_latency to 0, 1, 2, 3 or None",
            field="apply_text_normalization",
        )
    if config.request_stitching and (is_v3(config.model_id) or not config.enable_logging):
        raise ConfigurationError(
            "request_stitching: the v3 models do not take it, and the service needs enable_logging=True for it",
            field="request_stitching",
        )
    if config.on_lost_connection == "resume" and config.format.codec == "opus":
        raise ConfigurationError(
            "on_lost_connection: 'resume' is not possible with opus, whose rest would be a new Ogg stream; set "
            "on_lost_connection='raise'",
            field="on_lost_connection",
        )
    _check_keep_alive(config)


def _check_base_url(config: TTSConfig) -> None:
    url = urlsplit(config.base_url)
    if url.scheme in {"http", "ws"} and not config.allow_plaintext and not is_loopback(url.hostname or ""):
        raise ConfigurationError(
            f"base_url: {config.base_url} would send the key unencrypted to another machine; use https, or set "
            "allow_plaintext=True",
            field="base_url",
        )
    if url.path.rstrip("/").endswith("/v1"):
        raise ConfigurationError(
            f"base_url: {config.base_url} ends in /v1, which is added to it; leave that out", field="base_url"
        )


def _check_keep_alive(config: TTSConfig) -> None:
    dialogue = websocket_endpoint(config) == "text-to-dialogue"
    timeout = DIALOGUE_INACTIVITY if dialogue else config.inactivity_timeout
    if config.keep_alive_interval >= timeout:
        raise ConfigurationError(
            f"keep_alive_interval: {config.keep_alive_interval:g} must be below "
            + (f"text-to-dialogue's {timeout} s" if dialogue else f"inactivity_timeout, {timeout}")
            + ", or the service closes the socket first",
            field="keep_alive_interval",
        )


def _check_model(config: TTSConfig) -> None:
    dialogue = websocket_endpoint(config) == "text-to-dialogue"
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


@cache
def _warn_of_v3_stability() -> None:
    logger.warning(
        "voice_settings: over HTTP the v3 models take a stability of 0.0, 0.5 or 1.0 only, so static texts are "
        "refused; whether they take others over the WebSocket is not known"
    )
