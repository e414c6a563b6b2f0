"""Everything that can go wrong, sorted by what the caller can do about it.

    TTSError                        every failure of this library
    ├── TTSConnectionError          trying again can help
    │   ├── ServiceUnavailableError   the service is busy or broken: HTTP 5xx, `system_busy`
    │   ├── ConcurrencyError          more requests at once than the plan allows
    │   ├── ServiceTimeoutError       audio was owed and did not come
    │   └── EmptyAudioError           the service said "done" and gave no sound for text that has one
    ├── AuthenticationError         the key is missing, wrong, or lacks a permission
    ├── QuotaError                  the credits are used up
    ├── PolicyError                 the plan, or the service's rules, forbid it
    ├── ConfigurationError          a voice, model, format, option or text that cannot be had (also a ValueError)
    ├── ProtocolError               the peer does not speak ElevenLabs' protocol
    ├── TextTimeoutError            a reply whose text was neither fed nor closed
    └── UtteranceEndedError         text sent to a reply that has ended (also a trio.BrokenResourceError)

`except TTSConnectionError` is what an orchestrator retries. The service's answers are sorted into the tree by
`tts_trio.errors.classification`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import trio

from tts_trio.errors.redaction import redact, shows_secret

_LONGEST_MESSAGE = 500  # characters
_LONGEST_NAME = 100  # characters of an identifier of the service


class TTSError(Exception):
    """A failure of speech. Never raised inside an exception group by this library.

    Attributes:
        message: What happened, for people, in one line of at most 500 characters. Neither in it nor in any other
            attribute is the API key, should the service have repeated it (`errors/redaction.py` has the rule).
        code: The service's own identifier, such as `invalid_api_key`, or None where the service said nothing.
        status: The HTTP status of the answer (of a request or of a WebSocket handshake), or None.
        close_code: The WebSocket close code, or None.
        trace_id: The service's id of the request, to give to its support, or None.
        retry_after: Seconds that the service asks to wait before the next try, or None. ElevenLabs sends none
            with its 429 (wire/README.md, 4.1).
        spoken_text: Of an utterance that failed: the part of its text whose sound was delivered whole. "" where no
            utterance had begun.
        unspoken_text: The rest of it, for a retry or another voice: `spoken_text + unspoken_text` is the text that was
            accepted. `audio.outcome` has the two for an utterance that ended otherwise.

    `str(error)` is one line: what happened, the facts above that are known, and what to do about an answer of the
    service's that no retry mends.
    """

    _advice: ClassVar[str] = ""
    """What to do about it, where the message cannot know."""

    retryable: ClassVar[bool] = False
    """Whether trying again can help. True for `TTSConnectionError` and what is below it, and for nothing else."""

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
    """One line that can be printed anywhere, without secrets."""
    line = " ".join(redact(text[: 4 * longest]).split())
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


class TTSConnectionError(TTSError):
    """There is no connection, or it was lost, or the service did not do its part: trying again can help."""

    retryable = True


class ServiceUnavailableError(TTSConnectionError):
    """The service is busy or broken (HTTP 5xx, `system_busy`, "something went wrong")."""


class ConcurrencyError(TTSConnectionError):
    """More requests at once, or more often, than the plan allows (HTTP 429)."""

    _advice = "bound the utterances by a limiter, or change the plan"


class ServiceTimeoutError(TTSConnectionError):
    """Audio was owed and did not come within its deadline."""


class EmptyAudioError(TTSConnectionError):
    """The service reported the end and gave no sound for text that has one.

    It is how an exhausted quota looks on the multi-stream WebSockets (reports of production), so it is tried once more
    and not again.
    """


class AuthenticationError(TTSError):
    """The API key is missing, wrong, or lacks a permission."""

    _advice = "check api_key, its permissions, and whether it belongs to base_url"


class QuotaError(TTSError):
    """The credits of the plan are used up."""

    _advice = "the account needs credits"


class PolicyError(TTSError):
    """The plan, or the service's rules, forbid what was asked for."""

    _advice = "the plan, or what is asked for, has to change"


class ConfigurationError(TTSError, ValueError):
    """What was asked for cannot be had: a voice, a model, a format, an option or a text.

    Attributes:
        field: The name of the field at fault, or None where only the service knows.
    """

    def __init__(self, message: str, *, field: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.field: str | None = field and _line(field, _LONGEST_NAME)


class ProtocolError(TTSError):
    """The peer does not speak the protocol of ElevenLabs: perhaps a proxy, or a wrong base URL."""

    _advice = "check base_url, and whether a proxy stands in between"


class TextTimeoutError(TTSError):
    """The text of a reply was neither fed nor closed for `timeouts.text` seconds."""


class UtteranceEndedError(TTSError, trio.BrokenResourceError):
    """The reply has ended (finished, interrupted or failed), so it takes no more text."""


def unexpected(what: str, error: Exception) -> TTSConnectionError:
    """Return what an exception that nobody foresaw is to those who wait: a failure, with the exception as its cause."""
    failure = TTSConnectionError(f"the {what} failed: {type(error).__name__}")
    failure.__cause__ = None if shows_secret(error) else error
    return failure
