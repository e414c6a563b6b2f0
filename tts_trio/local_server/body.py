"""JSON from clients: the body of a text-to-speech request, checked field by field as the service checks it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, cast

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
_TYPE_CHECKS: dict[str, tuple[type | tuple[type, ...], str, str]] = {
    "text": (str, "string_type", "Input should be a valid string"),
    "model_id": (str, "string_type", "Input should be a valid string"),
    "language_code": (str, "string_type", "Input should be a valid string"),
    "previous_text": (str, "string_type", "Input should be a valid string"),
    "next_text": (str, "string_type", "Input should be a valid string"),
    "apply_text_normalization": (str, "string_type", "Input should be a valid string"),
    "voice_settings": (dict, "model_attributes_type", "Input should be a valid dictionary"),
    "pronunciation_dictionary_locators": (list, "list_type", "Input should be a valid list"),
    "previous_request_ids": (list, "list_type", "Input should be a valid list"),
    "next_request_ids": (list, "list_type", "Input should be a valid list"),
    "seed": (int, "int_type", "Input should be a valid integer"),
    "apply_language_text_normalization": (bool, "bool_type", "Input should be a valid boolean"),
    "use_pvc_as_ivc": (bool, "bool_type", "Input should be a valid boolean"),
    "audio_effects": (dict, "model_attributes_type", "Input should be a valid dictionary"),
}


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
    """Give the known fields of the body, absent ones as None; unknown fields are ignored, as by the service.

    Raises:
        InvalidBody: A field is missing, or of a wrong type or range.
    """
    try:
        body = parse_json(data or b"null")
    except ValueError as error:
        raise errors.InvalidBody([errors.complaint("json_invalid", ["body", 0], "JSON decode error", {})]) from error
    if not isinstance(body, dict):
        raise errors.InvalidBody([errors.complaint("missing", ["body"], "Field required", None)])
    given = cast("dict[str, Any]", body)
    complaints: list[dict[str, Any]] = []
    if given.get("text") is None:
        complaints.append(errors.complaint("missing", ["body", "text"], "Field required", None))
    for name, (kind, code, message) in _TYPE_CHECKS.items():
        if given.get(name) is not None and not isinstance(given[name], kind):
            complaints.append(errors.complaint(code, ["body", name], message, given[name]))
        elif kind is list and len(given.get(name) or ()) > _LONGEST_LIST:
            message = f"List should have at most {_LONGEST_LIST} items after validation"
            complaints.append(errors.complaint("too_long", ["body", name], message, given[name]))
    complaints += _wrong_settings(given.get("voice_settings")) + _wrong_effects(given.get("audio_effects"))
    if isinstance(seed := given.get("seed"), int):
        complaints += _wrong_number(["body", "seed"], seed, 0, MOST_SEED)
    if given.get("apply_text_normalization") not in (None, "auto", "on", "off"):
        location: list[str | int] = ["body", "apply_text_normalization"]
        message = "Input should be 'auto', 'on' or 'off'"
        complaints.append(errors.complaint("enum", location, message, given["apply_text_normalization"]))
    if complaints:
        raise errors.InvalidBody(complaints)
    return {name: given.get(name) for name in _TYPE_CHECKS}


def _wrong_settings(settings: Any) -> list[dict[str, Any]]:
    """Complain of wrong types; what is out of range is another error."""
    given = cast("dict[str, Any]", settings) if isinstance(settings, dict) else {}
    complaints: list[dict[str, Any]] = []
    for name in SETTINGS:
        complaints += _wrong_number(["body", "voice_settings", name], given.get(name), -math.inf, math.inf)
    boost = given.get("use_speaker_boost")
    if boost is not None and not isinstance(boost, bool):
        location: list[str | int] = ["body", "voice_settings", "use_speaker_boost"]
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
