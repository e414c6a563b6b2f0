"""What the service says when it refuses: one table for HTTP and for WebSockets.

Shapes and texts as recorded from the live API, else as in the ElevenLabs documentation and in reports of its
users. On HTTP an error is `{"detail": …}`; on a WebSocket it is `{"message", "error", "code": 1008}` after a good
upgrade, followed by a Close with the message as its reason.
"""

from __future__ import annotations

from typing import Any

import attrs

POLICY_VIOLATION = 1008
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame carries 125 bytes, the code takes two
_CONCURRENCY_PAGE = "https://help.elevenlabs.io/hc/en-us/articles/14312733311761"


@attrs.define(eq=False)
class ServiceError(Exception):
    """A refusal by the service.

    Attributes:
        status: HTTP status.
        code: What the current API calls it.
        message: For people.
        type: Family of the error on HTTP; "" in bodies of the older shape.
        legacy: The older name, `detail.status` on HTTP; "": the same as `code`.
        param: The parameter at fault.
        docs_url: Where to read more.
        error: The name on a WebSocket; "": the same as `detail.status`.
    """

    status: int
    code: str
    message: str
    type: str = ""
    legacy: str = ""
    param: str = ""
    docs_url: str = ""
    error: str = ""

    def body(self, trace_id: str) -> dict[str, Any]:
        """Give the JSON body of an HTTP answer; `detail.request_id` repeats the header `x-trace-id`."""
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
        """Give the WebSocket message."""
        return {"message": self.message, "error": self.error or self.legacy or self.code, "code": POLICY_VIOLATION}

    def reason(self) -> str:
        """Give the reason of the WebSocket Close: the message, cut to what a Close can carry."""
        return self.message.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")


class QuotaExceeded(ServiceError):
    """Out of credits: on a socket with contexts it may not even be told."""


@attrs.define(eq=False)
class InvalidBody(Exception):
    """A body of the wrong form: HTTP 422 with a list of complaints.

    Attributes:
        complaints: Objects with `type`, `loc`, `msg` and `input`.
    """

    complaints: list[dict[str, Any]]


def complaint(kind: str, location: list[str | int], message: str, given: object) -> dict[str, Any]:
    """Give one item of a 422 body."""
    return {"type": kind, "loc": location, "msg": message, "input": given}


def missing_key() -> ServiceError:
    """No credentials at all, on HTTP."""
    return ServiceError(401, "missing_api_key", "No API key was provided.", "authentication_error")


def authentication_required() -> ServiceError:
    """No credentials at all, on a WebSocket."""
    return ServiceError(
        401,
        "authentication_required",
        "None of the authentication methods (xi-api-key, authorization header, single-use token) were found."
        " Please provide one of them.",
        "authentication_error",
    )


def malformed_key() -> ServiceError:
    """A key that nobody knows and that looks like one: HTTP has another answer for it."""
    return ServiceError(400, "invalid_api_key", "API key is invalid.", "authentication_error", param="api_key")


def invalid_key() -> ServiceError:
    """Credentials that nobody knows."""
    return ServiceError(401, "unauthorized", "Invalid API key", "authentication_error", "invalid_api_key")


def voice_not_found(voice_id: str) -> ServiceError:
    """No such voice, on HTTP."""
    return ServiceError(404, "voice_not_found", f"A voice with voice_id '{voice_id}' was not found.", "not_found")


def voice_does_not_exist(voice_id: str) -> ServiceError:
    """No such voice, on a WebSocket."""
    return ServiceError(404, "voice_id_does_not_exist", f"A voice with voice_id {voice_id} does not exist.")


def paid_plan_required() -> ServiceError:
    """A voice that the plan forbids, which is not a lack of credits."""
    return ServiceError(
        402,
        "paid_plan_required",
        "Free users cannot use library voices via the API.",
        "payment_required",
        "payment_required",
        error="paid_plan_required",
    )


def no_speech_model(model_id: str) -> ServiceError:
    """A model that plain text-to-speech does not have."""
    return ServiceError(
        400,
        "unsupported_model",
        f"Model '{model_id}' is not supported on the text-to-speech endpoints.",
        "validation_error",
        param="model_id",
    )


def no_dialogue_model(model_id: str) -> ServiceError:
    """Any other model at the text-to-dialogue endpoints."""
    return ServiceError(
        400,
        "unsupported_model",
        f"Model '{model_id}' is not supported on the text-to-dialogue endpoints.",
        "validation_error",
        param="model_id",
    )


def too_many_voices(limit: int) -> ServiceError:
    """More voices than the model speaks with in one dialogue."""
    return ServiceError(
        400,
        "invalid_parameters",
        f"The maximum number of unique voices is {limit}.",
        "validation_error",
        param="voices",
    )


def unsupported_model(model_id: str) -> ServiceError:
    """A dialogue model on the text-to-speech WebSocket."""
    return ServiceError(
        400,
        "unsupported_model",
        f"Model '{model_id}' is not supported on the text-to-speech websocket endpoint."
        " Use the text-to-dialogue websocket endpoint instead.",
        "validation_error",
        param="model_id",
    )


