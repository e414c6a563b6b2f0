"""Sorts the service's refusals into the tree of errors: HTTP answers, handshakes, error frames, closes.

The service's own identifier decides, and close code 1008 alone never does: the service closes with 1008 for a bad key,
an idle socket, an exhausted quota and a server fault alike (wire/README.md, 4.3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from tts_trio.errors import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    PolicyError,
    ProtocolError,
    QuotaError,
    ServiceUnavailableError,
    TTSConnectionError,
    TTSError,
)
from tts_trio.errors.redaction import redact

# The families into which the service sorts its identifiers: the `type` of HTTP error bodies, and codes as general.
_BY_FAMILY: Mapping[str, type[TTSError]] = {
    "authentication_error": AuthenticationError,
    "unauthorized": AuthenticationError,
    "payment_required": QuotaError,
    "authorization_error": PolicyError,
    "invalid_parameters": ConfigurationError,
    "not_found": ConfigurationError,
    "validation_error": ConfigurationError,
    "rate_limit_error": ConcurrencyError,
    "internal_error": ServiceUnavailableError,
}

# The service's identifiers: `code` and `status` of HTTP error bodies, `error` of WebSocket error frames.
_BY_CODE: Mapping[str, type[TTSError]] = {
    "api_key_required": AuthenticationError,
    "authentication_required": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "missing_api_key": AuthenticationError,
    "missing_permissions": AuthenticationError,
    "needs_authorization": AuthenticationError,
    "insufficient_credits": QuotaError,
    "quota_exceeded": QuotaError,
    "content_against_policy": PolicyError,
    "detected_unusual_activity": PolicyError,
    "paid_plan_required": PolicyError,
    "only_for_creator+": PolicyError,
    "subscription_required": PolicyError,
    "input_text_empty": ConfigurationError,
    "invalid_output_format": ConfigurationError,
    "invalid_ttd_stability": ConfigurationError,
    "invalid_voice_settings": ConfigurationError,
    "max_character_limit_exceeded": ConfigurationError,
    "model_not_found": ConfigurationError,
    "output_format_not_allowed": ConfigurationError,
    "text_too_long": ConfigurationError,
    "unsupported_language": ConfigurationError,
    "unsupported_model": ConfigurationError,
    "voice_id_does_not_exist": ConfigurationError,
    "voice_not_found": ConfigurationError,
    "concurrent_limit_exceeded": ConcurrencyError,
    "max_active_conversations": ConcurrencyError,
    "rate_limit_exceeded": ConcurrencyError,
    "too_many_concurrent_requests": ConcurrencyError,
    "service_unavailable": ServiceUnavailableError,
    "system_busy": ServiceUnavailableError,
    "input_timeout_exceeded": TTSConnectionError,
}

# The beginnings of messages that come with an unknown identifier, or as the reason of a close (wire/README.md, 4.3).
_BY_MESSAGE: Mapping[str, type[TTSError]] = {
    "Invalid API key": AuthenticationError,
    "None of the authentication methods": AuthenticationError,
    "This request exceeds your quota": QuotaError,
    "Unusual activity detected": PolicyError,
    "A voice with voice_id": ConfigurationError,
    "Model '": ConfigurationError,
    "voice_settings field must be provided": ConfigurationError,
    "Maximum simultaneous contexts": ConcurrencyError,
    "Have not received a new text input": TTSConnectionError,
    "We are sorry, something went wrong": ServiceUnavailableError,
    # wsproto says so of a close code that it does not know. 1014 (a gateway's) is a registered one.
    "CLOSE with ": TTSConnectionError,
    "remote CLOSE with ": TTSConnectionError,
}

_BY_STATUS: Mapping[int, type[TTSError]] = {
    400: ConfigurationError,
    401: AuthenticationError,
    402: QuotaError,
    403: PolicyError,
    404: ConfigurationError,
    405: ProtocolError,
    408: TTSConnectionError,
    409: TTSConnectionError,
    413: ConfigurationError,
    422: ConfigurationError,
    425: TTSConnectionError,
    429: ConcurrencyError,
}

# Close codes for a breach of the protocol; every other code means a lost connection.
_PROTOCOL_CLOSES = frozenset({1002, 1003, 1007, 1009, 1010})


def classify(
    message: str | None = None,
    *,
    codes: tuple[str | None, ...] = (),
    status: int | None = None,
    close_code: int | None = None,
    field: str | None = None,
    trace_id: str | None = None,
    retry_after: float | None = None,
) -> TTSError:
    """Sort a refusal of the service into the tree of errors.

    An identifier decides before the message, the message before the HTTP status, the status before the close code.

    Args:
        message: The service's message for people, or the reason of a close.
        codes: The service's identifiers, the most specific first. The first that `_BY_CODE` knows decides, else the
            first that `_BY_FAMILY` knows. The first that is no family becomes the error's `code`.
        status: The HTTP status of the answer to a request or to a WebSocket handshake.
        close_code: The WebSocket close code.
        field: The parameter that the service refuses.
        trace_id: The service's id of the request.
        retry_after: Seconds that the service asks the client to wait.

    Returns:
        The error, not raised.
    """
    present = [code for code in codes if code]
    known = (table[code] for table in (_BY_CODE, _BY_FAMILY) for code in present if code in table)
    kind = next(known, None) or _by_message(message) or _by_status(status) or _by_close(close_code)
    facts: dict[str, Any] = {
        "code": next((code for code in present if code not in _BY_FAMILY), next(iter(present), None)),
        "status": status,
        "close_code": close_code,
        "trace_id": trace_id,
        "retry_after": retry_after,
    }
    if not message:
        message = "the service refused the request" if status else "the service closed the connection"
    if kind is ConfigurationError and field:
        facts["field"] = field
        message = message if field in message else f"{field}: {message}"
    return kind(message, **facts)


def _by_message(message: str | None) -> type[TTSError] | None:
    return next((kind for start, kind in _BY_MESSAGE.items() if (message or "").startswith(start)), None)


def _by_status(status: int | None) -> type[TTSError] | None:
    if status is None:
        return None
    return ServiceUnavailableError if status >= 500 else _BY_STATUS.get(status, ProtocolError)


def _by_close(close_code: int | None) -> type[TTSError]:
    return ProtocolError if close_code in _PROTOCOL_CLOSES else TTSConnectionError


def classify_response(status: int, headers: Mapping[str, str], body: bytes) -> TTSError:
    """Sort an HTTP answer that is not a success, to a request or to a WebSocket handshake.

    The service's error bodies are JSON whose `detail` is an object, a list or a string (wire/README.md, 4.1).

    Args:
        status: The HTTP status.
        headers: The headers, with lower-case names.
        body: The body, or its beginning.

    Returns:
        The error, not raised.
    """
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    detail: object = cast("dict[str, object]", parsed).get("detail") if isinstance(parsed, dict) else None
    message, field = None, None
    codes: tuple[str | None, ...] = ()
    request_id: str | None = None
    if isinstance(detail, dict):
        fields = cast("dict[str, object]", detail)
        message, field, request_id = (_string(fields.get(name)) for name in ("message", "param", "request_id"))
        codes = tuple(_string(fields.get(name)) for name in ("status", "code", "type"))
    elif isinstance(detail, list) and detail and isinstance(cast("list[object]", detail)[0], dict):
        first = cast("list[dict[str, object]]", detail)[0]
        location = first.get("loc")
        field = ".".join(map(str, cast("list[object]", location))) if isinstance(location, list) else None
        message = _string(first.get("msg"))
        codes = (_string(first.get("type")),)
    elif isinstance(detail, str):
        message = detail
    else:
        message = _of_page(body.decode("utf-8", "replace"))
    return classify(
        message,
        codes=codes,
        status=status,
        field=field,
        trace_id=headers.get("x-trace-id") or request_id,
        retry_after=_seconds(headers.get("retry-after")),
    )


_TITLE = re.compile(r"<title[^<>]*>([^<>]*)", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_LONGEST_PAGE = 4096  # characters of a page in which a title is searched for
_QUOTED = 200  # characters of a page that a message repeats


def _of_page(text: str) -> str | None:
    """Return what a page that is no JSON says, in one line: the title of HTML, else the first line of its text."""
    text = text[:_LONGEST_PAGE]
    title = _TITLE.search(text)
    lines = [" ".join(title[1].split()) if title else "", *map(str.strip, _TAG.sub("\n", text).splitlines())]
    first = next(filter(None, lines), None)
    import html  # loaded late: its table of names is large, and a page instead of JSON is rare

    return first and redact(html.unescape(first))[:_QUOTED]


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:  # an HTTP date: ElevenLabs sends none, and a wrong clock would make a wrong wait of it
        return None
