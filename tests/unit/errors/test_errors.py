"""The service's answers sorted into the tree: by its identifiers, and never by close code 1008 alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

import tts_trio
from tests.helpers import API_KEY, make_config
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    EmptyAudioError,
    PolicyError,
    ProtocolError,
    QuotaError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    TextTimeoutError,
    TTSConnectionError,
    TTSError,
    UtteranceEndedError,
)
from tts_trio.errors.classification import classify, classify_response

# HTTP answers: status, detail, what it is. As recorded or documented (wire/README.md, 4.1).
ANSWERS: list[tuple[int, Any, type[TTSError]]] = [
    (
        400,
        {"type": "authentication_error", "code": "invalid_api_key", "status": "invalid_api_key"},
        AuthenticationError,
    ),
    (401, {"type": "authentication_error", "code": "unauthorized", "status": "invalid_api_key"}, AuthenticationError),
    (401, {"code": "unauthorized", "status": "missing_permissions"}, AuthenticationError),
    (401, {"status": "quota_exceeded", "message": "This request exceeds your quota of 10000."}, QuotaError),
    (402, {"type": "payment_required", "code": "insufficient_credits"}, QuotaError),
    (401, {"status": "detected_unusual_activity"}, PolicyError),
    (403, {"type": "authorization_error", "code": "subscription_required", "status": "only_for_creator+"}, PolicyError),
    (403, {"code": "subscription_required", "status": "output_format_not_allowed"}, ConfigurationError),
    (403, {"type": "validation_error", "code": "invalid_output_format", "param": "output_format"}, ConfigurationError),
    (404, {"type": "not_found", "code": "voice_not_found", "status": "voice_not_found"}, ConfigurationError),
    (400, {"type": "validation_error", "code": "unsupported_model", "param": "model_id"}, ConfigurationError),
    (400, {"status": "max_character_limit_exceeded"}, ConfigurationError),
    (422, [{"type": "missing", "loc": ["body", "text"], "msg": "Field required"}], ConfigurationError),
    (404, "Not Found", ConfigurationError),
    (429, {"code": "concurrent_limit_exceeded", "status": "too_many_concurrent_requests"}, ConcurrencyError),
    (429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}, ConcurrencyError),
    (429, {"status": "system_busy"}, ServiceUnavailableError),
    (500, {"type": "internal_error"}, ServiceUnavailableError),
    (503, "upstream connect error", ServiceUnavailableError),
    (302, "elsewhere", ProtocolError),
    (200, {"nothing": "known"}, ProtocolError),
    (418, {}, ProtocolError),
]


@pytest.mark.parametrize(("status", "detail", "kind"), ANSWERS)
def test_http_answers(status: int, detail: Any, kind: type[TTSError]) -> None:
    body = json.dumps({"detail": detail}).encode()
    error = classify_response(status, {"x-trace-id": "abc", "retry-after": "1.5"}, body)
    assert type(error) is kind
    assert (error.status, error.trace_id, error.retry_after) == (status, "abc", 1.5)
    assert str(status) in str(error)


CODES: list[tuple[int, Any, type[TTSError], str | None]] = [
    (
        402,
        {"type": "payment_required", "code": "paid_plan_required", "status": "payment_required"},
        PolicyError,
        "paid_plan_required",
    ),
    (402, {"type": "payment_required", "status": "payment_required"}, QuotaError, "payment_required"),
    (
        400,
        {"type": "validation_error", "code": "invalid_parameters", "status": "input_text_empty", "param": "text"},
        ConfigurationError,
        "input_text_empty",
    ),
    (400, {"type": "validation_error", "code": "invalid_ttd_stability"}, ConfigurationError, "invalid_ttd_stability"),
    (400, {"type": "validation_error", "status": "a_new_one"}, ConfigurationError, "a_new_one"),
    (401, {"type": "authentication_error", "code": "unauthorized", "status": "new"}, AuthenticationError, "new"),
    (401, {"type": "authentication_error", "code": "unauthorized"}, AuthenticationError, "unauthorized"),
    (429, {"type": "rate_limit_error", "code": "system_busy"}, ServiceUnavailableError, "system_busy"),
    (422, [{"type": "missing", "loc": ["body", "text"], "msg": "Field required"}], ConfigurationError, "missing"),
    (500, "Oh", ServiceUnavailableError, None),
]


@pytest.mark.parametrize(("status", "detail", "kind", "code"), CODES)
def test_the_code_is_the_services_own(status: int, detail: Any, kind: type[TTSError], code: str | None) -> None:
    """P25: its most telling identifier, also where it is its family that is known here."""
    error = classify_response(status, {}, json.dumps({"detail": detail}).encode())
    assert (type(error), error.code) == (kind, code)


def test_a_field_is_named() -> None:
    """P25: in the message, and by itself."""
    for detail, field, text in (
        (
            {"message": "Input is empty.", "param": "text", "status": "input_text_empty"},
            "text",
            "text: Input is empty.",
        ),
        ({"message": "No model_id.", "param": "model_id"}, "model_id", "No model_id."),
        ([{"type": "missing", "loc": ["body", "text"], "msg": "Required"}], "body.text", "body.text: Required"),
        ([{"type": "missing", "loc": 7, "msg": {"a": 1}}], None, "the service refused the request"),
    ):
        error = classify_response(400, {}, json.dumps({"detail": detail}).encode())
        assert isinstance(error, ConfigurationError)
        assert (error.field, error.message) == (field, text)


PAGES = [
    ("<html>\n<head><title>502 Bad\n Gateway</title></head>\n<body>no</body></html>", "502 Bad Gateway"),
    ("<!DOCTYPE html><html><body><h1>Нет &amp; нет</h1><p>x</p></body></html>", "Нет & нет"),
    ("\n\n  upstream connect error\nreset\r\n", "upstream connect error"),
    ("\x1b[31mred\x00\u202e\x07", "�[31mred���"),
    ("x" * 100_000, "x" * 200),
    ("<" * 10_000, "<" * 200),
    ("<title" * 10_000, "<title" * 33 + "<t"),
    ("<title></title>", None),
    ("", None),
]


@pytest.mark.parametrize(("page", "message"), PAGES)
def test_a_page_becomes_one_line(page: str, message: str | None) -> None:
    """P25: a proxy's page in HTML, control characters, or a megabyte of anything."""
    error = classify_response(502, {}, page.encode())
    assert error.message == (message or "the service refused the request")
    assert str(error).isprintable()
    assert len(str(error)) < 300


