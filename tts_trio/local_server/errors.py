"""The errors of the service, in one table for HTTP and WebSockets.

The shapes and texts are those recorded from the live API, or else those that ElevenLabs documents or its users report
(wire/README.md, 4). Over HTTP an error is `{"detail": …}`. On a WebSocket an error is the message
`{"message", "error", "code": 1008}`, and a Close follows whose reason is the message.
"""

from __future__ import annotations

from typing import Any, Self

import attrs

POLICY_VIOLATION = 1008
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame carries 125 bytes, two of which are the code


@attrs.define(eq=False)
class ServiceError(Exception):
    """An error of the service. The rows of the table below are templates: raise what `given` returns."""

    status: int  # the HTTP status
    code: str  # the name in the current API
    message: str  # the text for the user
    type: str = ""  # the type of the error in an HTTP body; "": the body has the older shape
    legacy: str = ""  # the older name, which is `detail.status` in an HTTP body; "": the same as `code`
    param: str = ""  # the parameter at fault
    docs_url: str = ""  # the page that explains the error
    error: str = ""  # the name on a WebSocket; "": the same as `detail.status`

    def given(self, **values: object) -> Self:
        """Return the error to raise, with these values for the names in braces."""
        texts = {name: getattr(self, name).format_map(values) for name in ("code", "message", "param")}
        return attrs.evolve(self, **texts)

    def body(self, trace_id: str) -> dict[str, Any]:
        """Return the JSON body of an HTTP answer. `detail.request_id` repeats the header `x-trace-id`."""
        status = self.legacy or self.code
        detail: dict[str, Any] = {"status": status, "message": self.message}
        if self.type:
            detail = {"type": self.type, "code": self.code, "message": self.message, "status": status}
            detail["request_id"] = trace_id
        for name in ("param", "docs_url"):
            if value := getattr(self, name):
                detail[name] = value
        return {"detail": detail}

    def frame(self) -> dict[str, Any]:
        """Return the WebSocket message."""
        return {"message": self.message, "error": self.error or self.legacy or self.code, "code": POLICY_VIOLATION}

    def reason(self) -> str:
        """Return the reason of the WebSocket Close: the message, cut to the size that a Close can carry."""
        return self.message.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")


class QuotaExceeded(ServiceError):
    """The account has too few credits. A socket with contexts may end the context without an error."""


class InvalidBody(ServiceError):
    """A body or a query is not valid: HTTP 422 with a list of complaints."""

    def __init__(self, complaints: list[dict[str, Any]]) -> None:
        super().__init__(422, "", "")
        self._complaints = complaints

    def body(self, trace_id: str) -> dict[str, Any]:
        """Return the JSON body, whose complaints have `type`, `loc`, `msg` and `input`."""
        return {"detail": self._complaints}


_AUTHENTICATION, _INVALID = "authentication_error", "validation_error"

# --- authentication: no credentials over HTTP, none on a WebSocket, an unknown key, a malformed key (HTTP only), a key
# without the permission for the endpoint
MISSING_KEY = ServiceError(401, "missing_api_key", "No API key was provided.", _AUTHENTICATION)
AUTHENTICATION_REQUIRED = ServiceError(
    401, "authentication_required",
    "None of the authentication methods (xi-api-key, authorization header, single-use token) were found."
    " Please provide one of them.", _AUTHENTICATION,
)  # fmt: skip
INVALID_KEY = ServiceError(401, "unauthorized", "Invalid API key", _AUTHENTICATION, "invalid_api_key")
MALFORMED_KEY = ServiceError(400, "invalid_api_key", "API key is invalid.", _AUTHENTICATION, param="api_key")
MISSING_PERMISSION = ServiceError(
    401, "unauthorized", "The API key you used is missing the permission {permission} to execute this operation.",
    _AUTHENTICATION, "missing_permissions",
)  # fmt: skip

# --- voices: unknown over HTTP, unknown on a WebSocket, above the plan (also 402), too many in a dialogue
VOICE_NOT_FOUND = ServiceError(404, "voice_not_found", "A voice with voice_id '{voice_id}' was not found.", "not_found")
VOICE_DOES_NOT_EXIST = ServiceError(404, "voice_id_does_not_exist", "A voice with voice_id {voice_id} does not exist.")
PAID_PLAN_REQUIRED = ServiceError(
    402, "paid_plan_required", "Free users cannot use library voices via the API.", "payment_required",
    "payment_required", error="paid_plan_required",
)  # fmt: skip
TOO_MANY_VOICES = ServiceError(
    400, "invalid_parameters", "The maximum number of unique voices is {limit}.", _INVALID, param="voices"
)

# --- models and languages: v4 at text-to-speech, a model without dialogues at text-to-dialogue, a dialogue model on the
# text-to-speech WebSocket, an unknown model, a parameter that the model refuses, a language that the model lacks
NO_SPEECH_MODEL, NO_DIALOGUE_MODEL, NO_SOCKET_MODEL = (
    ServiceError(400, "unsupported_model", f"Model '{{model_id}}' is not supported on {where}.", _INVALID,
                 param="model_id")
    for where in ("the text-to-speech endpoints", "the text-to-dialogue endpoints",
                  "the text-to-speech websocket endpoint. Use the text-to-dialogue websocket endpoint instead")
)  # fmt: skip
MODEL_NOT_FOUND = ServiceError(400, "model_not_found", "A model with model ID {model_id} does not exist.")
NOT_SUPPORTED_WITH_MODEL = ServiceError(
    400, "unsupported_model", "Providing {field} is not yet supported with the '{model_id}' model.", _INVALID,
    param="{field}",
)  # fmt: skip
UNSUPPORTED_LANGUAGE = ServiceError(
    400, "unsupported_language", "Model '{model_id}' does not support the language_code {language_code}."
)

