"""What the faults say that end in a refusal by the service, by the name or the status that they ask for."""

from __future__ import annotations

from tts_trio.local_server.errors import (
    ServiceError,
    invalid_key,
    malformed_key,
    quota_exceeded,
    voice_not_found,
)


def by_name(name: str) -> ServiceError:
    """Give an error frame for the fault `error_frame`, by the name it has on the wire."""
    texts = {
        "internal_error": "We are sorry, something went wrong. You are not charged for this request.",
        "invalid_api_key": "Invalid API key",
        "quota_exceeded": "This request exceeds your quota of 10000. You have 0 credits remaining, while 10 credits"
        " are required for this request.",
        "detected_unusual_activity": "Unusual activity detected. Free Tier usage disabled.",
        "system_busy": "The system is experiencing heavy traffic, please try again.",
    }
    return ServiceError(500, name, texts.get(name, f"Error {name}."))


def by_status(status: int) -> ServiceError:
    """Give the service's body for an HTTP status that the fault `status` asks for."""
    known = {
        400: malformed_key(),
        401: invalid_key(),
        402: quota_exceeded(402, 10_000, 0, 10),
        403: ServiceError(
            403,
            "unauthorized",
            "The API key you used is missing the permission text_to_speech to execute this operation.",
            "authorization_error",
            "missing_permissions",
        ),
        404: voice_not_found("unknown"),
        429: ServiceError(
            429, "system_busy", "The system is experiencing heavy traffic, please try again.", "rate_limit_error"
        ),
        500: ServiceError(500, "internal_error", "An internal error occurred.", "internal_error"),
        503: ServiceError(503, "service_unavailable", "The service is unavailable.", "service_unavailable"),
    }
    return known.get(status) or ServiceError(status, "error", f"HTTP {status}.", "error")
