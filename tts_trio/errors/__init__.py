"""The errors of the library, sorted by what the caller can do about them.

    TTSError                        every failure of this library
    ├── TTSConnectionError          a retry can help
    │   ├── ServiceUnavailableError   the service is busy or broken: HTTP 5xx, `system_busy`
    │   ├── ConcurrencyError          more requests at once than the plan allows
    │   ├── ServiceTimeoutError       the service sent no audio within a timeout
    │   └── EmptyAudioError           the service reported the end, and sent no audio for text that has sound
    ├── AuthenticationError         the API key is missing, wrong, or lacks a permission
    ├── QuotaError                  the credits are used up
    ├── PolicyError                 the plan, or the service's rules, forbid the request
    ├── ConfigurationError          a voice, model, format, option or text is not allowed (also a ValueError)
    ├── ProtocolError               the peer does not speak the protocol of ElevenLabs
    ├── TextTimeoutError            the caller neither sent text to a reply nor closed it
    └── UtteranceEndedError         the caller sent text to a reply that has ended (also a trio.BrokenResourceError)

A caller retries on `except TTSConnectionError`. `tts_trio.errors.classification` sorts the service's answers into this
tree.
"""

from __future__ import annotations

from typing import Any, ClassVar

import trio

from tts_trio.errors.redaction import redact, shows_secret

_LONGEST_MESSAGE = 500  # characters
_LONGEST_NAME = 100  # characters of an identifier of the service


class TTSError(Exception):
    """The base class of all errors of this library, which never raises one inside an exception group.

    Attributes:
        message: What happened, for people, in one line of at most 500 characters. No attribute contains the API key,
            even where the service repeated it (`errors/redaction.py` has the rule).
        code: The service's identifier of the error, such as `invalid_api_key`; None where the service sent none.
        status: The HTTP status of the answer to a request or to a WebSocket handshake, or None.
        close_code: The WebSocket close code, or None.
        trace_id: The service's id of the request, which its support asks for, or None.
        retry_after: Seconds that the service asks the client to wait before the next attempt, or None. ElevenLabs
            sends none with its 429 (wire/README.md, 4.1).
        spoken_text: The part of a failed utterance's text whose audio was delivered whole; "" where no utterance had
            begun.
        unspoken_text: The rest of that text, for a retry or another voice: `spoken_text + unspoken_text` is the text
            that was accepted. `audio.outcome` has the same two fields for an utterance that did not fail.

    `str(error)` is one line: the message, those of the facts above that are known, and, for an answer of the service
    that no retry mends, what to do.
    """

    _advice: ClassVar[str] = ""
    """What to do about an error of this class that the service sent; `str(error)` ends with it."""

    retryable: ClassVar[bool] = False
    """Whether a retry can help: True for `TTSConnectionError` and its subclasses only."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        close_code: int | None = None,
        trace_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message: str = _line(message, _LONGEST_MESSAGE)
        super().__init__(self.message)
        self.code: str | None = code and _line(code, _LONGEST_NAME)
        self.status = status
        self.close_code = close_code
        self.trace_id: str | None = trace_id and _line(trace_id, _LONGEST_NAME)
        self.retry_after = retry_after
        self.spoken_text = ""
        self.unspoken_text = ""

    def __str__(self) -> str:
        facts = {
            "code": self.code,
            "HTTP status": self.status,
            "close code": self.close_code,
            "trace id": self.trace_id,
        }
        known = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        said = f"{self.message} ({known})" if known else self.message
        return f"{said}; {self._advice}" if self._advice and known else said


def _line(text: str, longest: int) -> str:
    """Return the text as one printable line of at most `longest` characters, without secrets."""
    line = " ".join(redact(text[: 4 * longest]).split())
    if not line.isprintable():
        line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


class TTSConnectionError(TTSError):
    """No connection could be made, or it was lost, or the service failed. A retry can help."""

    retryable = True


class ServiceUnavailableError(TTSConnectionError):
    """The service is busy or broken (HTTP 5xx, `system_busy`, "something went wrong")."""


class ConcurrencyError(TTSConnectionError):
    """The service got more requests, at once or in a time, than the plan allows (HTTP 429)."""

    _advice = "set limiter= to the plan's number of concurrent requests, or change the plan"


class ServiceTimeoutError(TTSConnectionError):
    """The service sent no audio within one of `Timeouts`, although it had text to speak."""


class EmptyAudioError(TTSConnectionError):
    """The service reported the end of an utterance, and sent no audio for text that has sound.

    An exhausted quota looks like this on the multi-stream WebSockets (reported by users), so the library retries once
    and not again.
    """


class AuthenticationError(TTSError):
    """The API key is missing, wrong, or lacks a permission."""

    _advice = "check api_key, the permissions of the key, and that base_url is the server that the key is for"


class QuotaError(TTSError):
    """The credits of the plan are used up."""

    _advice = "buy credits for the account, or wait until the plan renews them"


class PolicyError(TTSError):
    """The plan, or the service's rules, forbid the request."""

    _advice = "change the plan, or what the request asks for"


class ConfigurationError(TTSError, ValueError):
    """A voice, a model, a format, an option or a text is not allowed, by this library or by the service.

    Attributes:
        field: The name of the field or argument at fault; None where the service refused without naming one.
    """

    def __init__(self, message: str, *, field: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.field: str | None = field and _line(field, _LONGEST_NAME)


class ProtocolError(TTSError):
    """The peer does not speak the protocol of ElevenLabs. It may be a proxy, or the server of a wrong `base_url`."""

    _advice = "check base_url, and that no proxy on the way answers for the service"


class TextTimeoutError(TTSError):
    """The caller neither sent text to a reply nor closed it for `timeouts.text` seconds."""


class UtteranceEndedError(TTSError, trio.BrokenResourceError):
    """The caller sent text to a reply that has ended: it was spoken whole, was interrupted, or failed."""


def unexpected(what: str, error: Exception) -> TTSConnectionError:
    """Turn an exception that the library did not expect into an error for those who wait.

    Args:
        what: What failed: "utterance", "connection to ...".
        error: The exception. It becomes the cause of the error, unless it shows a secret.

    Returns:
        The error, not raised.
    """
    failure = TTSConnectionError(f"the {what} failed with an unexpected {type(error).__name__}")
    failure.__cause__ = None if shows_secret(error) else error
    return failure
