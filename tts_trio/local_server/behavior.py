"""The configuration of the local server: its speed, its account, the points on which the sources disagree, its faults.

This module contains data, which the rest of the package reads. The defaults are what was recorded from the live API.
Where nothing was recorded, the default is the likelier value (wire/README.md, 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, cast, get_args, get_origin

import attrs
from attrs.validators import and_, optional


def _must(be: str, check: Callable[[Any], bool]) -> Any:
    """Make a validator whose error names the field and the allowed values."""

    def validate(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not check(value):
            raise ValueError(f"{attribute.name}: {value!r} is not allowed; it must be {be}")

    return validate


def _is_one_of(choices: Collection[Any]) -> Any:
    listed = tuple(choices)  # in which values without a hash can be looked up
    return _must(f"one of {', '.join(map(str, listed))}", lambda value: value in listed)


def _are(kind: type, value: Any) -> bool:
    """Return whether a value is a collection of such items. A single text is no collection of texts."""
    return isinstance(value, tuple | list | set | frozenset) and all(
        isinstance(item, kind) for item in cast("list[object]", value)
    )


_NUMBER = _must("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
_WHOLE = _must("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
_NATURAL = and_(_WHOLE, _must("at least 0", lambda value: value >= 0))
_NOT_NEGATIVE = and_(_NUMBER, _must("at least 0", lambda value: value >= 0))
_POSITIVE = and_(_NUMBER, _must("above 0", lambda value: value > 0))
_SHARE = and_(_NUMBER, _must("from 0 to 1", lambda value: 0 <= value <= 1))
_TEXTS = _must("a list of texts", partial(_are, str))

Point = Literal["accept", "tls", "answer", "audio", "final", "close"]

POINTS: dict[Point, str] = {
    "accept": "after a TCP connection was accepted; counted by connections",
    "tls": "before the server's half of the TLS handshake; counted by connections",
    "answer": "before the answer to an HTTP request, an upgrade to WebSocket included; counted by requests",
    "audio": "before the audio message (or piece of an HTTP body) with the number `frame`; counted by utterances",
    "final": "before isFinal (or the end of an HTTP body); counted by utterances",
    "close": "before the server's WebSocket Close, its answer to the client's included; counted by sockets",
}


@attrs.frozen
class Action:
    """A kind of fault."""

    points: tuple[Point, ...]  # at which the fault can strike
    value: float | str | None  # the default of `Fault.value`; None: the fault takes no value
    says: str  # what the fault does, for `tts-trio serve --help`
    lowest: float = -math.inf  # allowed value
    highest: float = math.inf


ERROR_NAMES = (
    "internal_error", "system_busy", "service_unavailable", "invalid_api_key", "missing_api_key",
    "authentication_required", "quota_exceeded", "insufficient_credits", "subscription_required",
    "detected_unusual_activity", "content_against_policy", "concurrent_limit_exceeded", "max_active_conversations",
    "voice_not_found", "voice_id_does_not_exist", "model_not_found", "unsupported_model", "unsupported_language",
    "invalid_voice_settings", "invalid_output_format", "output_format_not_allowed", "text_too_long",
    "max_character_limit_exceeded", "input_timeout_exceeded",
)  # fmt: skip
"""The names that the error frame of a fault may have."""

_UNSENDABLE_CODES = (1005, 1006, 1015)
_EVERYWHERE: tuple[Point, ...] = tuple(POINTS)
_MESSAGES: tuple[Point, ...] = ("audio", "final")
_STATUSES = (200, 599)
_KINDS: dict[type, tuple[str, Any]] = {
    type(None): ("None", ()), str: ("a text", str), int: ("a whole number", int), float: ("a number", (int, float)),
}  # fmt: skip

ACTIONS: dict[str, Action] = {
    "delay": Action(_EVERYWHERE, math.inf, "wait `value` seconds, then go on; pings are answered meanwhile", 0),
    "freeze": Action(_EVERYWHERE, None, "stop reading and writing, and keep TCP open, as a half-open peer does"),
    "deafen": Action(("answer", *_MESSAGES), None, "stop reading, but go on writing: the client's window fills"),
    "reset": Action(_EVERYWHERE, None, "send TCP RST"),
    "eof": Action(_EVERYWHERE, None, "send TCP FIN alone: the client sees close code 1006, or a body cut short"),
    "status": Action(("answer",), 500, "answer with the HTTP status `value` and the service's body for it", *_STATUSES),
    "until_eof": Action(
        ("answer",), 401, "as `status`, but the body has no length, and TCP ends two seconds later", *_STATUSES
    ),
    "garbage": Action(("answer", *_MESSAGES), None, "send bytes that are neither HTTP nor WebSocket, then go on"),
    "content_type": Action(("answer",), "text/html", "HTTP only: send the audio with the content type `value`"),
    "error_200": Action(("answer",), None, "HTTP only: send an error as JSON with the status 200"),
    "close": Action(
        _MESSAGES, 1011, "send a WebSocket Close with the code `value`; over HTTP send TCP FIN", 1000, 4999
    ),
    "skip": Action(
        _MESSAGES, None, "leave this message out (all audio with `frame=None`); over HTTP at `final` send TCP FIN"
    ),
    "invalid_json": Action(_MESSAGES, None, "send a message that is not JSON before this one"),
    "bad_base64": Action(_MESSAGES, None, "send a message whose audio is not base64 before this one"),
    "unknown_frame": Action(_MESSAGES, None, "send a message of an unknown type before this one"),
    "binary_frame": Action(_MESSAGES, None, "send a binary frame before this message"),
    "huge_frame": Action(
        _MESSAGES, 9 * 2**20, "send a message of `value` bytes without audio before this one", 100, 2**30
    ),
    "error_frame": Action(
        _MESSAGES, "internal_error", "send the service's error frame with the name `value`, then Close 1008"
    ),
    "context_error": Action(
        _MESSAGES, "internal_error", "send the error frame with the id of the context, and end only the context"
    ),
    "early_final": Action(("audio",), None, "send isFinal before this audio, which still follows"),
    "cut": Action(_MESSAGES, None, "send half of this message's bytes, then TCP RST"),
    "split": Action(
        _MESSAGES, 1000, "send this message in WebSocket fragments (or HTTP chunks) of `value` bytes", 1, 2**30
    ),
    "trickle": Action(("answer", *_MESSAGES), 2000, "send this message at `value` bytes a second", 1, 2**30),
}


@attrs.frozen
class Fault:
    """A fault to inject: what happens, where, and how often.

    `Fault("reset", "audio", frame=2, skip=1, count=1)` resets the connection of the second utterance, and of no
    other, before its third audio message. `Fault("status", "answer", 429, count=1)` refuses one request.

    Attributes:
        action: What happens; one of `ACTIONS`.
        at: The point at which the action happens; one of `POINTS`.
        value: The action's parameter (seconds, status, close code, bytes…); None: the action's default.
        frame: At "audio", the number of the message before which the fault strikes, from 0 in each utterance; None:
            before every message.
        path: The whole segments with which the path of a request must end. "stream-input" does not match
            "multi-stream-input". "": any path.
        skip: The number of passes of the point before the fault can strike.
        count: The number of passes at which the fault can strike after those; None: all.
        probability: The probability, from 0 to 1, that the fault strikes at such a pass.
        seed: The seed of the random draws, which repeat from run to run.
    """

    action: str = attrs.field(validator=_is_one_of(ACTIONS))
    at: Point = attrs.field(validator=_is_one_of(POINTS))
    value: float | str | None = None
    frame: int | None = attrs.field(default=0, validator=optional(_NATURAL))
    path: str = attrs.field(default="", kw_only=True)
    skip: int = attrs.field(default=0, kw_only=True, validator=_NATURAL)
    count: int | None = attrs.field(default=None, kw_only=True, validator=optional([_WHOLE, _POSITIVE]))
    probability: float = attrs.field(default=1.0, kw_only=True, validator=_SHARE)
    seed: int = attrs.field(default=0, kw_only=True, validator=_WHOLE)

    def __attrs_post_init__(self) -> None:
        action = ACTIONS[self.action]
        kind, types = _KINDS[type(action.value)]
        if self.at not in action.points:
            raise self._refusal("at", f"one of {', '.join(action.points)}")
        if self.value is None:
            object.__setattr__(self, "value", action.value)
        elif isinstance(self.value, bool) or not isinstance(self.value, types):
            raise self._refusal("value", kind)
        elif action.value in ERROR_NAMES and self.value not in ERROR_NAMES:
            raise self._refusal("value", f"one of {', '.join(ERROR_NAMES)}")
        if self.action == "close" and self.value in _UNSENDABLE_CODES:
            raise self._refusal("value", "a close code that can be sent; for 1006 use the fault 'eof' or 'reset'")
        if isinstance(self.value, int | float) and not action.lowest <= self.value <= action.highest:
            raise self._refusal("value", f"from {action.lowest} to {action.highest}")

    def _refusal(self, field: str, allowed: str) -> ValueError:
        given = getattr(self, field)
        return ValueError(f"{field}: {given!r} is not allowed for the fault {self.action!r}; it must be {allowed}")


def _option(default: Any, validator: Any, help: str) -> Any:  # noqa: A002 - the word of the command line
    """Declare a field that takes what the validator allows, and None if that is the default."""
    allowed = optional(validator) if default is None else validator
    return attrs.field(default=default, validator=allowed, metadata={"help": help})


def _switch(help: str) -> Any:  # noqa: A002 - as above
    """Declare a field whose annotation lists its values, the default first. The default of `bool` is True."""
    return attrs.field(metadata={"help": help})


def _read_choices(behavior: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Set the default and the validator of each switch from its annotation."""
    attrs.resolve_types(behavior, attribs=fields)
    for index, field in enumerate(fields):
        if field.type is bool or get_origin(field.type) is Literal:
            choices = get_args(field.type) or (True, False)
            metadata = {**field.metadata, "choices": choices}
            fields[index] = field.evolve(default=choices[0], validator=_is_one_of(choices), metadata=metadata)
    return fields


