"""Requests and messages, checked as the service checks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import MOST_SEED, SETTINGS, Line, parse_body, parse_dialogue
from tts_trio.local_server.catalogue import (
    DEFAULT_DIALOGUE_MODEL,
    DEFAULT_DIALOGUE_SOCKET_MODEL,
    DEFAULT_MODEL,
    MODELS,
    Model,
)
from tts_trio.local_server.encoding import OUTPUT_FORMATS, STREAMED_FORMATS
from tts_trio.local_server.speech import Order, single_spaced

_RARE_FORMATS = {"mp3_24000_48", "pcm_32000", "pcm_48000"}
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}
_NO_LATENCY_BUT_NO_NORMALISER = 4
_MAX_INACTIVITY = 180
_MOST_DIGITS = 10  # of the integers in a query: more are out of every range, and Python may refuse to read them


@attrs.frozen
class Request:
    """An HTTP request, an upgrade included.

    Attributes:
        method: HTTP method.
        path: Without the query.
        query: The last value of each parameter.
        headers: Names in lower case.
        body: As it came.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def credentials(self) -> str:
        """Give the key of the headers, or a bearer token; "" without either."""
        return self.headers.get("xi-api-key") or bearer(self.headers.get("authorization", ""))


@attrs.frozen
class Parameters:
    """What a request, or the URL of a WebSocket, says about the speech.

    Attributes:
        voice_id: As in the path, not checked here; "" for text-to-dialogue.
        model: The model.
        output_format: Of ElevenLabs.
        language_code: None: not given, or not of this model.
        normalise: Numbers become words.
        speed: From the voice settings.
        logging: False is zero retention, and there is no history item.
        auto_mode: WebSocket: every text message is a segment.
        sync_alignment: WebSocket: every audio message is aligned.
        inactivity_timeout: WebSocket: seconds.
    """

    voice_id: str
    model: Model
    output_format: str
    language_code: str | None
    normalise: bool
    speed: float = 1.0
    logging: bool = True
    auto_mode: bool = False
    sync_alignment: bool = False
    inactivity_timeout: float = 20

    def order(self, text: str) -> Order:
        """Order this text, standing alone."""
        return Order(single_spaced(text), self.output_format, self.language_code, self.speed, self.normalise)


def bearer(authorization: str) -> str:
    """Give the token of an `Authorization` header."""
    return authorization.removeprefix("Bearer ").strip()


def known_voice(voice_id: str, behaviour: Behaviour) -> bool:
    """Say whether there is such a voice."""
    if behaviour.voices is None:
        return re.fullmatch(r"[A-Za-z0-9_-]+", voice_id) is not None
    return voice_id in behaviour.voices


def parse_http(request: Request, voice_id: str, behaviour: Behaviour, *, whole: bool) -> tuple[str, Parameters]:
    """Check a text-to-speech request, and return its text and parameters.

    Args:
        request: The request.
        voice_id: From its path.
        behaviour: Of the server.
        whole: At the endpoints that answer with a whole file there are more formats.

    Raises:
        InvalidBody: 422.
        ServiceError: Anything else that is wrong with it.
    """
    body = parse_body(request.body)
    output_format = _output_format(request.query, behaviour, OUTPUT_FORMATS if whole else STREAMED_FORMATS)
    latency = _integer(request.query, "optimize_streaming_latency", 0, 4, None, _unprocessable)
    logging = _switch(request.query, "enable_logging", _unprocessable, default="true")
    if not known_voice(voice_id, behaviour):
        raise errors.voice_not_found(voice_id)
    model = _model(body["model_id"] or DEFAULT_MODEL)
    text: str = body["text"]
    for field in ("previous_text", "next_text"):
        if body[field] and model.model_id in {"eleven_v3", "eleven_v3_conversational"}:
            raise errors.not_supported_with_model(field, model.model_id)
    if len(text) > model.characters:
        raise errors.text_too_long(model.characters, len(text))
    normalise = latency != _NO_LATENCY_BUT_NO_NORMALISER and _normalises(body["apply_text_normalization"], model)
    language = _language(body["language_code"], model, behaviour)
    settings: dict[str, Any] = body["voice_settings"] or {}
    check_settings(settings)
    speed = settings.get("speed") or 1.0
    return text, Parameters(voice_id, model, output_format, language, normalise, speed, logging)


def parse_dialogue_http(request: Request, behaviour: Behaviour, *, whole: bool) -> tuple[tuple[Line, ...], Parameters]:
    """Check a text-to-dialogue request, and return its lines and parameters.

    Args:
        request: The request.
        behaviour: Of the server.
        whole: At the endpoints that answer with a whole file there are more formats.

    Raises:
        InvalidBody: 422.
        ServiceError: Anything else that is wrong with it.
    """
    lines, body = parse_dialogue(request.body)
    output_format = _output_format(request.query, behaviour, OUTPUT_FORMATS if whole else STREAMED_FORMATS)
    logging = _switch(request.query, "enable_logging", _unprocessable, default="true")
    model = _dialogue_model(body["model_id"] or DEFAULT_DIALOGUE_MODEL)
    voices = dict.fromkeys(line.voice_id for line in lines)
    for voice_id in voices:
        if not known_voice(voice_id, behaviour):
            raise errors.voice_not_found(voice_id)
    if len(voices) > model.dialogue_voices:
        raise errors.too_many_voices(model.dialogue_voices)
    characters = sum(len(line.text) for line in lines)
    if characters > model.characters:
        raise errors.text_too_long(model.characters, characters)
    check_settings(body["settings"] or {})
    language = _language(body["language_code"], model, behaviour)
    normalise = _normalises(body["apply_text_normalization"], model)
    return lines, Parameters("", model, output_format, language, normalise, logging=logging)


