"""JSON from clients: the bodies of HTTP requests, checked field by field as the service checks them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, cast

import attrs

from tts_trio.local_server import errors

SETTINGS = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
    "clone_strength": (0.0, 1.0),
}
"""The range of each number in `voice_settings`."""

MOST_SEED = 2**32 - 1
_EFFECTS = {"distance": (0.0, 1.0), "send_level": (0.0, 1.0), "pan": (-1.0, 1.0)}
_LONGEST_LIST = 3  # dictionaries, and ids of requests
_DEEPEST = 100  # levels of JSON
_Check = tuple[type | tuple[type, ...], str, str]
_STRING: _Check = (str, "string_type", "Input should be a valid string")
_OBJECT: _Check = (dict, "model_attributes_type", "Input should be a valid dictionary")
_LIST: _Check = (list, "list_type", "Input should be a valid list")
_BOOLEAN: _Check = (bool, "bool_type", "Input should be a valid boolean")
_FIELDS: dict[str, _Check] = {
    "model_id": _STRING,
    "language_code": _STRING,
    "previous_text": _STRING,
    "apply_text_normalization": _STRING,
    "pronunciation_dictionary_locators": _LIST,
    "previous_request_ids": _LIST,
    "next_request_ids": _LIST,
    "seed": (int, "int_type", "Input should be a valid integer"),
    "use_pvc_as_ivc": _BOOLEAN,
    "audio_effects": _OBJECT,
}
_SPEECH_FIELDS = _FIELDS | {
    "text": _STRING,
    "next_text": _STRING,
    "voice_settings": _OBJECT,
    "apply_language_text_normalization": _BOOLEAN,
}
_DIALOGUE_FIELDS = _FIELDS | {"future_text": _STRING, "settings": _OBJECT}


@attrs.frozen
class Line:
    """A line of a dialogue."""

    text: str
    voice_id: str


def parse_json(data: str | bytes) -> Any:
    """Parse what a client has sent.

    Raises:
        ValueError: It is no JSON, or so deeply nested that whoever walks through it runs out of stack.
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
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


def parse_body(data: bytes) -> dict[str, Any]:
    """Give the known fields of a text-to-speech body, absent ones as None; others are ignored, as by the service.

    Raises:
        InvalidBody: A field is missing, or of a wrong type or range.
    """
    given = _object(data)
    complaints: list[dict[str, Any]] = []
    if given.get("text") is None:
        complaints.append(errors.complaint("missing", ["body", "text"], "Field required", None))
    complaints += _wrong_fields(given, _SPEECH_FIELDS, "voice_settings")
    if complaints:
        raise errors.InvalidBody(complaints)
    return {name: given.get(name) for name in _SPEECH_FIELDS}


def parse_dialogue(data: bytes) -> tuple[tuple[Line, ...], dict[str, Any]]:
    """Give the lines and the other known fields of a text-to-dialogue body.

    Raises:
        InvalidBody: A field is missing, or of a wrong type or range.
    """
    given = _object(data)
    complaints: list[dict[str, Any]] = []
    inputs: Any = given.get("inputs")
    if not isinstance(inputs, list):
        kind, message = ("missing", "Field required") if inputs is None else _LIST[1:]
        complaints.append(errors.complaint(kind, ["body", "inputs"], message, inputs))
        inputs = []
    lines: list[Line] = []
    for index, item in enumerate(cast("list[Any]", inputs)):
        line = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        for name in ("text", "voice_id"):
            if not isinstance(line.get(name), str):
                location: list[str | int] = ["body", "inputs", index, name]
                complaints.append(errors.complaint(_STRING[1], location, _STRING[2], line.get(name)))
        lines.append(Line(str(line.get("text")), str(line.get("voice_id"))))
    complaints += _wrong_fields(given, _DIALOGUE_FIELDS, "settings")
    if complaints:
        raise errors.InvalidBody(complaints)
    return tuple(lines), {name: given.get(name) for name in _DIALOGUE_FIELDS}


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = parse_json(data or b"null")
    except ValueError as error:
        raise errors.InvalidBody([errors.complaint("json_invalid", ["body", 0], "JSON decode error", {})]) from error
    if not isinstance(body, dict):
        raise errors.InvalidBody([errors.complaint("missing", ["body"], "Field required", None)])
    return cast("dict[str, Any]", body)


def _wrong_fields(given: dict[str, Any], fields: dict[str, _Check], settings: str) -> list[dict[str, Any]]:
    complaints: list[dict[str, Any]] = []
    for name, (kind, code, message) in fields.items():
        if given.get(name) is not None and not isinstance(given[name], kind):
            complaints.append(errors.complaint(code, ["body", name], message, given[name]))
        elif kind is list and len(given.get(name) or ()) > _LONGEST_LIST:
            message = f"List should have at most {_LONGEST_LIST} items after validation"
            complaints.append(errors.complaint("too_long", ["body", name], message, given[name]))
    complaints += _wrong_settings(settings, given.get(settings)) + _wrong_effects(given.get("audio_effects"))
    if isinstance(seed := given.get("seed"), int):
        complaints += _wrong_number(["body", "seed"], seed, 0, MOST_SEED)
    if given.get("apply_text_normalization") not in (None, "auto", "on", "off"):
        location: list[str | int] = ["body", "apply_text_normalization"]
        message = "Input should be 'auto', 'on' or 'off'"
        complaints.append(errors.complaint("enum", location, message, given["apply_text_normalization"]))
    return complaints


def _wrong_settings(field: str, settings: Any) -> list[dict[str, Any]]:
    """Complain of wrong types; what is out of range is another error."""
    given = cast("dict[str, Any]", settings) if isinstance(settings, dict) else {}
    complaints: list[dict[str, Any]] = []
    for name in SETTINGS:
        complaints += _wrong_number(["body", field, name], given.get(name), -math.inf, math.inf)
    boost = given.get("use_speaker_boost")
    if boost is not None and not isinstance(boost, bool):
        location: list[str | int] = ["body", field, "use_speaker_boost"]
        complaints.append(errors.complaint("bool_type", location, "Input should be a valid boolean", boost))
    return complaints


def _wrong_effects(effects: Any) -> list[dict[str, Any]]:
    given = cast("dict[str, Any]", effects) if isinstance(effects, dict) else {}
    complaints: list[dict[str, Any]] = []
    for name, (low, high) in _EFFECTS.items():
        complaints += _wrong_number(["body", "audio_effects", name], given.get(name), low, high)
    return complaints


def _wrong_number(location: list[str | int], value: Any, low: float, high: float) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, int | float):
        return [errors.complaint("float_type", location, "Input should be a valid number", value)]
    if value < low:
        return [
            errors.complaint("greater_than_equal", location, f"Input should be greater than or equal to {low}", value)
        ]
    if value > high:
        return [errors.complaint("less_than_equal", location, f"Input should be less than or equal to {high}", value)]
    return []
