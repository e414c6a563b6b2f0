"""The records of what each side sent and when. Tests read them, and `serve --log` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from tts_trio.local_server.behavior import Fault

_SECRETS = {"xi-api-key", "xi_api_key", "authorization", "single_use_token"}


@attrs.frozen(kw_only=True)
class Record:
    """An event on one connection.

    Attributes:
        time: The time of the event on trio's clock, in seconds.
        connection: The number of the connection. The first accepted connection is 1.
    """

    time: float
    connection: int


@attrs.frozen(kw_only=True)
class Accepted(Record):
    """The server accepted a connection."""


@attrs.frozen(kw_only=True)
class Requested(Record):
    """The server received a request. An upgrade to WebSocket is one, too.

    Attributes:
        method: The HTTP method.
        path: The path without the query.
        query: The parameters of the query.
        headers: The headers, with names in lower case.
        body: The parsed JSON, or the bytes if the body is not JSON.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@attrs.frozen(kw_only=True)
class Answered(Record):
    """The server sent the head of an answer.

    Attributes:
        status: The HTTP status; 101 accepts an upgrade.
        headers: The headers, with names in lower case.
    """

    status: int
    headers: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Received(Record):
    """The server received a whole WebSocket message, ping or pong.

    Attributes:
        frame: The kind of frame.
        message: The parsed JSON of a text message, or the text if it is not JSON; the bytes of anything else.
        context_id: The id of the context that the message names.
    """

    frame: Literal["text", "binary", "ping", "pong"]
    message: Any
    context_id: str | None = None


@attrs.frozen(kw_only=True)
class Sent(Record):
    """The server sent a WebSocket message, or a piece of an HTTP body.

    Attributes:
        kind: The kind of message; "fault" is a message that a fault added.
        size: The size of the audio, or of the piece of the body, in bytes.
        text: The client's characters that are aligned with the audio.
        error: The name of the error in an error frame.
        context_id: The id of the message's context; None: the default context, or a socket without contexts.
    """

    kind: Literal["audio", "turn", "final", "error", "fault", "ping", "pong", "body"]
    size: int = 0
    text: str = ""
    error: str = ""
    context_id: str | None = None


@attrs.frozen(kw_only=True)
class CloseReceived(Record):
    """The server received a WebSocket Close."""

    code: int
    reason: str


@attrs.frozen(kw_only=True)
class CloseSent(Record):
    """The server sent a WebSocket Close."""

    code: int
    reason: str


@attrs.frozen(kw_only=True)
class Injected(Record):
    """The server injected a fault."""

    fault: Fault


@attrs.frozen(kw_only=True)
class Ended(Record):
    """The connection ended.

    Attributes:
        by: The side that closed TCP first. "client" also if the server could not reach the client.
        torn: Whether the client's bytes ended in the middle of a frame or of a request.
    """

    by: Literal["client", "server"]
    torn: bool


def as_json(record: Record) -> str:
    """Return a record as one line of JSON, in which keys and tokens are masked."""
    return json.dumps({"event": type(record).__name__.lower(), **_plain(attrs.asdict(record))}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Convert a value to JSON types, and mask the secrets in it."""
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
