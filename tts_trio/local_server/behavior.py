"""How the local server behaves: its pace, the account it pretends to hold, the unsettled points, the faults.

Nothing here does anything; the rest of the package reads it. The defaults are what was recorded from the live
API, and where nothing was recorded, the likelier side (wire/README.md, 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Literal, cast, get_args, get_origin

import attrs
from attrs.validators import ge, gt, instance_of, le, optional


def _must(be: str, check: Callable[[Any], bool]) -> Any:
    """Make a validator whose error names the field and what it must be."""

    def validate(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not check(value):
            raise ValueError(f"{attribute.name}: {value!r} is not allowed; it must be {be}")

    return validate


def _is_one_of(choices: Collection[Any]) -> Any:
    listed = tuple(choices)  # which asks for no hash
    return _must(f"one of {', '.join(map(str, listed))}", lambda value: value in listed)


def _are_texts(value: Any) -> bool:
    """Tell a collection of texts from a single text, whose characters are texts as well."""
    return isinstance(value, tuple | list | set | frozenset) and all(
        isinstance(text, str) for text in cast("list[object]", value)
    )


_NUMBER = _must("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
_WHOLE = _must("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
_TEXTS = _must("a list of texts", _are_texts)

Point = Literal["accept", "tls", "answer", "audio", "final", "close"]

POINTS: dict[Point, str] = {
    "accept": "a TCP connection has been accepted; counted by connections",
    "tls": "before the server's half of the TLS handshake; counted by connections",
    "answer": "before the answer to an HTTP request, an upgrade to WebSocket included; counted by requests",
    "audio": "before the audio message (or the piece of an HTTP body) numbered `frame`; counted by utterances",
    "final": "before isFinal (or the end of an HTTP body); counted by utterances",
    "close": "before the server's WebSocket Close, its answer to the client's included; counted by sockets",
}


@attrs.frozen
class Action:
    """What a kind of fault does."""

    points: tuple[Point, ...]  # at which it can be injected
    value: float | str | None  # the default of `Fault.value`; None: the fault takes no value
    says: str  # what it does, in one line for people
    lowest: float = -math.inf  # of its values
    highest: float = math.inf


ERROR_NAMES = (
    "internal_error", "system_busy", "service_unavailable", "invalid_api_key", "missing_api_key",
    "authentication_required", "quota_exceeded", "insufficient_credits", "subscription_required",
    "detected_unusual_activity", "content_against_policy", "concurrent_limit_exceeded", "max_active_conversations",
    "voice_not_found", "voice_id_does_not_exist", "model_not_found", "unsupported_model", "unsupported_language",
    "invalid_voice_settings", "invalid_output_format", "output_format_not_allowed", "text_too_long",
    "max_character_limit_exceeded", "input_timeout_exceeded",
)  # fmt: skip
"""What an error frame of a fault may be named."""

_UNSENDABLE_CODES = (1005, 1006, 1015)
_EVERYWHERE: tuple[Point, ...] = tuple(POINTS)
_MESSAGES: tuple[Point, ...] = ("audio", "final")
_STATUSES = (200, 599)
_KINDS: dict[type, tuple[str, Any]] = {
    type(None): ("None", ()), str: ("a text", str), int: ("a whole number", int), float: ("a number", (int, float)),
}  # fmt: skip

ACTIONS: dict[str, Action] = {
    "delay": Action(_EVERYWHERE, math.inf, "wait `value` seconds, then go on (pings are answered meanwhile)", 0),
    "freeze": Action(_EVERYWHERE, None, "read and write nothing any more, and keep TCP open: a half-open peer"),
    "deafen": Action(
        ("answer", *_MESSAGES), None, "read nothing any more but go on writing: the client's window fills"
    ),
    "reset": Action(_EVERYWHERE, None, "TCP RST"),
    "eof": Action(_EVERYWHERE, None, "TCP FIN without a word: close code 1006, a body cut short"),
    "status": Action(("answer",), 500, "answer with the HTTP status `value` and the service's body for it", *_STATUSES),
    "until_eof": Action(
        ("answer",), 401, "as `status`, with a body that has no length and an end of TCP two seconds later", *_STATUSES
    ),
    "garbage": Action(("answer", *_MESSAGES), None, "bytes that are neither HTTP nor WebSocket, then go on"),
    "content_type": Action(("answer",), "text/html", "HTTP only: the audio under the content type `value`"),
    "error_200": Action(("answer",), None, "HTTP only: an error as JSON with the status 200"),
    "close": Action(_MESSAGES, 1011, "WebSocket Close with the code `value`; ends an HTTP connection", 1000, 4999),
    "skip": Action(_MESSAGES, None, "leave this message out (`frame=None`: all audio; at `final`: no final)"),
    "invalid_json": Action(_MESSAGES, None, "one more message before this one, which is no JSON"),
    "bad_base64": Action(_MESSAGES, None, "one more message before this one, whose audio is no base64"),
    "unknown_frame": Action(_MESSAGES, None, "one more message before this one, of a type nobody knows"),
    "binary_frame": Action(_MESSAGES, None, "one more message before this one, as a binary frame"),
    "huge_frame": Action(
        _MESSAGES, 9 * 2**20, "one more message before this one, of `value` bytes and without audio", 100, 2**30
    ),
    "error_frame": Action(
        _MESSAGES, "internal_error", "the service's error frame named `value`, then Close 1008 as the service does"
    ),
    "context_error": Action(
        _MESSAGES, "internal_error", "the error frame with the id of the context, which is over; the socket lives on"
    ),
    "early_final": Action(("audio",), None, "isFinal before this audio, which still follows"),
    "cut": Action(_MESSAGES, None, "half of this message's bytes, then TCP RST"),
    "split": Action(_MESSAGES, 1000, "this message in WebSocket fragments of `value` bytes", 1, 2**30),
    "trickle": Action(("answer", *_MESSAGES), 2000, "the bytes of this message at `value` bytes a second", 1, 2**30),
}


@attrs.frozen
class Fault:
    """One thing that goes wrong: what, where, and how often.

    `Fault("reset", "audio", frame=2, skip=1, count=1)` resets the connection of the second utterance, and of no
    other, before its third audio message. `Fault("status", "answer", 429, count=1)` refuses one request.

    Attributes:
        action: The name of what happens, one of `ACTIONS`.
        at: The name of the point where it happens, one of `POINTS`.
        value: The action's parameter (seconds, status, close code, bytes…); None: the action's default.
        frame: At "audio", the number of the message before which it strikes, from 0 in each utterance; None: each.
        path: Only where the request's path ends with these whole segments: "stream-input" is not
            "multi-stream-input", "text-to-dialogue/stream" is one of two "/stream"; "": anywhere.
        skip: The number of passes of the point that are let through first.
        count: The number of passes into which the fault is injected after those; None: all.
        probability: The chance, from 0 to 1, that the fault is really injected into such a pass.
        seed: The seed of the draws, which makes them repeatable.
    """

    action: str = attrs.field(validator=_is_one_of(ACTIONS))
    at: Point = attrs.field(validator=_is_one_of(POINTS))
    value: float | str | None = None
    frame: int | None = attrs.field(default=0, validator=optional([_WHOLE, ge(0)]))
    path: str = attrs.field(default="", kw_only=True)
    skip: int = attrs.field(default=0, kw_only=True, validator=[_WHOLE, ge(0)])
    count: int | None = attrs.field(default=None, kw_only=True, validator=optional([_WHOLE, ge(1)]))
    probability: float = attrs.field(default=1.0, kw_only=True, validator=[_NUMBER, ge(0.0), le(1.0)])
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


def _option(default: Any, *validators: Any, help: str) -> Any:  # noqa: A002 - the word of the command line
    return attrs.field(default=default, validator=list(validators), metadata={"help": help})


def _switch(help: str) -> Any:  # noqa: A002 - as above
    """Declare a field whose annotation lists its values; the first one is the default, and `bool` begins with True."""
    return attrs.field(metadata={"help": help})


def _read_choices(behavior: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Give each switch the default and the validator that its annotation asks for."""
    attrs.resolve_types(behavior, attribs=fields)
    for index, field in enumerate(fields):
        if field.type is bool or get_origin(field.type) is Literal:
            choices = get_args(field.type) or (True, False)
            metadata = {**field.metadata, "choices": choices}
            fields[index] = field.evolve(default=choices[0], validator=_is_one_of(choices), metadata=metadata)
    return fields


