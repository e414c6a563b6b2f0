"""What the server's record of a test must say of the frames that the client wrote: one function for all endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from tts_trio.local_server import Injected, Received, Record, Requested, Sent

ONCE = {"voices", "voice_settings", "generation_config", "pronunciation_dictionary_locators"}
MOST_CONTEXTS = 5


@attrs.define
class Contexts:
    """The contexts of one socket to a multi-stream endpoint, as the service sees them."""

    dialogue: bool
    open: set[str] = attrs.field(factory=set)
    begun: set[str] = attrs.field(factory=set)
    closed: set[str] = attrs.field(factory=set)
    most: int = 0
    fault: str = ""  # the last one that was injected

    def received(self, message: dict[str, Any]) -> None:
        if message == {"close_socket": True}:
            assert not self.open, "close_socket while a context is open is ignored"
            return
        context_id = message.get("context_id")
        assert isinstance(context_id, str), f"a frame without a context opens the default one: {message}"
        assert context_id not in self.closed, f"a frame for a context that was closed opens another: {message}"
        if context_id not in self.begun:
            first = "voices" in message if self.dialogue else message.get("text") == " "
            assert first, f"the first frame of a context is not its init: {message}"
            self.begun.add(context_id)
            self.open.add(context_id)
            self.most = max(self.most, len(self.open))
            assert len(self.open) <= MOST_CONTEXTS, "more contexts than the service allows"
        else:
            assert context_id in self.open, f"a frame for a context that has ended: {message}"
            assert not ONCE & message.keys(), f"settings belong to the first frame: {message}"
        if message.get("close_context"):
            self.closed.add(context_id)

    def sent(self, record: Sent) -> None:
        if record.context_id is None:
            return
        if record.kind == "final" or (record.kind == "fault" and self.fault == "early_final"):
            self.open.discard(record.context_id)
        elif record.kind == "fault" and self.fault == "context_error":
            self.open.discard(record.context_id)
            self.closed.add(record.context_id)


@attrs.define
class OneUtterance:
    """A socket to stream-input."""

    begun: bool = False
    ended: bool = False

    def received(self, message: dict[str, Any]) -> None:
        assert not self.ended, f"a frame after the end: {message}"
        assert message["text"] == " " or self.begun, f"the first frame is not the init: {message}"
        assert not self.begun or not ONCE & message.keys(), f"settings belong to the first frame: {message}"
        self.begun = True
        self.ended = message["text"] == ""

    def sent(self, record: Sent) -> None:
        """What the service sends changes nothing in what may be written."""


def check_frames(records: Iterable[Record]) -> int:
    """Check the frames on all WebSockets of a record, and return the most contexts that were open on one of them."""
    sockets: dict[int, Contexts | OneUtterance] = {}
    for record in records:
        match record:
            case Requested() if record.path.endswith("/multi-stream-input"):
                sockets[record.connection] = Contexts(dialogue="dialogue" in record.path)
            case Requested() if record.path.endswith("/stream-input"):
                sockets[record.connection] = OneUtterance()
            case Received(frame="text") if record.connection in sockets:
                sockets[record.connection].received(record.message)
            case Injected() if isinstance(socket := sockets.get(record.connection), Contexts):
                socket.fault = record.fault.action
            case Sent() if record.connection in sockets:
                sockets[record.connection].sent(record)
            case _:
                pass
    return max((socket.most for socket in sockets.values() if isinstance(socket, Contexts)), default=0)
