"""Static texts over HTTP, without I/O: requests, and answers that tell when the words are heard.

`POST /v1/text-to-speech/{voice_id}/stream` answers with raw audio, and `/stream/with-timestamps` with a JSON object a
line; the v4 models are asked at `/v1/text-to-dialogue`, which answers likewise (ElevenLabs API reference).
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs
import pybase64

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import LONGEST_CONTEXT, V3_STABILITIES, is_v3, is_v4, v3_stability
from tts_trio.errors import ConfigurationError, ProtocolError
from tts_trio.errors.classification import classify_response
from tts_trio.wire.encode import encode_query
from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.json_objects import read_message, read_times, split_audio

_LINE = re.compile(rb"[^\r\n]+")
_LONGEST_LINE = 16 * 2**20  # bytes, as of a WebSocket message
_LONGEST_ERROR = 65536  # bytes: a longer line is no message of an error

_encode = json.JSONEncoder(ensure_ascii=False).encode  # which `json.dumps` makes for each call

_MOST_DIGITS = 10


@attrs.frozen
class SpeechRequest:
    """One request.

    Attributes:
        path: The path and query, below the base URL.
        body: The JSON body. b"": there is none, and the method is GET instead of POST.
        timed: Whether the answer is JSON, such as lines for `TimedLines`, and not raw audio.
        text: The text that is spoken; it is in the body, too.
    """

    path: str
    body: bytes
    timed: bool = False
    text: str = ""


def stream_request(
    config: TTSConfig,
    text: str,
    *,
    previous_text: str | None = None,
    next_text: str | None = None,
    previous_request_ids: Sequence[str] = (),
    timed: bool = False,
) -> SpeechRequest:
    """Return the request that speaks `text`, whose answer is streamed (ElevenLabs API reference).

    Args:
        config: The voice, the model, the format and the settings.
        text: The text to speak.
        previous_text: The text that was said before, for the intonation; it is not spoken. A v4 model gets its last 100
            characters only, and the first 100 of `next_text`.
        next_text: The text that will be said after, likewise.
        previous_request_ids: Up to 3 ids of requests that were answered whole, in place of `previous_text`.
        timed: Whether the answer must have the times of the words.

    Raises:
        ConfigurationError: A v3 model gets a text before or after, or a `stability` other than 0.0, 0.5 and 1.0, which
            the service refuses with HTTP 400 (reported by users).
    """
    context: dict[str, Any] = {
        "previous_text": previous_text or None,
        "next_text": next_text or None,
        "previous_request_ids": list(previous_request_ids) or None,
    }
    if is_v3(config.model_id) and (field := next(filter(context.get, context), None)):
        raise ConfigurationError(f"{field}: the model {config.model_id} does not support it; leave it out", field=field)
    if is_v3(config.model_id) and config.voice_settings and config.voice_settings.stability not in V3_STABILITIES:
        raise v3_stability(config.voice_settings.stability)
    query: dict[str, Any] = {"output_format": config.output_format, "enable_logging": config.enable_logging}
    body: dict[str, Any] = {
        "model_id": config.model_id,
        "language_code": config.language_code,
        "pronunciation_dictionary_locators": [
            attrs.asdict(locator) for locator in config.pronunciation_dictionary_locators
        ]
        or None,
        "seed": config.seed,
        "apply_text_normalization": config.apply_text_normalization,
    }
    settings = config.voice_settings.to_json() if config.voice_settings else None
    if is_v4(config.model_id):
        where = "text-to-dialogue"
        context["previous_text"] = _last_words(context["previous_text"])
        context["future_text"] = _first_words(context.pop("next_text"))  # its name there
        body |= {"inputs": [{"text": text, "voice_id": config.voice_id}], "settings": settings}
    else:
        where = f"text-to-speech/{config.voice_id}"
        query["optimize_streaming_latency"] = None if is_v3(config.model_id) else config.optimize_streaming_latency
        body |= {"text": text, "voice_settings": settings}
        body["apply_language_text_normalization"] = config.apply_language_text_normalization
    given = {name: value for name, value in (body | context).items() if value is not None}
    form = "stream/with-timestamps" if timed else "stream"
    return SpeechRequest(
        path=f"/v1/{where}/{form}?{encode_query(query)}",
        body=_encode(given).encode(),
        timed=timed,
        text=text,
    )


def resource_request(path: str, **query: Any) -> SpeechRequest:
    """Return the request for a resource of the account, whose answer is JSON."""
    return SpeechRequest(path=f"{path}?{encode_query(query)}" if query else path, body=b"", timed=True)


def _first_words(text: str | None) -> str | None:
    """The whole words at the beginning of a text that a v4 model takes as its context."""
    if text is None or len(text) <= LONGEST_CONTEXT:
        return text
    return text[: LONGEST_CONTEXT + 1].rpartition(" ")[0] or text[:LONGEST_CONTEXT]


def _last_words(text: str | None) -> str | None:
    """Those at its end."""
    if text is None or len(text) <= LONGEST_CONTEXT:
        return text
    return text[-LONGEST_CONTEXT - 1 :].partition(" ")[2] or text[-LONGEST_CONTEXT:]


class TimedLines:
    """Reads an answer of `/stream/with-timestamps`, cut anywhere.

    A line that cannot be read has audio in it that would be missing from the phrase, so it is an error. Blank lines,
    and objects with neither audio nor times, say nothing.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[AudioReceived]:
        """Take the next bytes, and give what the lines say that end in them.

        Raises:
            ProtocolError: A line is no JSON object, its audio is no base64, or it is longer than 16 MiB.
            TTSError: The line is an error of the service.
        """
        searched = len(self._buffer)
        self._buffer += data
        end = self._buffer.rfind(b"\n", searched) + 1
        lines = _LINE.findall(self._buffer, 0, end)
        del self._buffer[:end]
        if len(self._buffer) > _LONGEST_LINE:
            raise ProtocolError(f"a line of the answer is longer than {_LONGEST_LINE} bytes")
        return [piece for line in lines if (piece := _read_line(line)) is not None]

    def end(self) -> list[AudioReceived]:
        """Give what the last line says, which needs no line end.

        Raises:
            TTSError: As `feed`.
        """
        return self.feed(b"\n")


