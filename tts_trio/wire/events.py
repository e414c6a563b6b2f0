"""What the server says on a WebSocket. `messages.py` decodes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from tts_trio.errors import TTSError
from tts_trio.errors.classification import classify
from tts_trio.wire.json_objects import read_object, read_times


@attrs.define  # a frozen one takes three times as long to make, and there is one for each message
class Alignment:
    """When each character of a piece of text is heard, in the order spoken.

    Attributes:
        chars: The characters.
        starts_ms: When each character begins, in milliseconds from the beginning of its segment.
        durations_ms: How long each character lasts, in milliseconds.
    """

    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    durations_ms: tuple[int, ...]


def alignment_of(value: Any) -> Alignment | None:
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


Times: TypeAlias = Alignment | Mapping[str, Any] | bytes | None
"""Times, read or as they came, decoded or not."""


def _read(times: Times) -> Alignment | None:
    """Read times that were not read yet, since most are never needed."""
    if isinstance(times, Alignment):
        return times
    if not isinstance(times, bytes):
        return alignment_of(times)
    try:
        return None if times == b"null" else alignment_of(read_object(times.decode()))
    except ValueError:  # it is no object
        return None


@attrs.define  # as above
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
