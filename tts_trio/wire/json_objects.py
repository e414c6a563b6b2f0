"""JSON from a peer, of which nothing is built before it is known to be small.

A message may have 16 MiB, nearly all of it one string of base64. What costs time and memory is many values: a million
of them hold the loop for a second. Each stands behind a comma, and base64 has none. The service times the characters
of a message with six values for each of them.
"""

from __future__ import annotations

import json
import json.scanner
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import pybase64

MOST_CHARACTERS = 5000
"""Characters that one message may time: about five minutes of speech. What has more is heard without its times."""

_MOST_COMMAS = 8 * MOST_CHARACTERS
_AUDIO = re.compile(r'"(audio(?:_base64)?)"\s*:\s*"')
_FIRST = {name: re.compile(rf'\s*\{{\s*"{name}"\s*:\s*"') for name in ("audio", "audio_base64")}
_SMALL_FIELD = re.compile(r'"(\w+)"\s*:\s*(?:"([^"\\]*)"|(true)\b)')
_DECODER = json.JSONDecoder()
_scan = cast("Callable[[str, int], tuple[Any, int]]", json.scanner.make_scanner(cast("Any", _DECODER)))
"""What the decoder calls, through two functions in Python."""
_EDGE = 4096  # characters at either end of a message, where its small fields are looked for


def read_object(message: str) -> dict[str, Any]:
    """Read an object.

    Of one with too many values only its audio is read, and what is true or a string near its beginning or its end.

    Raises:
        ValueError: It is no JSON, or is nested too deeply, or is no object.
    """
    if len(message) > _MOST_COMMAS and message.count(",") >= _MOST_COMMAS:
        return _read_small_fields(message)
    parsed: dict[str, Any]
    try:
        try:
            parsed, end = _scan(message, 0)
        except StopIteration:
            parsed, end = {}, -1
        if end != len(message):  # it stands between blanks, or the decoder says what is wrong
            parsed = _DECODER.decode(message)
    except RecursionError:
        raise ValueError("invalid JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if type(parsed) is not dict:
        raise ValueError(f"a JSON {type(parsed).__name__} where an object is due")
    return parsed


def split_audio(message: str, field: Literal["audio", "audio_base64"]) -> tuple[bytes, str]:
    """Decode the audio of an object that begins with it, as all do that the service writes.

    A decoder of JSON looks at each character of a string for its end and for escapes, which costs more than to decode
    the base64. Base64 has no escapes.

    Args:
        message: The object.
        field: The field of the audio.

    Returns:
        The audio, and the object with an empty string in its place. Where its first field is another, or no base64,
        they are `b""` and the object.
    """
    begins = _FIRST[field].match(message)
    if begins is None:
        return b"", message
    begin = begins.end()
    try:
        end = message.index('"', begin)
        return pybase64.b64decode(message[begin:end], validate=True), message[:begin] + message[end:]
    except ValueError:
        return b"", message


def read_message(audio: bytes, rest: str, field: Literal["audio", "audio_base64"]) -> dict[str, Any]:
    """Read an object that `split_audio` has split. The field of the audio is `bytes`, if the object begins with it.

    Raises:
        ValueError: As `read_object`.
    """
    fields = read_object(rest)
    if audio and fields.get(field) == "":  # the field is not there again
        fields[field] = audio
    return fields


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


Times: TypeAlias = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]
"""Characters, and two numbers for each of them."""


def read_times(chars: Any, first: Any, second: Any, factor: int = 1) -> Times | None:
    """Return the times of characters, in whole numbers of a unit.

    Args:
        chars: What is to be a list of characters.
        first: What is to be a list of numbers, one for each character.
        second: The same.
        factor: What the numbers are to be multiplied by.

    Returns:
        None if they are no such lists, or there are too many characters, or one of the numbers is not finite.
    """
    if not type(chars) is type(first) is type(second) is list:
        return None
    if not 0 < len(chars) == len(first) == len(second) <= MOST_CHARACTERS:
        return None
    if {*map(type, chars)} != {str} or sum(map(len, chars)) > MOST_CHARACTERS:
        return None
    kinds = {*map(type, first), *map(type, second)}
    if kinds == {int} and factor == 1:
        return tuple(chars), tuple(first), tuple(second)
    if not kinds <= {int, float}:
        return None
    try:
        return tuple(chars), _rounded(first, factor), _rounded(second, factor)
    except (ValueError, OverflowError):  # NaN, infinity
        return None


def _rounded(numbers: list[float], factor: int) -> tuple[int, ...]:
    return tuple(round(number * factor) for number in numbers)
