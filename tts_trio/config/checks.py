"""The checks of a configuration that concern several fields at once."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from tts_trio.config.defaults import first_audio_timeout, websocket_endpoint
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
    """Refuse options that the endpoint or the model does not support, and options that contradict each other.

    The service would ignore them, or refuse them when a caller is already waiting.

    Raises:
        ConfigurationError: It names the field and what is allowed.
    """
    _check_base_url(config)
    if config.chunk_length_schedule is not None and config.auto_mode:
        raise ConfigurationError(
            "chunk_length_schedule: it has no effect with auto_mode=True; set auto_mode=False, or leave it None",
            field="chunk_length_schedule",
        )
    _check_model(config)
    sends_latency = not is_dialogue_model(config.model_id)
    if config.apply_text_normalization == "on" and config.optimize_streaming_latency == 4 and sends_latency:
        raise ConfigurationError(
            "apply_text_normalization: 'on' contradicts optimize_streaming_latency=4, which switches the normalizer "
            "off; set optimize_streaming_latency to 0, 1, 2, 3 or None",
            field="apply_text_normalization",
        )
    if config.request_stitching and (is_v3(config.model_id) or not config.enable_logging):
        raise ConfigurationError(
            "request_stitching: it needs enable_logging=True, and another model than the v3 ones; set it to False",
            field="request_stitching",
        )
    if config.on_lost_connection == "resume" and config.format.codec == "opus":
        raise ConfigurationError(
            "on_lost_connection: 'resume' is not possible with opus, as the rest would be a new Ogg stream; set it to "
            "'raise', or set another output_format",
            field="on_lost_connection",
        )
    _check_openings(config)
    _check_hedge(config)
    _check_keep_alive(config)


def check_picklable(config: TTSConfig) -> None:
    """Refuse to pickle a configuration with a value that belongs to this process.

    Raises:
        ConfigurationError: It names the field, and says what to do.
    """
    if config.ssl_context is not None:
        raise ConfigurationError(
            "ssl_context: a TLS context cannot be pickled; pickle evolve(ssl_context=None), and set ssl_context in "
            "the other process",
            field="ssl_context",
        )
    import pickle  # loaded late: few ask for it

    for field in (attribute.name for attribute in attrs.fields(type(config))):
        value = getattr(config, field)
        try:
            pickle.dumps(value)
        except ConfigurationError as error:  # one of this library's says why
            raise ConfigurationError(
                f"{field}: {error.message.removeprefix(f'{error.field}: ')}", field=field
            ) from None
        except Exception as error:  # of the user's class
            raise ConfigurationError(
                f"{field}: this {type(value).__name__} cannot be pickled; take a function or a class of a module's "
                f"top level, or set {field} by evolve() in the other process",
                field=field,
            ) from error


def _check_openings(config: TTSConfig) -> None:
    if config.opening_cache is None:
        return
    for field in ("auto_mode", "sync_alignment", "enable_logging"):
        if not getattr(config, field):
            raise ConfigurationError(
                f"opening_cache: with {field}=False no opening can be kept; set {field}=True, or opening_cache=None",
                field="opening_cache",
            )
    if config.format.codec == "opus":
        raise ConfigurationError(
            "opening_cache: it is not possible with opus, as the rest of a reply would be a new Ogg stream; set it to "
            "None, or set another output_format",
            field="opening_cache",
        )


def _check_hedge(config: TTSConfig) -> None:
    if config.hedge is None:
        return
    if not config.auto_mode:
        raise ConfigurationError(
            "hedge: with auto_mode=False the service waits for more text before it speaks, so that no audio is late; "
            "set auto_mode=True, or hedge=None",
            field="hedge",
        )
    if not isinstance(config.hedge, str) and config.hedge >= (timeout := first_audio_timeout(config)):
        raise ConfigurationError(
            f"hedge: {config.hedge:g} is not allowed; it must be below {timeout:g}, the timeouts.first_audio, at which "
            "the connection counts as lost",
            field="hedge",
        )


def _check_base_url(config: TTSConfig) -> None:
    url = urlsplit(config.base_url)
    if url.scheme in {"http", "ws"} and not config.allow_plaintext and not is_loopback(url.hostname or ""):
        raise ConfigurationError(
            f"base_url: {config.base_url} would send the API key unencrypted to another machine; use https, or set "
            "allow_plaintext=True",
            field="base_url",
        )
    if url.path.rstrip("/").endswith("/v1"):
        raise ConfigurationError(
            f"base_url: {config.base_url} ends in /v1, which the library adds itself; leave /v1 out", field="base_url"
        )


def _check_keep_alive(config: TTSConfig) -> None:
    dialogue = websocket_endpoint(config) == "text-to-dialogue"
    timeout = DIALOGUE_INACTIVITY if dialogue else config.inactivity_timeout
    if config.keep_alive_interval >= timeout:
        raise ConfigurationError(
            f"keep_alive_interval: {config.keep_alive_interval:g} is not allowed; it must be below {timeout}, "
            + ("text-to-dialogue's inactivity timeout" if dialogue else "the inactivity_timeout")
            + ", at which the service closes the socket",
            field="keep_alive_interval",
        )


def _check_model(config: TTSConfig) -> None:
    dialogue = websocket_endpoint(config) == "text-to-dialogue"
    if config.model_id.startswith(_SPEECH_MODELS) if dialogue else is_dialogue_model(config.model_id):
        right = "stream-input or multi-stream-input" if dialogue else "text-to-dialogue"
        raise ConfigurationError(
            f"endpoint: {config.endpoint} does not support the model {config.model_id}; set it to {right}, or None",
            field="endpoint",
        )
    settings = config.voice_settings or VoiceSettings()
    if settings.clone_strength is not None and not is_v4(config.model_id):
        raise ConfigurationError(
            f"voice_settings: clone_strength is for the v4 models; leave it None for {config.model_id}",
            field="voice_settings",
        )
    if is_dialogue_model(config.model_id) and config.optimize_streaming_latency not in {None, 4}:
        raise ConfigurationError(
            f"optimize_streaming_latency: {config.model_id} does not support it; leave it at its default, 4, which is "
            "not sent to this model, or set it to None",
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
                f"{name}: text-to-dialogue does not support {value!r}; leave it at {default!r}", field=name
            )
    unknown = sorted(settings.to_json().keys() - {"stability", "clone_strength"})
    if unknown:
        raise ConfigurationError(
            f"voice_settings: text-to-dialogue does not support {', '.join(unknown)}; it takes stability, and "
            "clone_strength with the v4 models",
            field="voice_settings",
        )


@cache
def _warn_of_v3_stability() -> None:
    logger.warning(
        "voice_settings: over HTTP the v3 models take a stability of 0.0, 0.5 or 1.0 only, so every static text will "
        "be refused; it is not known whether the v3 models take other values over the WebSocket"
    )
