"""The HTTP endpoints, without I/O. `respond` answers a request or orders speech; `speak` makes a body of the speech.

Headers, content types, sizes and timing are as recorded (wire/README.md, 1.5 and 1.6).
"""

from __future__ import annotations

import base64
import json
import math
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import attrs
from pydantic import BaseModel, Field

from tts_trio.local_server import catalog, errors
from tts_trio.local_server.account import Account, Slot
from tts_trio.local_server.body import Line, validate
from tts_trio.local_server.parameters import Request, authenticate, check_voice, parse_http
from tts_trio.local_server.speech import Alignment, Clip, Order, single_spaced, tagged

Headers = list[tuple[str, str]]

_AUDIO_TYPES = {"mp3": "mpeg", "m4a": "mp4"}  # where the type is not the name of the family
_JSON = "application/json"
_CHARACTERS_A_SECOND = 15  # an estimate of the length of a generation until its speech is rendered
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
    """An answer that is complete."""

    status: int
    headers: Headers
    body: bytes


@attrs.frozen
class SpeechAnswer:
    """An answer whose speech has to be rendered first."""

    order: Order
    slot: Slot  # its start is final, its end is an estimate
    form: str  # the end of the path: "", "/stream", "/with-timestamps" or "/stream/with-timestamps"
    headers: Headers  # except those that depend on the speech
    lines: Sequence[Line] = ()  # the lines of a dialogue


@attrs.frozen
class Call:
    """A request and the match of its path with the pattern of a route."""

    request: Request
    path: re.Match[str]
    account: Account
    now: float


def respond(request: Request, account: Account, now: float) -> Answer | SpeechAnswer:
    """Answer a request."""
    try:
        return _route(request, account, now)
    except errors.ServiceError as error:
        return refuse(error, account)


def refuse(error: errors.ServiceError, account: Account, status: int | None = None) -> Answer:
    """Answer a request with an error."""
    trace_id = account.trace_id()
    return _answer(status or error.status, error.body(trace_id), trace_id)


def speak(answer: SpeechAnswer, clip: Clip, account: Account) -> tuple[Headers, list[tuple[float, bytes]]]:
    """Return the headers of an answer, and the pieces of its body with the time at which each piece is due.

    Without the header `content-length` the body is sent in chunks.
    """
    behavior, start = account.behavior, answer.slot.start
    if answer.order.output_format.startswith("mp3"):
        clip = tagged(clip)
    first = start + account.latency()
    ready = clip.ready(first, behavior.speed) or [first]
    answer.slot.end = end = ready[-1]
    headers = list(answer.headers)
    if answer.form == "/stream":
        return headers, _chunks(answer.order, clip, account, first)
    if answer.form == "/stream/with-timestamps":
        lines = (json.dumps(_timed(clip, answer.lines, index)).encode() + b"\n" for index in range(len(clip.slices)))
        return headers, list(zip(ready, lines, strict=False))
    body = json.dumps(_timed(clip, answer.lines)).encode() if answer.form else clip.audio
    headers += [("content-length", str(len(body))), ("tts-latency-ms", str(round(1000 * (end - start))))]
    return headers, [(end, body)]


def _route(request: Request, account: Account, now: float) -> Answer | SpeechAnswer:
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        return Answer(200, _headers(account.trace_id(), "text/plain; charset=utf-8"), b"OK")
    allowed: list[str] = []
    for method, pattern, permission, give in _ROUTES:
        if path := re.fullmatch(pattern, request.path):
            if method == request.method:
                authenticate(request, account)
                account.check_permission(permission)
                given = give(Call(request, path, account, now))
                return given if isinstance(given, SpeechAnswer) else _answer(200, given, account.trace_id())
            allowed.append(method)
    if allowed:
        return _answer(405, {"detail": "Method Not Allowed"}, account.trace_id(), ("allow", ", ".join(allowed)))
    return _answer(404, {"detail": "Not Found"}, account.trace_id())


