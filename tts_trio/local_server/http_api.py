"""The HTTP endpoints, without I/O: a request gives an answer or an order for speech, and the speech gives a body.

Headers, content types, sizes and pace as recorded (wire/README.md, 1.5 and 1.6).
"""

from __future__ import annotations

import base64
import json
import random
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Literal

import attrs

from tts_trio.local_server import catalog, errors, resources
from tts_trio.local_server.account import Account, Slot
from tts_trio.local_server.body import Line
from tts_trio.local_server.parameters import Request, authenticate, parse_http
from tts_trio.local_server.speech import Alignment, Clip, Order, single_spaced, tagged

Headers = list[tuple[str, str]]

_SPEECH = re.compile(
    r"/v1/(text-to-dialogue|text-to-speech/(?P<voice>[^/]*))(?P<form>|/stream|/with-timestamps|/stream/with-timestamps)"
)
_CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "ulaw": "audio/ulaw",
    "alaw": "audio/alaw",
    "m4a": "audio/mp4",
}
_JSON = "application/json"
_CHARACTERS_A_SECOND = 15  # a guess at the length of a generation, until it is spoken
_CHUNK_SIZES = (8186, 4300, 1388, 3989, 4577, 1213, 1557, 10533, 279)  # wire/README.md, 1.6
_EXPOSED_HEADERS = (
    "request-id, history-item-id, character-cost, regeneration-count, generation-info,"
    " current-concurrent-requests, maximum-concurrent-requests, collect-preference"
)
_EVERY_ANSWER: Headers = [
    ("server", "uvicorn"),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "POST, PATCH, OPTIONS, DELETE, GET, PUT"),
    ("access-control-max-age", "600"),
    ("access-control-expose-headers", _EXPOSED_HEADERS),
    ("strict-transport-security", "max-age=1800;"),
    ("vary", "Accept-Language"),
    ("via", "1.1 google"),
    ("alt-svc", 'h3=":443"; ma=2592000'),
    ("x-region", "us-central1"),
]


@attrs.frozen
class Answer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


@attrs.frozen
class SpeechAnswer:
    """An answer that has to be spoken first.

    Attributes:
        order: The text to speak, and how.
        slot: The generation; its start is settled, its end is a guess.
        form: The last part of the path.
        headers: All headers but those that depend on the speech.
        lines: The lines of a dialogue; none for text-to-speech.
    """

    order: Order
    slot: Slot
    form: Literal["", "/stream", "/with-timestamps", "/stream/with-timestamps"]
    headers: Headers
    lines: Sequence[Line] = ()


@attrs.frozen
class Part:
    """A piece of a body, and when it is due."""

    at: float
    data: bytes


@attrs.frozen
class Spoken:
    """A `SpeechAnswer`, spoken.

    Attributes:
        headers: All headers; without `content-length` the body is chunked.
        parts: The pieces of the body.
    """

    headers: Headers
    parts: Sequence[Part]


def respond(request: Request, account: Account, now: float) -> Answer | SpeechAnswer:
    """Answer a request."""
    try:
        return _route(request, account, now)
    except errors.ServiceError as error:
        return refuse(error, account)
    except errors.InvalidBody as invalid:
        return _answer(422, {"detail": invalid.complaints}, account.trace_id())


def refuse(error: errors.ServiceError, account: Account, status: int | None = None) -> Answer:
    """Answer with an error."""
    trace_id = account.trace_id()
    return _answer(status or error.status, error.body(trace_id), trace_id)


def speak(answer: SpeechAnswer, clip: Clip, account: Account) -> Spoken:
    """Make the headers and the body of an answer out of its speech."""
    behavior, start = account.behavior, answer.slot.start
    if answer.order.output_format.startswith("mp3"):
        clip = tagged(clip)
    first = start + behavior.model_latency
    heard_first = clip.slices[0].end_ms if clip.slices else 0.0
    ready = [first + (piece.end_ms - heard_first) / 1000 / behavior.speed for piece in clip.slices] or [first]
    answer.slot.end = end = ready[-1]
    headers = list(answer.headers)
    if answer.form == "/stream":
        return Spoken(headers, _chunks(answer.order, clip, account, first))
    if answer.form == "/stream/with-timestamps":
        lines = [json.dumps(_timed(clip, answer.lines, index)).encode() + b"\n" for index in range(len(clip.slices))]
        return Spoken(headers, [Part(at, line) for at, line in zip(ready, lines, strict=False)])
    body = b"".join(piece.audio for piece in clip.slices)
    if answer.form == "/with-timestamps":
        body = json.dumps(_timed(clip, answer.lines, None)).encode()
    headers += [("content-length", str(len(body))), ("tts-latency-ms", str(round(1000 * (end - start))))]
    return Spoken(headers, [Part(end, body)])


def _route(request: Request, account: Account, now: float) -> Answer | SpeechAnswer:
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        headers = [*_EVERY_ANSWER, ("x-trace-id", account.trace_id()), ("content-type", "text/plain; charset=utf-8")]
        return Answer(200, headers, b"OK")
    if match := _SPEECH.fullmatch(request.path):
        if request.method != "POST":
            return _not_allowed("POST", account)
        authenticate(request, account)
        return _speech(request, match["voice"], match["form"], account, now)
    methods: list[str] = []
    for method, pattern, resource in resources.ROUTES:
        if match := re.fullmatch(pattern, request.path):
            if method == request.method:
                authenticate(request, account)
                return _answer(
                    200, resource(resources.Call(request, account, now, "".join(match.groups()))), account.trace_id()
                )
            methods.append(method)
    if methods:
        return _not_allowed(", ".join(methods), account)
    return _answer(404, {"detail": "Not Found"}, account.trace_id())