@pytest.mark.parametrize("kind", [TTSError, ServiceTimeoutError, ConfigurationError, UtteranceEndedError])
def test_every_error_is_one_line(kind: type[TTSError]) -> None:
    """P25: whatever it is made of."""
    error = kind("a\nb\r\n\tc\x00" + "x" * 10_000, code="c\nd" * 1000, trace_id="e\x7ff")
    assert str(error).startswith("a b c�xxx")
    assert str(error).isprintable()
    assert len(str(error)) < 800


def test_what_to_do_is_told() -> None:
    """P25: where the service's words do not."""
    assert str(classify("Invalid API key", codes=("invalid_api_key",), close_code=1008)) == (
        "Invalid API key (code invalid_api_key, close code 1008); check api_key, the permissions of the key, and that "
        "base_url is the server that the key is for"
    )
    for status, says in ((402, "buy credits"), (403, "the plan"), (429, "limiter"), (405, "base_url")):
        assert says in str(classify_response(status, {}, b""))
    assert str(ProtocolError("no HTTP")) == "no HTTP"  # our own words have it


# WebSocket error frames and closes: identifier, message, close code, what it is.
FRAMES: list[tuple[str | None, str | None, int | None, type[TTSError]]] = [
    ("authentication_required", "None of the authentication methods", 1008, AuthenticationError),
    ("invalid_api_key", "Invalid API key", 1008, AuthenticationError),
    ("voice_id_does_not_exist", "A voice with voice_id X does not exist.", 1008, ConfigurationError),
    ("input_timeout_exceeded", "Have not received a new text input", 1008, TTSConnectionError),
    ("quota_exceeded", "This request exceeds your quota of 10.", 1008, QuotaError),
    ("max_active_conversations", "Maximum simultaneous contexts", 1008, ConcurrencyError),
    (None, "voice_settings field must be provided in the first message and then", 1008, ConfigurationError),
    (None, "We are sorry, something went wrong. You are not charged for this request.", 1008, ServiceUnavailableError),
    ("a_new_one", "This request exceeds your quota of 10.", 1008, QuotaError),
    (None, "Invalid API key", 1008, AuthenticationError),
    ("a_new_one", "Something that nobody has seen", 1008, TTSConnectionError),
    ("invalid_parameters", "Input at position 0 has empty text.", 1008, ConfigurationError),
    ("paid_plan_required", "No library voices", 1008, PolicyError),
    (None, None, 1000, TTSConnectionError),
    (None, None, 1006, TTSConnectionError),
    (None, "", 1011, TTSConnectionError),
    (None, None, 1007, ProtocolError),
    (None, None, 1009, ProtocolError),
]


@pytest.mark.parametrize(("code", "message", "close_code", "kind"), FRAMES)
def test_frames_and_closes(code: str | None, message: str | None, close_code: int, kind: type[TTSError]) -> None:
    error = classify(message, codes=(code,), close_code=close_code)
    assert type(error) is kind
    assert (error.code, error.close_code) == (code, close_code)
    assert error.message


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b'"text"', b'{"detail": 7}', b'{"detail": [1]}'])
def test_any_body_is_an_error_of_ours(body: bytes) -> None:
    error = classify_response(500, {}, body)
    assert type(error) is ServiceUnavailableError
    assert error.message


def test_every_error_ends_in_error() -> None:
    kinds = [kind for kind in vars(tts_trio).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 13
    assert [kind.__name__ for kind in kinds if not kind.__name__.endswith("Error")] == []


def test_retryable_is_what_a_connection_error_is() -> None:
    errors = [value for value in vars(tts_trio).values() if isinstance(value, type) and issubclass(value, TTSError)]
    assert len(errors) >= 13
    for kind in errors:
        assert kind.retryable == issubclass(kind, TTSConnectionError)
    for kind in (ServiceTimeoutError, EmptyAudioError, ServiceUnavailableError, ConcurrencyError):
        assert kind.retryable
    for kind in (AuthenticationError, QuotaError, PolicyError, ConfigurationError, ProtocolError, TextTimeoutError):
        assert not kind.retryable


def test_the_trio_and_python_sides_of_the_tree() -> None:
    assert issubclass(UtteranceEndedError, trio.BrokenResourceError)
    assert issubclass(ConfigurationError, ValueError)


def test_a_key_that_the_service_repeats_is_taken_out() -> None:
    """P28: out of every attribute, whoever raises the error."""
    config = make_config()
    error = classify(
        f"the key {config.api_key} is bad", codes=(API_KEY,), status=400, field=API_KEY.upper(), trace_id=API_KEY
    )
    assert API_KEY not in str(error) + repr(error) + repr(error.args) + repr(vars(error))
    assert str(error) == "[secret]: the key [secret] is bad (code [secret], HTTP status 400, trace id [secret])"
    assert vars(error)["field"] == "[secret]"
