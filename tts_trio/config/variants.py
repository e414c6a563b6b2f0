"""What one utterance changes in the configuration, and whether the sockets of one configuration can serve another."""

from __future__ import annotations

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.config.voice import VoiceSettings
from tts_trio.errors import ConfigurationError


def for_utterance(
    config: TTSConfig,
    *,
    voice: str | None,
    settings: VoiceSettings | None,
    language_code: str | None,
    model: str | None,
) -> TTSConfig:
    """Return the configuration with what one utterance changes in it; None changes nothing.

    Raises:
        ConfigurationError: A value is not allowed; the message names the field and what is allowed.
    """
    changes = {"voice_id": voice, "voice_settings": settings, "language_code": language_code, "model_id": model}
    changes = {field: value for field, value in changes.items() if value is not None}
    return config.evolve(**changes) if changes else config


def check_same_sockets(config: TTSConfig, sockets: TTSConfig) -> None:
    """Check that sockets of one configuration can serve another one.

    Raises:
        ConfigurationError: A field that holds for the life of a socket differs; the message names the field.
    """
    differs = differing_socket_field(config, sockets)
    if differs is not None:
        raise ConfigurationError(
            f"{differs}: it differs from the connection manager's {differs}, which its sockets keep; give both the "
            "same configuration",
            field=differs,
        )


def differing_socket_field(one: TTSConfig, other: TTSConfig) -> str | None:
    """Return the first field that holds for the life of a socket and differs in the two configurations, or None."""
    for attribute in attrs.fields(TTSConfig):
        if attribute.metadata.get("per_socket") and getattr(one, attribute.name) != getattr(other, attribute.name):
            return attribute.name
    return None