_POSITIVE: Any = optional([_NUMBER, gt(0)])


@attrs.frozen(kw_only=True, field_transformer=_read_choices)
class Behavior:
    """Everything about the server that a test may want otherwise. Times are in seconds.

    Each field is described once, where it is declared, and `tts-trio serve --help` prints the same words.
    """

    model_latency: float = _option(0.075, _NUMBER, ge(0), help="from a segment's beginning to its first audio")
    speed: float = _option(20.0, _NUMBER, gt(0), help="generation, as a multiple of real time")
    seed: int = _option(0, _WHOLE, help="for the sizes of HTTP chunks and for request ids")

    api_keys: tuple[str, ...] | None = _option(
        None, optional(_TEXTS), help="the good keys; none given: any key that is not empty"
    )
    voices: tuple[str, ...] | None = _option(
        None, optional(_TEXTS), help="the known voice ids; none given: any well-formed one"
    )
    forbidden_formats: tuple[str, ...] = _option((), _TEXTS, help="output formats above this account's tier (403)")
    forbidden_voices: tuple[str, ...] = _option(
        (), _TEXTS, help="voices above this account's plan (402 paid_plan_required)"
    )
    quota: int | None = _option(None, optional([_NUMBER, ge(0)]), help="credits of the account; none: without end")
    quota_status: Literal[401, 402] = _switch("HTTP status of an exhausted quota (older or current docs)")
    concurrency: int | None = _option(None, _POSITIVE, help="simultaneous generations of the plan; none: any")
    over_concurrency: Literal["frame", "upgrade", "queue"] = _switch(
        "above `concurrency` a WebSocket gets an error frame, or HTTP 429 at its upgrade, or waits;"
        " an HTTP request gets 429, or waits with `queue`"
    )
    dialogue_sessions: int | None = _option(
        None, _POSITIVE, help="simultaneous text-to-dialogue sockets of the plan, idle ones too; none: any"
    )
    slot_freed_on_close: bool = _switch(
        "a socket closed in mid generation frees its slot at once, or when it would end"
    )

    close_delay: float = _option(0.76, _NUMBER, ge(0), help="from isFinal, or an error frame, to the server's Close")
    empty_flush_ends: bool = _switch('stream-input: {"text": "", "flush": true} ends the utterance, or only flushes')
    blank_in_auto_mode: Literal["nothing", "silence"] = _switch(
        'what {"text": " "} under auto_mode gives: nothing, or a short clip'
    )
    idle_timer: Literal["accept", "first_message"] = _switch("from when inactivity_timeout runs")
    max_age: float | None = _option(None, _POSITIVE, help="the server closes (1000) a socket of this age; none: never")
    spelling: Literal["camel", "snake"] = _switch(
        "text-to-speech WebSockets: isFinal and contextId, or is_final and context_id"
    )
    context_slot: Literal["final", "close"] = _switch(
        "a closed context counts among the five until its isFinal, or no more"
    )
    early_close: Literal["none", "silent_final", "nothing"] = _switch(
        "multi-stream-input: what comes of a context closed before its first audio was sent: what was flushed,"
        " or isFinal without audio, or nothing at all"
    )
    late_final: float = _option(
        0.0, _NUMBER, ge(0),
        help="by so much isFinal comes late after close_context, and the last audio of what that interrupts"
    )  # fmt: skip
    keep_alive_opens: bool = _switch(
        "multi-stream-input: a keep-alive without a context id opens the default context, or nothing"
    )
    close_socket: Literal["ignored", "obeyed"] = _switch("multi-stream-input: close_socket while a context is open")
    idle_context: Literal["final", "error"] = _switch(
        "inactivity_timeout says and ends its context, or ends the whole socket"
    )
    idle_socket: Literal["lives", "error"] = _switch(
        "a socket without contexts lives on, or is closed after inactivity_timeout"
    )
    quota_on_contexts: Literal["silent_final", "error"] = _switch(
        "multi-stream-input: an exhausted quota is an isFinal without audio, or an error"
    )
    ping_interval: float | None = _option(None, _POSITIVE, help="the server pings; none: it does not")
    ping_timeout: float = _option(20.0, _NUMBER, gt(0), help="without a pong for so long the server closes (1011)")
    unsupported_language: Literal["ignore", "reject"] = _switch(
        "a language the model does not have: ignored, or HTTP 400"
    )
    rare_formats_on_websocket: bool = _switch(
        "mp3_24000_48, pcm_32000 and pcm_48000 on WebSockets: accepted, or refused"
    )
    alignment: Literal["plain", "overlapping", "overrunning", "absent"] = _switch(
        "overlapping: `alignment` comes in two passes over one sentence while `normalizedAlignment` does not;"
        " overrunning: a dialogue's alignments last longer than the sound that they come with"
    )
    fast_models_normalize: Literal[False, True] = _switch(
        "the text normalizer of Flash and Turbo v2.5 is off by default (models page), or on (changelog)"
    )
    v4_over_text_to_speech: bool = _switch("plain /v1/text-to-speech speaks the v4 models, or refuses them (400)")
    too_long_code: Literal["max_character_limit_exceeded", "text_too_long"] = _switch(
        "what a text above the limit is called"
    )
    id3_tag: Literal["alone", "joined"] = _switch(
        "mp3 on dialogue sockets: its ID3 tag is a message of its own, or begins the first one"
    )
    opus_content_type: Literal["audio/opus", "audio/ogg"] = _switch("the content type of opus over HTTP")

    faults: tuple[Fault, ...] = attrs.field(
        default=(), validator=attrs.validators.deep_iterable(instance_of(Fault)), metadata={"help": ""}
    )
