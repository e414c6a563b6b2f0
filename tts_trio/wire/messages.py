"""Decodes what the server says on a WebSocket.

Frames are JSON objects with base64 audio inside. The service writes camelCase, while parts of its documentation,
and some live reports, have snake_case (wire/README.md, 2.5 and 3.2): both are read. Unknown fields and unknown
frames are let pass, so that a new field of the service breaks no client.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import pybase64

from tts_trio.wire.events import Alignment, AudioReceived, ErrorReceived, Event, Final, Unreadable, alignment_of
from tts_trio.wire.json_objects import MOST_CHARACTERS, read_message, split_audio

_LONGEST_TEXT = 1000  # characters of an error's message; what is longer is no message, and is sorted and logged

# Nearly all messages of the text-to-speech sockets are audio with times, spelled as in every recording. They are read
# by types, in half of the time that it takes to build what JSON says and to look at it. `_decode_fields` reads others.


class _Times(msgspec.Struct, gc=False, rename={"starts_ms": "charStartTimesMs", "durations_ms": "charDurationsMs"}):
    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]


class _Usual(
    msgspec.Struct,
    gc=False,
    rename={
        "normalized": "normalizedAlignment",
        "is_final": "isFinal",
        "context_id": "contextId",
        "other_normalized": "normalized_alignment",
        "other_is_final": "is_final",
        "other_context_id": "context_id",
    },
):
    """Such a message, but for its audio."""

    audio: Literal[""]
    alignment: _Times | None = None
    normalized: msgspec.Raw = msgspec.Raw(b"null")
    is_final: bool | None = None
    context_id: str | None = None
    # What such a message does not have.
    other_normalized: msgspec.UnsetType = msgspec.UNSET
    other_is_final: msgspec.UnsetType = msgspec.UNSET
    other_context_id: msgspec.UnsetType = msgspec.UNSET
    error: msgspec.UnsetType = msgspec.UNSET
    message: msgspec.UnsetType = msgspec.UNSET
    code: msgspec.UnsetType = msgspec.UNSET


_read_usual = msgspec.json.Decoder(_Usual).decode
_LONGEST_USUAL = 7 * MOST_CHARACTERS  # characters without the audio; to time one takes seven at least


def decode(message: str | bytes) -> Sequence[Event]:
    """Decode one WebSocket message of the service.

    Returns:
        The events in it, in order: one frame may carry audio and be the final one too. Empty for frames that say
        nothing, such as one whose every field is null.
    """
    if isinstance(message, bytes):
        return [Unreadable(f"a binary message of {len(message)} bytes")]
    audio, rest = split_audio(message, "audio")
    if not audio or len(rest) > _LONGEST_USUAL:
        return _decode_fields(audio, rest)
    try:
        said = _read_usual(rest)
    except (ValueError, RecursionError):
        return _decode_fields(audio, rest)
    times, alignment = said.alignment, None
    if said.is_final or not (times is None or _is_whole(times)):
        return _decode_fields(audio, rest)
    if times is not None:
        alignment = Alignment(times.chars, times.starts_ms, times.durations_ms)
    context_id = said.context_id[:_LONGEST_TEXT] if said.context_id else None
    return [AudioReceived(audio, alignment, bytes(said.normalized), context_id)]


def _is_whole(times: _Times) -> bool:
    chars, count = times.chars, len(times.chars)
    return 0 < count == len(times.starts_ms) == len(times.durations_ms) and sum(map(len, chars)) <= MOST_CHARACTERS


def _decode_fields(sound: bytes, rest: str) -> Sequence[Event]:
    try:
        frame = read_message(sound, rest, "audio")
    except ValueError as error:
        return [Unreadable(str(error))]
    named = frame.get("contextId") or frame.get("context_id")
    context_id = _text(named) if named else None
    if frame.get("error") or ("message" in frame and "code" in frame):
        return [_error(frame, context_id)]
    events: list[Event] = []
    audio = frame.get("audio")
    if audio and not isinstance(audio, bytes):
        try:
            audio = pybase64.b64decode(audio, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            events.append(Unreadable(f"bad base64 in the field audio: {error}", context_id))
            audio = b""
    if audio:
        normalized = frame.get("normalizedAlignment") or frame.get("normalized_alignment")
        events.append(AudioReceived(audio, alignment_of(frame.get("alignment")), normalized, context_id))
    if (frame.get("isFinal") or frame.get("is_final")) is True:
        events.append(Final(context_id))
    return events


def _error(frame: Mapping[str, Any], context_id: str | None) -> ErrorReceived:
    code = _text(frame.get("error"))
    close_code = frame.get("code")
    return ErrorReceived(
        message=_text(frame.get("message")) or code or "the service reported an error and gave no message",
        code=code,
        close_code=close_code if isinstance(close_code, int) else None,
        context_id=context_id,
        param=_text(frame.get("param")),
    )


def _text(value: object) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None