def _speech(request: Request, voice_id: str | None, form: Any, account: Account, now: float) -> SpeechAnswer:
    whole = not form.startswith("/stream")
    lines, parameters = parse_http(request, voice_id, account.behavior, whole=whole)
    text = " ".join(line.text for line in lines)
    characters = sum(len(line.text) for line in lines) if text.strip() else 0
    start = account.admit(now)
    price = account.charge(characters, parameters.model)
    limit = account.behavior.concurrency or 10
    family = parameters.output_format.partition("_")[0]
    slot = account.occupy(start, start + len(text) / _CHARACTERS_A_SECOND / account.behavior.speed, now)
    request_id = account.identifier()
    content_type = _CONTENT_TYPES.get(family, account.behavior.opus_content_type)
    headers = [
        *_EVERY_ANSWER,
        ("x-trace-id", account.trace_id()),
        ("content-type", _JSON if "timestamps" in form else content_type),
        ("character-cost", str(price)),
        ("request-id", request_id),
        ("current-concurrent-requests", str(account.generating(start))),
        ("maximum-concurrent-requests", str(limit)),
        ("workspace-concurrent-requests", str(account.generating(start))),
    ]
    if parameters.logging:
        item_id = account.identifier()
        account.history.appendleft(
            {
                "history_item_id": item_id,
                "request_id": request_id,
                "voice_id": lines[0].voice_id,
                "voice_name": catalog.voice_name(lines[0].voice_id),
                "voice_category": "premade",
                "model_id": parameters.model.model_id,
                "output_format": parameters.output_format,
                "content_type": content_type,
                "text": text,
                "character_count_change_from": account.used - price,
                "character_count_change_to": account.used,
                "date_unix": 0,  # the account has no clock
                "state": "created",
                "source": "TTS",
            }
        )
        headers.append(("history-item-id", item_id))
    return SpeechAnswer(parameters.order(text), slot, form, headers, lines if voice_id is None else ())


def _chunks(order: Order, clip: Clip, account: Account, first: float) -> list[Part]:
    """Cut a body as the service does: anywhere, and as fast as it is generated."""
    body = b"".join(piece.audio for piece in clip.slices)
    seed = f"{account.behavior.seed} {order.text}".encode("utf-8", "surrogatepass")
    sizes = random.Random(seed)  # noqa: S311 - repeatable, not secret
    pace = clip.seconds / account.behavior.speed / max(1, len(body))  # seconds a byte
    parts: list[Part] = []
    start = 0
    while start < len(body):
        size = sizes.choice(_CHUNK_SIZES)
        parts.append(Part(first + start * pace, body[start : start + size]))
        start += size
    return parts


def _timed(clip: Clip, lines: Sequence[Line], index: int | None) -> dict[str, Any]:
    """Return the JSON of the whole clip, or of one slice, with times from the beginning of the speech."""
    alignment, normalized = clip.alignment, clip.normalized
    audio = b"".join(piece.audio for piece in clip.slices)
    if index is not None:
        piece = clip.slices[index]
        end_ms = piece.end_ms if index < len(clip.slices) - 1 else float("inf")
        audio = piece.audio
        alignment, normalized = (part.during(piece.start_ms, end_ms) for part in (alignment, normalized))
    timed: dict[str, Any] = {
        "audio_base64": base64.b64encode(audio).decode(),
        "alignment": alignment.for_http(),
        "normalized_alignment": normalized.for_http(),
    }
    if lines:
        timed["voice_segments"] = _voice_segments(clip.alignment, alignment, lines)
    return timed


def _voice_segments(whole: Alignment, part: Alignment, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Say which characters, and which seconds, of a part of the speech belong to which line."""
    first = bisect_left(whole.starts_ms, part.starts_ms[0]) if part.chars else 0
    segments: list[dict[str, Any]] = []
    position = 0
    for index, line in enumerate(lines):
        length = len(single_spaced(line.text))
        start, end = max(position - first, 0), min(position + length - first, len(part.chars))
        if start < end:
            segment = {
                "voice_id": line.voice_id,
                "start_time_seconds": part.starts_ms[start] / 1000,
                "end_time_seconds": (part.starts_ms[end - 1] + part.durations_ms[end - 1]) / 1000,
                "character_start_index": start,
                "character_end_index": end,
                "dialogue_input_index": index,
            }
            segments.append(segment)
        position += length + (1 if length else 0)
    return segments


def _not_allowed(methods: str, account: Account) -> Answer:
    return _answer(405, {"detail": "Method Not Allowed"}, account.trace_id(), ("allow", methods))


def _answer(status: int, content: object, trace_id: str, *more: tuple[str, str]) -> Answer:
    headers = [*_EVERY_ANSWER, ("x-trace-id", trace_id), ("content-type", _JSON), *more]
    return Answer(status, headers, json.dumps(content).encode())