# --- output formats: unknown (403, not 422), and above the account's tier
INVALID_FORMAT = ServiceError(
    403, "invalid_output_format", "Output format '{output_format}' is not supported.", _INVALID, param="output_format"
)
FORMAT_NOT_ALLOWED = ServiceError(
    403, "subscription_required", "Output format '{output_format}' is only available on the Pro tier and above.",
    "authorization_error", "output_format_not_allowed",
)  # fmt: skip

# --- parameters, settings and texts
INVALID_SETTINGS = ServiceError(
    400, "invalid_voice_settings",
    "Invalid setting for {name} received, expected to be greater or equal to {low} and less or equal to {high},"
    " received {given}.",
)  # fmt: skip
INVALID_STABILITY = ServiceError(
    400, "invalid_parameters",
    "Invalid TTD stability value. Must be one of: {allowed} (0.0 = Creative, 0.5 = Natural, 1.0 = Robust)", _INVALID,
    "invalid_ttd_stability", param="stability",
)  # fmt: skip
SETTINGS_CHANGED = ServiceError(
    400, "invalid_voice_settings",
    "{field} field must be provided in the first message and then either be not provided or not change.",
)  # fmt: skip
FIRST_MESSAGE_ONLY = ServiceError(
    400, "invalid_parameters", "{field} can only be set in the first message", param="{field}"
)  # fmt: skip
CONTEXT_IS_CLOSING = ServiceError(400, "invalid_parameters", "Context {context_id} is closing.", param="context_id")
TEXT_TOO_LONG = ServiceError(
    400, "{code}", "This request's text has {given} characters and exceeds the character limit of {limit} characters."
)
EMPTY_TEXT = ServiceError(
    400, "invalid_parameters",
    "Input at position {position} has empty text. Please provide text to be spoken.", _INVALID, "input_text_empty",
    param="text",
)  # fmt: skip

# --- limits. An exhausted quota is 401 in the older documentation, and 402 in the current one
_QUOTA = (
    "This request exceeds your quota of {quota}. You have {remaining} credits remaining, while {needed} credits are"
    " required for this request."
)
QUOTA_EXCEEDED = {
    401: QuotaExceeded(401, "quota_exceeded", _QUOTA),
    402: QuotaExceeded(402, "insufficient_credits", _QUOTA, "payment_required", "quota_exceeded"),
}
TOO_MANY_REQUESTS = ServiceError(
    429, "concurrent_limit_exceeded",
    "Too many concurrent requests. Your current subscription is associated with a maximum of {limit} concurrent"
    " requests (running in parallel).", "rate_limit_error", "too_many_concurrent_requests",
    docs_url="https://help.elevenlabs.io/hc/en-us/articles/14312733311761", error="concurrent_limit_exceeded",
)  # fmt: skip
TOO_MANY_CONTEXTS = ServiceError(
    400, "max_active_conversations",
    "Maximum simultaneous contexts per WebSocket connection exceeded ({limit}). Please close an existing context"
    " before opening a new one.",
)  # fmt: skip
INPUT_TIMEOUT = ServiceError(
    408, "input_timeout_exceeded",
    "Have not received a new text input within the timeout of {seconds} seconds. Streaming input terminated. Please"
    ' make sure to either feed the input in the timely manner, or to send the end of input text (empty string "") when'
    " done.",
)  # fmt: skip


def invalid_parameter(name: str, message: str) -> ServiceError:
    """Return the error for a parameter or a message that a WebSocket refuses."""
    return ServiceError(400, "invalid_parameters", message, _INVALID, param=name)


# --- the errors of faults, by the HTTP status or by the name of the error frame
_BUSY = "The system is experiencing heavy traffic, please try again."
_EXHAUSTED = {"quota": 10_000, "remaining": 0, "needed": 10}
_BY_STATUS = {
    400: MALFORMED_KEY,
    401: INVALID_KEY,
    402: QUOTA_EXCEEDED[402].given(**_EXHAUSTED),
    403: ServiceError(
        403, "unauthorized",
        "The API key you used is missing the permission text_to_speech to execute this operation.",
        "authorization_error", "missing_permissions",
    ),
    404: VOICE_NOT_FOUND.given(voice_id="unknown"),
    429: ServiceError(429, "system_busy", _BUSY, "rate_limit_error"),
    500: ServiceError(500, "internal_error", "An internal error occurred.", "internal_error"),
    503: ServiceError(503, "service_unavailable", "The service is unavailable.", "service_unavailable"),
}  # fmt: skip
_BY_NAME = {
    "internal_error": "We are sorry, something went wrong. You are not charged for this request.",
    "invalid_api_key": "Invalid API key",
    "quota_exceeded": _QUOTA.format_map(_EXHAUSTED),
    "detected_unusual_activity": "Unusual activity detected. Free Tier usage disabled.",
    "system_busy": _BUSY,
}


def by_status(status: int) -> ServiceError:
    """Return the service's error with this HTTP status, for the faults `status`, `until_eof` and `error_200`."""
    return _BY_STATUS.get(status) or ServiceError(status, "error", f"HTTP {status}.", "error")


def by_name(name: str) -> ServiceError:
    """Return the error with this name, for the faults `error_frame` and `context_error`."""
    return ServiceError(500, name, _BY_NAME.get(name, f"Error {name}."))