def _answer(status: int, content: object, trace_id: str, *more: tuple[str, str]) -> Answer:
    return Answer(status, [*_headers(trace_id, _JSON), *more], json.dumps(content).encode())


def _headers(trace_id: str, content_type: str) -> Headers:
    return [*_EVERY_ANSWER, ("x-trace-id", trace_id), ("content-type", content_type)]


# --- speech


def _speech(call: Call) -> SpeechAnswer:
    account, form, voice_id = call.account, call.path["form"], call.path["voice"]
    whole = not form.startswith("/stream")
    lines, parameters = parse_http(call.request, voice_id, account.behavior, whole=whole)
    text = " ".join(line.text for line in lines)
    characters = sum(len(line.text) for line in lines) if text.strip() else 0
    start = account.admit(call.now)
    price = account.charge(characters, parameters.model)
    slot = account.occupy(start, start + len(text) / _CHARACTERS_A_SECOND / account.behavior.speed, call.now)
    request_id = account.identifier()
    family = parameters.output_format.partition("_")[0]
    audio_type = f"audio/{_AUDIO_TYPES.get(family, family)}"
    content_type = account.behavior.opus_content_type if family == "opus" else audio_type
    headers = [
        *_headers(account.trace_id(), _JSON if "timestamps" in form else content_type),
        ("character-cost", str(price)),
        ("request-id", request_id),
        ("current-concurrent-requests", str(account.generating(start))),
        ("maximum-concurrent-requests", str(account.behavior.concurrency or 10)),
        ("workspace-concurrent-requests", str(account.generating(start))),
    ]
    if parameters.logging:
        item_id = account.identifier()
        item = {
            "history_item_id": item_id,
            "request_id": request_id,
            "voice_id": lines[0].voice_id,
            "voice_name": catalog.voice(lines[0].voice_id)["name"],
            "voice_category": "premade",
            "model_id": parameters.model.model_id,
            "output_format": parameters.output_format,
            "content_type": content_type,
            "text": text,
            "character_count_change_from": account.used - price,
            "character_count_change_to": account.used,
            "date_unix": 0,  # the account reads no clock
            "state": "created",
            "source": "TTS",
        }
        account.history.appendleft(item)
        headers.append(("history-item-id", item_id))
    return SpeechAnswer(parameters.order(text), slot, form, headers, lines if voice_id is None else ())


def _chunks(order: Order, clip: Clip, account: Account, first: float) -> list[tuple[float, bytes]]:
    """Cut a body into pieces of the sizes that the service sends. A piece is due when it is generated."""
    body = clip.audio
    seed = f"{account.behavior.seed} {order.text}".encode("utf-8", "surrogatepass")
    sizes = random.Random(seed)  # noqa: S311 - repeatable, not secret
    pace = clip.seconds / account.behavior.speed / max(1, len(body))  # seconds per byte
    parts: list[tuple[float, bytes]] = []
    start = 0
    while start < len(body):
        size = sizes.choice(_CHUNK_SIZES)
        parts.append((first + start * pace, body[start : start + size]))
        start += size
    return parts


def _timed(clip: Clip, lines: Sequence[Line], index: int | None = None) -> dict[str, Any]:
    """Return the JSON of the whole clip, or of one slice. Times count from the start of the clip."""
    audio = clip.audio if index is None else clip.slices[index].audio
    span = (0, math.inf) if index is None else clip.span(index)
    alignment, normalized = clip.alignment.during(*span), clip.normalized.during(*span)
    timed: dict[str, Any] = {
        "audio_base64": base64.b64encode(audio).decode(),
        "alignment": _in_seconds(alignment),
        "normalized_alignment": _in_seconds(normalized),
    }
    if lines:
        timed["voice_segments"] = _voice_segments(clip.alignment, alignment, lines)
    return timed


