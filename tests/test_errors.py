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
    EmptyAudio,
    PolicyError,
    ProtocolError,
    QuotaError,
    ServiceTimeout,
    ServiceUnavailable,
    TextTimeout,
    TTSConnectionError,
    TTSError,
    UtteranceEnded,
)
from tts_trio.errors import classify, classify_response

# HTTP answers: status, detail, what it is. As recorded from the live API or as its documentation shows them.
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
    (429, {"status": "system_busy"}, ServiceUnavailable),
    (500, {"type": "internal_error"}, ServiceUnavailable),
    (503, "upstream connect error", ServiceUnavailable),
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


# WebSocket error frames and closes: identifier, message, close code, what it is.
FRAMES: list[tuple[str | None, str | None, int | None, type[TTSError]]] = [
    ("authentication_required", "None of the authentication methods", 1008, AuthenticationError),
    ("invalid_api_key", "Invalid API key", 1008, AuthenticationError),
    ("voice_id_does_not_exist", "A voice with voice_id X does not exist.", 1008, ConfigurationError),
    ("input_timeout_exceeded", "Have not received a new text input", 1008, TTSConnectionError),
    ("quota_exceeded", "This request exceeds your quota of 10.", 1008, QuotaError),
    ("max_active_conversations", "Maximum simultaneous contexts", 1008, ConcurrencyError),
    (None, "voice_settings field must be provided in the first message and then", 1008, ConfigurationError),
    (None, "We are sorry, something went wrong. You are not charged for this request.", 1008, ServiceUnavailable),
    ("a_new_one", "This request exceeds your quota of 10.", 1008, QuotaError),
    (None, "Invalid API key", 1008, AuthenticationError),
    ("a_new_one", "Something that nobody has seen", 1008, TTSConnectionError),
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
    assert type(error) is ServiceUnavailable
    assert error.message


def test_retryable_is_what_a_connection_error_is() -> None:
    errors = [value for value in vars(tts_trio).values() if isinstance(value, type) and issubclass(value, TTSError)]
    assert len(errors) >= 13
    for kind in errors:
        assert kind.retryable == issubclass(kind, TTSConnectionError)
    for kind in (ServiceTimeout, EmptyAudio, ServiceUnavailable, ConcurrencyError):
        assert kind.retryable
    for kind in (AuthenticationError, QuotaError, PolicyError, ConfigurationError, ProtocolError, TextTimeout):
        assert not kind.retryable


def test_the_trio_and_python_sides_of_the_tree() -> None:
    assert issubclass(UtteranceEnded, trio.BrokenResourceError)
    assert issubclass(ConfigurationError, ValueError)


def test_a_key_that_the_service_repeats_is_taken_out() -> None:
    """P28: out of every attribute, whoever raises the error."""
    config = make_config()
    error = classify(
        f"the key {config.api_key} is bad", codes=(API_KEY,), status=400, field=API_KEY.upper(), trace_id=API_KEY
    )
    assert API_KEY not in str(error) + repr(error) + repr(error.args) + repr(vars(error))
    assert str(error) == "the key [secret] is bad (code [secret], HTTP status 400, trace id [secret])"
    assert vars(error)["field"] == "[secret]"
