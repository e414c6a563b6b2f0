"""What each side sent, and when: the evidence for tests, and the lines of `serve --log`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from tts_trio.local_server.behavior import Fault

_SECRETS = {"xi-api-key", "xi_api_key", "authorization", "single_use_token"}


@attrs.frozen(kw_only=True)
class Record:
    """One thing that happened on one connection.

    Attributes:
        time: The time of trio's clock, in seconds.
        connection: The number of the connection, from 1 in the order of acceptance.
    """

    time: float
    connection: int


@attrs.frozen(kw_only=True)
class Accepted(Record):
    """A connection was accepted."""


@attrs.frozen(kw_only=True)
class Requested(Record):
    """A request came, an upgrade to WebSocket included.

    Attributes:
        method: The HTTP method.
        path: The path without the query.
        query: The parameters of the query.
        headers: The headers, by their names in lower case.
        body: The parsed JSON, or the bytes if they are not JSON.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@attrs.frozen(kw_only=True)
class Answered(Record):
    """The head of an answer was sent.

    Attributes:
        status: The HTTP status; 101 is a good upgrade.
        headers: The headers, by their names in lower case.
    """

    status: int
    headers: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Received(Record):
    """A whole WebSocket frame came.

    Attributes:
        frame: The kind of frame.
        message: The parsed JSON of a text frame, or its text if that is not JSON; the bytes of any other frame.
        context_id: The context that the message names.
    """

    frame: Literal["text", "binary", "ping", "pong"]
    message: Any
    context_id: str | None = None


@attrs.frozen(kw_only=True)
class Sent(Record):
    """A WebSocket message, or a piece of an HTTP body, was written.

    Attributes:
        kind: The kind of message; "fault" is one that a fault has made.
        size: The size of the audio, or of the piece of the body, in bytes.
        text: The client's characters that are aligned with the audio.
        error: The name of the error in an error frame.
        context_id: The context it belongs to; None: the default context, or a socket without contexts.
    """

    kind: Literal["audio", "turn", "final", "error", "fault", "ping", "pong", "body"]
    size: int = 0
    text: str = ""
    error: str = ""
    context_id: str | None = None


@attrs.frozen(kw_only=True)
class CloseReceived(Record):
    """A WebSocket Close came."""

    code: int
    reason: str


@attrs.frozen(kw_only=True)
class CloseSent(Record):
    """A WebSocket Close was written."""

    code: int
    reason: str


@attrs.frozen(kw_only=True)
class Injected(Record):
    """A fault was injected."""

    fault: Fault


@attrs.frozen(kw_only=True)
class Ended(Record):
    """The connection is over.

    Attributes:
        by: The side that closed TCP first; "client" also if the server found it gone.
        torn: Whether the client's bytes ended in the middle of a frame or of a request.
    """

    by: Literal["client", "server"]
    torn: bool


def as_json(record: Record) -> str:
    """Give a record as one line of JSON, without keys and tokens."""
    return json.dumps({"event": type(record).__name__.lower(), **_plain(attrs.asdict(record))}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Give what JSON can say of a value, with the secrets in it masked."""
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            items: Any = value.items()  # pyright: ignore[reportUnknownVariableType] - any JSON
            return {name: "…" if str(name).lower() in _SECRETS else _plain(item) for name, item in items}
        case list():
            return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - any JSON
        case _:
            return value