def _in_seconds(alignment: Alignment) -> dict[str, Any]:
    seconds = [border_ms / 1000 for border_ms in alignment.borders_ms]
    return {
        "characters": list(alignment.chars),
        "character_start_times_seconds": seconds[:-1],
        "character_end_times_seconds": seconds[1:],
    }


def _voice_segments(whole: Alignment, part: Alignment, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the characters and the seconds of a part of the speech that belong to each line."""
    first = bisect_left(whole.starts_ms, part.starts_ms[0]) if part.chars else 0
    segments: list[dict[str, Any]] = []
    position = 0
    for index, line in enumerate(lines):
        length = len(single_spaced(line.text))
        start, end = max(position - first, 0), min(position + length - first, len(part.chars))
        if start < end:
            segment = {
                "voice_id": line.voice_id,
                "start_time_seconds": part.borders_ms[start] / 1000,
                "end_time_seconds": part.borders_ms[end] / 1000,
                "character_start_index": start,
                "character_end_index": end,
                "dialogue_input_index": index,
            }
            segments.append(segment)
        position += length + (1 if length else 0)
    return segments


# --- the account's own resources


class _VoicesPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    search: str = ""
    next_page_token: str = ""


class _HistoryPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    start_after_history_item_id: str = ""


def _found_voices(call: Call) -> Any:
    page = validate(_VoicesPage, call.request.query, "query")
    wanted = page.search.casefold()
    found = [voice for voice in catalog.voices(call.account.behavior) if wanted in voice["name"].casefold()]
    start = next((index for index, voice in enumerate(found) if voice["voice_id"] == page.next_page_token), 0)
    following = found[start + page.page_size :]
    return {
        "voices": found[start : start + page.page_size],
        "has_more": bool(following),
        "total_count": len(found),
        "next_page_token": following[0]["voice_id"] if following else None,
    }


def _voice(call: Call) -> Any:
    check_voice(call.path[1], call.account.behavior, errors.VOICE_NOT_FOUND)
    return catalog.voice(call.path[1])


def _history(call: Call) -> Any:
    query = validate(_HistoryPage, call.request.query, "query")
    size, after = query.page_size, query.start_after_history_item_id
    items = list(call.account.history)
    start = next((index + 1 for index, item in enumerate(items) if item["history_item_id"] == after), 0)
    page = items[start : start + size]
    return {
        "history": page,
        "last_history_item_id": page[-1]["history_item_id"] if page else None,
        "has_more": start + size < len(items),
    }


def _subscription(call: Call) -> Any:
    return catalog.subscription(call.account.behavior, call.account.used)


def _token(call: Call) -> Any:
    return {"token": call.account.issue_token(call.now)}


_SPEECH = "/v1/(text-to-dialogue|text-to-speech/(?P<voice>[^/]*))(?P<form>(/stream)?(/with-timestamps)?)"
_ROUTES: tuple[tuple[str, str, str, Callable[[Call], Any]], ...] = (
    ("POST", _SPEECH, "text_to_speech", _speech),
    ("GET", "/v1/models", "models_read", lambda _: catalog.models()),
    ("GET", "/v1/user", "user_read", lambda call: catalog.user(call.account.behavior, call.account.used)),
    ("GET", "/v1/user/subscription", "user_read", _subscription),
    ("GET", "/v1/voices", "voices_read", lambda call: {"voices": catalog.voices(call.account.behavior)}),
    ("GET", "/v2/voices", "voices_read", _found_voices),
    ("GET", "/v1/voices/settings/default", "voices_read", lambda _: catalog.SETTINGS),
    ("GET", "/v1/voices/([^/]+)", "voices_read", _voice),
    ("GET", "/v1/voices/([^/]+)/settings", "voices_read", lambda call: _voice(call)["settings"]),
    ("GET", "/v1/history", "speech_history_read", _history),
    ("POST", "/v1/single-use-token/tts_websocket", "text_to_speech", _token),
)
"""The method of each route, the pattern of its path, the permission that the key needs (wire/README.md, 10), and the
function that returns the JSON of the answer."""