@attrs.frozen(kw_only=True, field_transformer=_read_choices)
class Behavior:
    """The behavior of a local server. Times are in seconds.

    `tts-trio serve --help` prints the text at each field.
    """

    model_latency: float = _option(0.075, _NOT_NEGATIVE, help="time from a segment's start to its first audio")
    speed: float = _option(20.0, _POSITIVE, help="speed of generation, as a multiple of real time")
    slow_share: float = _option(0.0, _SHARE, help="share of the segments, from 0 to 1, whose first audio is late")
    slow_by: float = _option(2.6, _NOT_NEGATIVE, help="the most by which it is late: drawn evenly, from a third of it")
    seed: int = _option(0, _WHOLE, help="seed of the slow segments, of the sizes of HTTP chunks and of request ids")

    api_keys: tuple[str, ...] | None = _option(None, _TEXTS, help="accepted keys; none: every key that is not empty")
    voices: tuple[str, ...] | None = _option(None, _TEXTS, help="known voice ids; none: every well-formed id")
    forbidden_formats: tuple[str, ...] = _option((), _TEXTS, help="output formats above the account's tier (403)")
    forbidden_voices: tuple[str, ...] = _option(
        (), _TEXTS, help="voices above the account's plan (402 paid_plan_required)"
    )
    missing_permissions: tuple[str, ...] = _option(
        (), _TEXTS, help="permissions that the keys lack over HTTP, such as user_read (401 missing_permissions)"
    )
    quota: int | None = _option(None, _NOT_NEGATIVE, help="credits of the account; none: unlimited")
    quota_status: Literal[401, 402] = _switch("HTTP status of an exhausted quota (older or current docs)")
    concurrency: int | None = _option(None, _POSITIVE, help="simultaneous generations of the plan; none: unlimited")
    over_concurrency: Literal["frame", "upgrade", "queue"] = _switch(
        "above `concurrency` a WebSocket gets an error frame, gets HTTP 429 at its upgrade, or waits;"
        " an HTTP request gets 429, or waits with `queue`"
    )
    dialogue_sessions: int | None = _option(
        None, _POSITIVE, help="simultaneous text-to-dialogue sockets of the plan, idle ones included; none: unlimited"
    )
    slot_freed_on_close: bool = _switch(
        "a socket that closes during a generation frees the slot at once, or when the generation would end"
    )

    close_delay: float = _option(0.76, _NOT_NEGATIVE, help="time from isFinal or an error to the server's Close")
    empty_flush_ends: bool = _switch('stream-input: {"text": "", "flush": true} ends the utterance, or only flushes')
    blank_in_auto_mode: Literal["nothing", "silence"] = _switch('{"text": " "} in auto_mode: nothing, or a short clip')
    idle_timer: Literal["accept", "first_message"] = _switch("the event that starts inactivity_timeout")
    max_age: float | None = _option(None, _POSITIVE, help="the server closes (1000) a socket of this age; none: never")
    spelling: Literal["camel", "snake"] = _switch(
        "text-to-speech WebSockets: isFinal and contextId, or is_final and context_id"
    )
    context_slot: Literal["final", "close"] = _switch(
        "a closed context counts among the five until its isFinal, or no longer"
    )
    early_close: Literal["none", "silent_final", "nothing"] = _switch(
        "multi-stream-input: a context that is closed before its first audio gets its flushed text,"
        " isFinal without audio, or nothing"
    )
    late_final: float = _option(
        0.0,
        _NOT_NEGATIVE,
        help="delay of isFinal after close_context, and of the last audio of a context that is interrupted",
    )
    keep_alive_opens: bool = _switch(
        "multi-stream-input: a keep-alive without a context id opens the default context, or nothing"
    )
    close_socket: Literal["ignored", "obeyed"] = _switch("multi-stream-input: close_socket with an open context")
    idle_context: Literal["final", "error"] = _switch(
        "inactivity_timeout speaks the rest of a context and ends the context, or fails the socket"
    )
    idle_socket: Literal["lives", "error"] = _switch(
        "a socket without contexts stays open after inactivity_timeout, or fails"
    )
    quota_on_contexts: Literal["silent_final", "error"] = _switch(
        "multi-stream-input: an exhausted quota gives isFinal without audio, or an error"
    )
    ping_interval: float | None = _option(None, _POSITIVE, help="time between two pings of the server; none: no pings")
    ping_timeout: float = _option(20.0, _POSITIVE, help="the server closes (1011) without a pong in this time")
    unsupported_language: Literal["ignore", "reject"] = _switch(
        "a language that the model does not speak is ignored, or refused (400)"
    )
    rare_formats_on_websocket: bool = _switch(
        "mp3_24000_48, pcm_32000 and pcm_48000 are accepted on WebSockets, or refused"
    )
    alignment: Literal["plain", "overlapping", "overrunning", "absent"] = _switch(
        "overlapping: `alignment` covers a sentence in two passes, but `normalizedAlignment` does not;"
        " overrunning: a dialogue's alignments last longer than their sound; absent: there are no alignments"
    )
    fast_models_normalize: Literal[False, True] = _switch(
        "the text normalizer of Flash and Turbo v2.5 is off by default (models page), or on (changelog)"
    )
    v4_over_text_to_speech: bool = _switch("plain /v1/text-to-speech speaks the v4 models, or refuses them (400)")
    too_long_code: Literal["max_character_limit_exceeded", "text_too_long"] = _switch(
        "error code for a text above the limit"
    )
    id3_tag: Literal["alone", "joined"] = _switch(
        "mp3 on dialogue sockets: the ID3 tag is a message of its own, or begins the first message"
    )
    opus_content_type: Literal["audio/opus", "audio/ogg"] = _switch("content type of opus over HTTP")

    faults: tuple[Fault, ...] = _option((), _must("a list of Fault", partial(_are, Fault)), help="")