def model_not_found(model_id: str) -> ServiceError:
    """No such model."""
    return ServiceError(400, "model_not_found", f"A model with model ID {model_id} does not exist.")


def not_supported_with_model(field: str, model_id: str) -> ServiceError:
    """A field that this model refuses."""
    return ServiceError(
        400,
        "unsupported_model",
        f"Providing {field} is not yet supported with the '{model_id}' model.",
        "validation_error",
        param=field,
    )


def unsupported_language(language_code: str, model_id: str) -> ServiceError:
    """A language that the model does not have."""
    return ServiceError(
        400, "unsupported_language", f"Model '{model_id}' does not support the language_code {language_code}."
    )


def invalid_format(output_format: str, why: str = "") -> ServiceError:
    """No such output format: 403, not 422."""
    return ServiceError(
        403,
        "invalid_output_format",
        why or f"Output format '{output_format}' is not supported.",
        "validation_error",
        param="output_format",
    )


def format_not_allowed(output_format: str) -> ServiceError:
    """An output format above the account's tier."""
    return ServiceError(
        403,
        "subscription_required",
        f"Output format '{output_format}' is only available on the Pro tier and above.",
        "authorization_error",
        "output_format_not_allowed",
    )


def invalid_parameter(name: str, message: str) -> ServiceError:
    """A parameter or message that the WebSocket does not take."""
    return ServiceError(400, "invalid_parameters", message, "validation_error", param=name)


def invalid_settings(name: str, low: float, high: float, given: float) -> ServiceError:
    """A voice setting out of its range."""
    return ServiceError(
        400,
        "invalid_voice_settings",
        f"Invalid setting for {name} received, expected to be greater or equal to {low} and less or equal to"
        f" {high}, received {given}.",
    )


def settings_changed(field: str) -> ServiceError:
    """`voice_settings` or `generation_config` changed after the first message of a WebSocket."""
    return ServiceError(
        400,
        "invalid_voice_settings",
        f"{field} field must be provided in the first message and then either be not provided or not change.",
    )


def first_message_only(field: str) -> ServiceError:
    """Something that only the first message of a text-to-dialogue context may say."""
    return ServiceError(400, "invalid_parameters", f"{field} can only be set in the first message", param=field)


def context_is_closing(context_id: str) -> ServiceError:
    """A message for a text-to-dialogue context between its `close_context` and its end."""
    return ServiceError(400, "invalid_parameters", f"Context {context_id} is closing.", param="context_id")


def text_too_long(code: str, limit: int, given: int) -> ServiceError:
    """More text than the model takes at once."""
    return ServiceError(
        400,
        code,
        f"This request's text has {given} characters and exceeds the character limit of {limit} characters.",
    )


def empty_text(position: int) -> ServiceError:
    """A dialogue model's text without anything to say."""
    return ServiceError(
        400,
        "invalid_parameters",
        f"Input at position {position} has empty text. Please provide text to be spoken.",
        "validation_error",
        "input_text_empty",
        param="text",
    )


def invalid_stability(allowed: tuple[float, ...]) -> ServiceError:
    """A stability between the steps of the v3 models."""
    return ServiceError(
        400,
        "invalid_parameters",
        f"Invalid TTD stability value. Must be one of: {list(allowed)} (0.0 = Creative, 0.5 = Natural, 1.0 = Robust)",
        "validation_error",
        "invalid_ttd_stability",
        param="stability",
    )


def quota_exceeded(status: int, quota: int, remaining: int, needed: int) -> QuotaExceeded:
    """Out of credits; the older documentation says 401, the current one 402."""
    message = (
        f"This request exceeds your quota of {quota}."
        f" You have {remaining} credits remaining, while {needed} credits are required for this request."
    )
    if status == 402:
        return QuotaExceeded(402, "insufficient_credits", message, "payment_required", "quota_exceeded")
    return QuotaExceeded(401, "quota_exceeded", message)


def too_many_requests(limit: int) -> ServiceError:
    """More simultaneous generations than the plan has."""
    return ServiceError(
        429,
        "concurrent_limit_exceeded",
        "Too many concurrent requests. Your current subscription is associated with a maximum of"
        f" {limit} concurrent requests (running in parallel).",
        "rate_limit_error",
        "too_many_concurrent_requests",
        docs_url=_CONCURRENCY_PAGE,
        error="concurrent_limit_exceeded",
    )


def too_many_contexts(limit: int) -> ServiceError:
    """More contexts than a WebSocket has."""
    return ServiceError(
        400,
        "max_active_conversations",
        f"Maximum simultaneous contexts per WebSocket connection exceeded ({limit}). Please close an existing context"
        " before opening a new one.",
    )


def input_timeout(seconds: float) -> ServiceError:
    """No text for `inactivity_timeout` seconds."""
    return ServiceError(
        408,
        "input_timeout_exceeded",
        f"Have not received a new text input within the timeout of {float(seconds)} seconds. Streaming input"
        " terminated. Please make sure to either feed the input in the timely manner, or to send the end of input"
        ' text (empty string "") when done.',
    )
