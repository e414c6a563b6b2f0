"""The URLs of WebSockets, and what their messages settle, checked as the service checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter

from tts_trio.local_server import errors
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import BOOLEAN, LATENCY, Normalisation, Seed, parse_query
from tts_trio.local_server.catalogue import DEFAULT_DIALOGUE_SOCKET_MODEL, DEFAULT_MODEL
from tts_trio.local_server.encoding import STREAMED_FORMATS
from tts_trio.local_server.parameters import (
    SETTINGS,
    Parameters,
    Request,
    find_format,
    find_language,
    find_model,
    normalises,
)

_RARE_FORMATS = {"mp3_24000_48", "pcm_32000", "pcm_48000"}
_LONGEST_INACTIVITY = 180
_SEED: TypeAdapter[int | None] = TypeAdapter(Seed)
_INACTIVITY: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1)])
_NORMALISATION: TypeAdapter[Normalisation | None] = TypeAdapter(Normalisation)

T = TypeVar("T")


def parse_websocket(request: Request, voice_id: str, behaviour: Behaviour) -> Parameters:
    """Check the URL of a text-to-speech WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = request.query
    model = find_model(query.get("model_id") or DEFAULT_MODEL)
    if model.dialogue_voices:
        raise errors.NO_SOCKET_MODEL.given(model_id=model.model_id)
    output_format = _format(query, behaviour)
    latency = _read(LATENCY, query, "optimize_streaming_latency", None)
    _read(_SEED, query, "seed", None)
    for name in ("enable_logging", "enable_ssml_parsing", "apply_language_text_normalization"):
        _read(BOOLEAN, query, name, default=False)
    normalisation = _read(_NORMALISATION, query, "apply_text_normalization", None)
    return Parameters(
        voice_id,
        model,
        output_format,
        find_language(query.get("language_code"), model, behaviour),
        normalises(normalisation, model, behaviour, latency),
        auto_mode=_read(BOOLEAN, query, "auto_mode", default=False),
        sync_alignment=_read(BOOLEAN, query, "sync_alignment", default=False),
        inactivity_timeout=min(_read(_INACTIVITY, query, "inactivity_timeout", 20), _LONGEST_INACTIVITY),
    )


def parse_dialogue_websocket(request: Request, behaviour: Behaviour) -> Parameters:
    """Check the URL of a text-to-dialogue WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = request.query
    model = find_model(query.get("model_id") or DEFAULT_DIALOGUE_SOCKET_MODEL, dialogue=True)
    _read(_SEED, query, "seed", None)
    _read(BOOLEAN, query, "enable_logging", default=False)
    normalisation = _read(_NORMALISATION, query, "apply_text_normalization", None)
    return Parameters(
        "",
        model,
        _format(query, behaviour),
        find_language(query.get("language_code"), model, behaviour),
        normalises(normalisation, model, behaviour),
        sync_alignment=_read(BOOLEAN, query, "sync_alignment", default=False),
    )


def speed_of(message: Mapping[str, Any]) -> float:
    """Give the speed that a WebSocket's first message sets, clamped: it does not refuse one out of range."""
    low, high = SETTINGS["speed"]
    settings = message.get("voice_settings")
    speed = cast("dict[str, Any]", settings).get("speed") if isinstance(settings, dict) else None
    return float(max(low, min(speed, high))) if isinstance(speed, int | float) else 1.0


def parse_schedule(message: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the `chunk_length_schedule` of a WebSocket's first message; empty: it has none.

    Raises:
        ServiceError: A length is not from 50 to 500.
    """
    config = message.get("generation_config") or message.get("generator_config")
    if not isinstance(config, dict):
        return ()
    schedule: Any = cast("dict[str, Any]", config).get("chunk_length_schedule") or []
    lengths = cast("list[Any]", schedule) if isinstance(schedule, list) else [schedule]
    if not all(isinstance(length, int) and 50 <= length <= 500 for length in lengths):
        raise errors.invalid_parameter("chunk_length_schedule", "Every chunk length is from 50 to 500.")
    return tuple(lengths)


def _format(query: Mapping[str, str], behaviour: Behaviour) -> str:
    output_format = find_format(query, behaviour, STREAMED_FORMATS)
    if output_format in _RARE_FORMATS and not behaviour.rare_formats_on_websocket:
        raise errors.INVALID_FORMAT.given(output_format=output_format)
    return output_format


def _read(kind: TypeAdapter[T], query: Mapping[str, str], name: str, default: T) -> T:
    try:
        return parse_query(kind, query, name, default)
    except errors.InvalidBody as invalid:
        raise errors.invalid_parameter(name, f"{name}: {invalid.complaints[0]['msg']}") from None
