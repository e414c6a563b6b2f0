"""What the server says on a WebSocket, decoded.

Frames are JSON objects with base64 audio inside. The service writes camelCase, while parts of its documentation,
and some live reports, have snake_case (wire/README.md, 2.5 and 3.2): both are read. Unknown fields and unknown
frames are let pass, so that a new field of the service breaks no client.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import msgspec
import pybase64

from tts_trio.errors import TTSError
from tts_trio.errors.classification import classify
from tts_trio.wire.json_objects import MOST_CHARACTERS, read_message, read_object, read_times, split_audio

_LONGEST_TEXT = 1000  # characters of an error's message; what is longer is no message, and is sorted and logged


class Alignment(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"starts_ms": "charStartTimesMs", "durations_ms": "charDurationsMs"},
):
    """When each character of a piece of text is heard, in the order spoken; as the service mostly writes it.

    Attributes:
        chars: The characters.
        starts_ms: When each character begins, in milliseconds from the beginning of its segment.
        durations_ms: How long each character lasts, in milliseconds.
    """

    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]


_NOTHING = msgspec.Raw(b"null")


Times: TypeAlias = Alignment | msgspec.Raw | Mapping[str, Any] | None
"""Times, read or as they came."""


def _read(times: Times) -> Alignment | None:
    """Read times that were not read yet, since most are never needed."""
    if isinstance(times, Alignment):
        return times
    if not isinstance(times, msgspec.Raw):
        return _alignment(times)
    text = bytes(times).decode()
    try:
        return None if text == "null" else _alignment(read_object(text))
    except ValueError:  # it is no object
        return None


@attrs.define  # a frozen one takes three times as long to make, and there is one for each message
class AudioReceived:
    """A piece of audio, in the connection's output format.

    Attributes:
        audio: The encoded audio.
        alignment: The times of the characters as they were sent, or None.
        context_id: The context that the audio belongs to; None on sockets without contexts.
    """

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    alignment: Alignment | None = None
    _normalized_alignment: Times = attrs.field(default=None, eq=_read)
    context_id: str | None = None

    @property
    def normalized_alignment(self) -> Alignment | None:
        """The times of the characters as they were read ("forty-two" for "42"), or None."""
        times = _read(self._normalized_alignment)
        self._normalized_alignment = times
        return times


@attrs.frozen
class Final:
    """All audio of the utterance (or context) was sent: `isFinal`."""

    context_id: str | None = None


@attrs.frozen
class ErrorReceived:
    """An error of the service, which closes the socket about 0.8 s later (wire/README.md, 4.3).

    Attributes:
        message: The words of the service, for people.
        code: The service's identifier, its `error` field, such as `invalid_api_key`; None where there is none.
        close_code: The WebSocket close code that the frame announces, usually 1008 whatever the cause.
        context_id: The context that the frame names, if it names one.
        param: The parameter that the dialogue sockets name as the cause; None where there is none.
    """

    message: str
    code: str | None = None
    close_code: int | None = None
    context_id: str | None = None
    param: str | None = None

    def to_error(self, trace_id: str | None) -> TTSError:
        """Return it as an error of the tree.

        Args:
            trace_id: The service's id of the socket that the frame came on.
        """
        codes = (self.code,)
        return classify(self.message, codes=codes, close_code=self.close_code, field=self.param, trace_id=trace_id)


@attrs.frozen
class Unreadable:
    """A frame that is not what the protocol knows: its receiver skips it with a warning.

    Attributes:
        reason: What is wrong with the frame, without its content.
        context_id: The context that the frame names, if that much could be read.
    """

    reason: str
    context_id: str | None = None


Event: TypeAlias = AudioReceived | Final | ErrorReceived | Unreadable


# Nearly all messages of the text-to-speech sockets are audio with times, spelled as in every recording. They are read
# by types, in half of the time that it takes to build what JSON says and to look at it. `_decode_fields` reads others.


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
    alignment: Alignment | None = None
    normalized: msgspec.Raw = _NOTHING
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
    times = said.alignment
    if said.is_final or not (times is None or _is_whole(times)):
        return _decode_fields(audio, rest)
    context_id = said.context_id[:_LONGEST_TEXT] if said.context_id else None
    return [AudioReceived(audio, times, said.normalized, context_id)]


def _is_whole(times: Alignment) -> bool:
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
        events.append(AudioReceived(audio, _alignment(frame.get("alignment")), normalized, context_id))
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


def _alignment(value: Any) -> Alignment | None:
    """The alignment object, or None where it is absent or not one: audio without times is still played."""
    fields: dict[str, Any] = value
    if type(fields) is not dict:
        return None
    times = read_times(
        fields.get("chars"),
        fields.get("charStartTimesMs") or fields.get("char_start_times_ms") or fields.get("charsStartTimesMs"),
        fields.get("charDurationsMs") or fields.get("char_durations_ms") or fields.get("charsDurationsMs"),
    )
    return times and Alignment(*times)
