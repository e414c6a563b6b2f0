"""JSON from a peer, of which nothing is built before it is known to be small.

A message may have 16 MiB, nearly all of it one string of base64. What costs time and memory is many values: a million
of them hold the loop for a second. Each stands behind a comma, and base64 has none. The service times the characters
of a message with six values for each of them.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

MOST_CHARACTERS = 5000
"""Characters that one message may time: about five minutes of speech. What has more is heard without its times."""

_MOST_COMMAS = 8 * MOST_CHARACTERS
_AUDIO = re.compile(r'"(audio(?:_base64)?)"\s*:\s*"')
_SMALL_FIELD = re.compile(r'"(\w+)"\s*:\s*(?:"([^"\\]*)"|(true)\b)')
_EDGE = 4096  # characters at either end of a message, where its small fields are looked for


def read_object(message: str) -> dict[str, Any]:
    """Read an object.

    Of one with too many values only its audio is read, and what is true or a string near its beginning or its end.

    Raises:
        ValueError: It is no JSON, or is nested too deeply, or is no object.
    """
    if len(message) > _MOST_COMMAS and message.count(",") >= _MOST_COMMAS:
        return _read_small_fields(message)
    try:
        parsed: object = json.loads(message)
    except RecursionError:
        raise ValueError("invalid JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"a JSON {type(parsed).__name__} where an object is due")  # noqa: TRY004 - no caller's mistake
    return cast("dict[str, Any]", parsed)


def _read_small_fields(message: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    rest = message
    if audio := _AUDIO.search(message):
        end = message.find('"', audio.end())
        fields[audio[1]] = message[audio.end() : end]
        rest = message[: audio.start()][-_EDGE:] + message[end + 1 :]
    for edge in (message[:_EDGE], rest[:_EDGE], rest[-_EDGE:]):
        for name, text, true in _SMALL_FIELD.findall(edge):
            fields.setdefault(name, bool(true) or text)
    return fields


def _short_list(value: object) -> list[Any]:
    """Return a list of a length that times of characters may have; an empty one for all else."""
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return entries if len(entries) <= MOST_CHARACTERS else []


def read_characters(value: object) -> tuple[str, ...]:
    """Return the characters that are timed; none if they are no strings, or too many in all."""
    entries = _short_list(value)
    if not {*map(type, entries)} <= {str} or sum(map(len, entries)) > MOST_CHARACTERS:
        return ()
    return tuple(entries)


def read_numbers(value: object, factor: int = 1) -> tuple[int, ...]:
    """Return times in whole numbers of a unit; none if one of them is no finite number."""
    entries = _short_list(value)
    kinds = {*map(type, entries)}
    if kinds == {int} and factor == 1:
        return tuple(entries)
    if not kinds <= {int, float}:
        return ()
    try:
        return tuple(round(entry * factor) for entry in entries)
    except (ValueError, OverflowError):  # NaN, infinity
        return ()
