"""Parse what clients send: the JSON of bodies and messages, and the queries of URLs.

The service validates with pydantic, and so does this module. Both accept `"true"` as a boolean and `1.0` as an integer,
and both complain in the same words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError

from tts_trio.local_server import errors

_DEEPEST = 100  # levels of JSON
_LONGEST_CONTEXT = 100  # characters of `previous_text` and `future_text` of a dialogue (official SDK)

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
Normalization: TypeAlias = Literal["auto", "on", "off"]

_Latency = Annotated[int, Field(ge=0, le=4)]
_RequestIds = Annotated[list[str], Field(max_length=3)]
_Context = Annotated[str, Field(max_length=_LONGEST_CONTEXT)]


class VoiceSettings(BaseModel):
    """The settings of a voice. `check_settings` checks their ranges, since the service reports those differently."""

    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: float | None = None
    clone_strength: float | None = None


class Locator(BaseModel):
    """A reference to a pronunciation dictionary."""

    pronunciation_dictionary_id: str
    version_id: str | None = None


class AudioEffects(BaseModel):
    """Effects on the sound. This server validates them, and does not apply them."""

    distance: Annotated[float, Field(ge=0, le=1)] | None = None
    send_level: Annotated[float, Field(ge=0, le=1)] | None = None
    pan: Annotated[float, Field(ge=-1, le=1)] | None = None


class Line(BaseModel):
    """A line of a dialogue."""

    text: str
    voice_id: str


class Body(BaseModel):
    """The body of every request for speech."""

    model_id: str | None = None
    language_code: str | None = None
    previous_request_ids: _RequestIds | None = None
    next_request_ids: _RequestIds | None = None
    pronunciation_dictionary_locators: Annotated[list[Locator], Field(max_length=3)] | None = None
    seed: Seed | None = None
    apply_text_normalization: Normalization | None = None
    use_pvc_as_ivc: bool | None = None
    audio_effects: AudioEffects | None = None


class SpeechBody(Body):
    """The body of a text-to-speech request."""

    text: str
    previous_text: str | None = None
    next_text: str | None = None
    voice_settings: VoiceSettings | None = None
    apply_language_text_normalization: bool | None = None


class DialogueBody(Body):
    """The body of a text-to-dialogue request."""

    inputs: Annotated[list[Line], Field(min_length=1)]
    previous_text: _Context | None = None
    future_text: _Context | None = None
    settings: VoiceSettings | None = None


class Query(BaseModel):
    """The query of every endpoint that speaks."""

    output_format: str = "mp3_44100_128"
    enable_logging: bool = True


class SpeechQuery(Query):
    """The query of a text-to-speech endpoint."""

    optimize_streaming_latency: _Latency | None = None


class SocketQuery(Query):
    """The query of a text-to-dialogue WebSocket."""

    model_id: str = ""
    language_code: str | None = None
    seed: Seed | None = None
    apply_text_normalization: Normalization | None = None
    sync_alignment: bool = False


class SpeechSocketQuery(SocketQuery, SpeechQuery):
    """The query of a text-to-speech WebSocket."""

    enable_ssml_parsing: bool = False
    apply_language_text_normalization: bool = False
    auto_mode: bool = False
    inactivity_timeout: Annotated[int, Field(ge=1)] = 20


M = TypeVar("M", bound=BaseModel)


def parse_json(data: str | bytes) -> Any:
    """Parse the JSON that a client has sent.

    Raises:
        ValueError: The data is not JSON, or is nested too deeply for the recursive functions of this package.
    """
    try:
        parsed = json.loads(data)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    level: list[Any] = [parsed]
    for _ in range(_DEEPEST):
        level = [child for item in level for child in _children(item)]
        if not level:
            return parsed
    raise ValueError("the JSON is nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if is_object(value):
        return value.values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


def json_or_raw(data: str | bytes) -> Any:
    """Parse the data that a client has sent. Return the data itself if it is not JSON."""
    try:
        return parse_json(data)
    except ValueError:
        return data


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def parse_body(kind: type[M], data: bytes, content_type: str) -> M:
    """Parse a body. Like the service, ignore unknown fields, and treat null as absent.

    Args:
        kind: The model of the body.
        data: The bytes of the body.
        content_type: The content type of the request; "" means JSON. A body of another type has no fields.

    Raises:
        InvalidBody: A field is missing, or has a wrong type or range.
    """
    try:
        given: Any = parse_json(data or b"null") if not data or _is_json(content_type) else data
    except ValueError as error:
        place = error.pos if isinstance(error, json.JSONDecodeError) else 0
        complaint = _complaint("json_invalid", ["body", place], "JSON decode error", {})
        raise errors.InvalidBody([complaint]) from error
    fields: Any = {} if given is None else given
    if not is_object(fields):  # FastAPI then reports every field as missing, the optional ones too
        raise errors.InvalidBody([_missing(name) for name in kind.model_fields])
    return validate(kind, {name: value for name, value in fields.items() if value is not None}, "body")


def parse_for_socket(kind: type[M], given: Any, *place: str) -> M:
    """Parse the query of a WebSocket, or the part of a message at this place.

    Raises:
        ServiceError: A field has a wrong type or range.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        complaint = error.errors()[0]
        path = [*place, *map(str, complaint["loc"])]
        raise errors.invalid_parameter(path[0], f"{'.'.join(path)}: {complaint['msg']}") from None


def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type or "application/json"
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def validate(kind: type[M], given: Mapping[str, Any], place: Literal["body", "query"]) -> M:
    """Validate the fields of a body or of a query. Unknown fields are ignored.

    Raises:
        InvalidBody: A field is missing, or has a wrong type or range.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        complaints = [
            _missing(str(item["loc"][0]))
            if item["type"] == "missing" and len(item["loc"]) == 1
            else _complaint(item["type"], [place, *item["loc"]], item["msg"], item["input"])
            for item in error.errors(include_url=False, include_context=False)
        ]
        raise errors.InvalidBody(complaints) from None


def _missing(name: str) -> dict[str, Any]:
    return _complaint("missing", ["body", name], "Field required", None)  # no input (wire/README.md, 4.1)


def _complaint(kind: str, location: list[str | int], message: str, given: object) -> dict[str, Any]:
    return {"type": kind, "loc": location, "msg": message, "input": given}