def _read_line(line: bytes) -> AudioReceived | None:
    if line.isspace():
        return None
    try:
        sound, rest = split_audio(line.decode(), "audio_base64")
        fields = read_message(sound, rest, "audio_base64")
        audio = fields.get("audio_base64") or b""
        if not isinstance(audio, bytes):
            audio = pybase64.b64decode(audio, validate=True)
    except (ValueError, TypeError) as error:
        kind = "bad base64" if isinstance(error, binascii.Error) else str(error)
        raise ProtocolError(f"a line of the answer cannot be read: {kind}") from None
    if "detail" in fields:
        raise classify_response(200, {}, line if len(line) <= _LONGEST_ERROR else b"")
    alignment, normalized = _alignment(fields.get("alignment")), _alignment(fields.get("normalized_alignment"))
    return AudioReceived(audio, alignment, normalized) if audio or alignment or normalized else None


def _alignment(value: object) -> Alignment | None:
    """The alignment object, or None where it is absent or not one: audio without times is still played."""
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    times = read_times(
        fields.get("characters"),
        fields.get("character_start_times_seconds"),
        fields.get("character_end_times_seconds"),
        1000,
    )
    if times is None:
        return None
    chars, starts, ends = times
    durations = (end - start for start, end in zip(starts, ends, strict=True))
    return Alignment(chars, starts, tuple(durations))


def header_number(headers: Mapping[str, str], name: str) -> int | None:
    """Return the whole number in a header of the service's; None where there is none."""
    value = headers.get(name, "")
    return int(value) if value.isdecimal() and len(value) < _MOST_DIGITS else None