def parse_websocket(request: Request, voice_id: str, behaviour: Behaviour) -> Parameters:
    """Check the URL of a text-to-speech WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = request.query
    model = _model(query.get("model_id") or DEFAULT_MODEL)
    if model.dialogue_voices:
        raise errors.unsupported_model(model.model_id)
    output_format = _socket_format(query, behaviour)
    latency = _integer(query, "optimize_streaming_latency", 0, 4, None, errors.invalid_parameter)
    _integer(query, "seed", 0, MOST_SEED, None, errors.invalid_parameter)
    for name in ("enable_logging", "enable_ssml_parsing", "apply_language_text_normalization"):
        _switch(query, name, errors.invalid_parameter)
    normalisation = query.get("apply_text_normalization", "auto")
    if normalisation not in {"auto", "on", "off"}:
        raise errors.invalid_parameter("apply_text_normalization", "apply_text_normalization is auto, on or off.")
    return Parameters(
        voice_id,
        model,
        output_format,
        _language(query.get("language_code"), model, behaviour),
        latency != _NO_LATENCY_BUT_NO_NORMALISER and _normalises(normalisation, model),
        auto_mode=_switch(query, "auto_mode", errors.invalid_parameter),
        sync_alignment=_switch(query, "sync_alignment", errors.invalid_parameter),
        inactivity_timeout=_integer(query, "inactivity_timeout", 1, _MAX_INACTIVITY, 20, errors.invalid_parameter)
        or 20,
    )


def parse_dialogue_websocket(request: Request, behaviour: Behaviour) -> Parameters:
    """Check the URL of a text-to-dialogue WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = request.query
    model = _dialogue_model(query.get("model_id") or DEFAULT_DIALOGUE_SOCKET_MODEL)
    _integer(query, "seed", 0, MOST_SEED, None, errors.invalid_parameter)
    _switch(query, "enable_logging", errors.invalid_parameter)
    normalisation = query.get("apply_text_normalization")
    if normalisation not in {None, "on", "off"}:
        raise errors.invalid_parameter("apply_text_normalization", "apply_text_normalization is on or off.")
    return Parameters(
        "",
        model,
        _socket_format(query, behaviour),
        _language(query.get("language_code"), model, behaviour),
        _normalises(normalisation, model),
        sync_alignment=_switch(query, "sync_alignment", errors.invalid_parameter),
    )


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise a `ServiceError` where a voice setting is out of its range."""
    for name, (low, high) in SETTINGS.items():
        given = settings.get(name)
        if isinstance(given, int | float) and not low <= given <= high:
            raise errors.invalid_settings(name, low, high, given)


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


def authenticate(request: Request, account: Account) -> None:
    """Raise a `ServiceError` unless an HTTP request carries a good key."""
    key = request.credentials()
    if not key:
        raise errors.missing_key()
    try:
        account.check_key(key)
    except errors.ServiceError:
        if re.fullmatch(r"(sk_)?[0-9a-f]{8,}", key):
            raise errors.malformed_key() from None
        raise


# --- one parameter at a time


def _output_format(query: Mapping[str, str], behaviour: Behaviour, allowed: tuple[str, ...]) -> str:
    output_format = query.get("output_format", "mp3_44100_128")
    if output_format not in allowed:
        raise errors.invalid_format(output_format)
    if output_format in behaviour.forbidden_formats:
        raise errors.format_not_allowed(output_format)
    return output_format


def _socket_format(query: Mapping[str, str], behaviour: Behaviour) -> str:
    output_format = _output_format(query, behaviour, STREAMED_FORMATS)
    if output_format in _RARE_FORMATS and not behaviour.rare_formats_on_websocket:
        raise errors.invalid_format(output_format)
    return output_format


def _dialogue_model(model_id: str) -> Model:
    model = _model(model_id)
    if not model.dialogue_voices:
        raise errors.no_dialogue_model(model_id)
    return model


def _model(model_id: str) -> Model:
    try:
        return MODELS[model_id]
    except KeyError:
        raise errors.model_not_found(model_id) from None


def _language(language_code: str | None, model: Model, behaviour: Behaviour) -> str | None:
    if not language_code or language_code in model.languages:
        return language_code or None
    if behaviour.unsupported_language == "reject":
        raise errors.unsupported_language(language_code, model.model_id)
    return None


def _normalises(choice: str | None, model: Model) -> bool:
    return model.normalises if choice in {None, "auto"} else choice == "on"


_Complain = Callable[[str, str], Exception]


def _unprocessable(name: str, message: str) -> errors.InvalidBody:
    return errors.InvalidBody([errors.complaint("value_error", ["query", name], message, None)])


def _integer(
    query: Mapping[str, str], name: str, low: int, high: int, default: int | None, complain: _Complain
) -> int | None:
    given = query.get(name)
    if given is None:
        return default
    if not given.isdecimal() or len(given) > _MOST_DIGITS or not low <= int(given) <= high:
        raise complain(name, f"{name} is an integer from {low} to {high}.")
    return int(given)


def _switch(query: Mapping[str, str], name: str, complain: _Complain, *, default: str = "false") -> bool:
    given = query.get(name, default)
    if given.lower() not in _SWITCHES:
        raise complain(name, f"{name} is true or false.")
    return _SWITCHES[given.lower()]
