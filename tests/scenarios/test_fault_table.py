"""Every fault that the local server can make, what comes of it, and by when: the table of `tests/README.md`.

Each row is a promise and is kept twice: where the fault strikes once, and where it strikes each time. Times are virtual
seconds from the beginning of the reply, with a text that takes 0.6 s to generate and a configuration by default.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import pytest
import trio
import trio.testing

from tests.helpers import RUSSIAN, Service, heard, make_config, memory_service, posts, websocket_path, whole_words
from tests.helpers.pages import PAGES
from tts_trio import TTSConfig, TTSError, TTSManager, WebSocketConnectionManager
from tts_trio.local_server import ACTIONS, Behavior, Fault

MARKER = "<!-- fault table -->"
HEARD = "heard whole"

Promise: TypeAlias = tuple[str, float]
"""What comes of it (`HEARD`, or the name of the error), and within how many seconds."""


@attrs.frozen
class Row:
    """One fault."""

    what: str
    action: str
    at: Any
    once: Promise
    always: Promise
    frame: int | None = 0
    value: float | str | None = None

    def fault(self, path: str, *, always: bool) -> Fault:
        path = "" if self.at == "accept" else path
        return Fault(self.action, self.at, self.value, self.frame, path=path, count=None if always else 1)


REPLIES = (
    Row("dial: accepted, then nothing", "freeze", "accept", ("TTSConnectionError", 5), ("TTSConnectionError", 5)),
    Row("dial: slower than its deadline", "delay", "accept", ("TTSConnectionError", 5), ("TTSConnectionError", 5)),
    Row("dial: reset", "reset", "accept", (HEARD, 1), ("TTSConnectionError", 5)),
    Row("dial: closed", "eof", "accept", (HEARD, 1), ("TTSConnectionError", 5)),
    Row("handshake: no answer", "freeze", "answer", ("TTSConnectionError", 5), ("TTSConnectionError", 5)),
    Row("handshake: too late", "delay", "answer", ("TTSConnectionError", 5), ("TTSConnectionError", 5)),
    Row("handshake: it reads no more", "deafen", "answer", ("TTSConnectionError", 5), ("TTSConnectionError", 5)),
    Row("handshake: reset", "reset", "answer", (HEARD, 1), ("TTSConnectionError", 5)),
    Row("handshake: closed", "eof", "answer", (HEARD, 1), ("TTSConnectionError", 5)),
    Row("handshake: a byte now and then", "trickle", "answer", (HEARD, 1), (HEARD, 1)),
    Row("handshake: HTTP 500", "status", "answer", (HEARD, 1), ("TTSConnectionError", 5), value=500),
    Row("handshake: HTTP 429", "status", "answer", (HEARD, 1), ("TTSConnectionError", 5), value=429),
    Row("handshake: HTTP 401", "status", "answer", ("AuthenticationError", 1), ("AuthenticationError", 1), value=401),
    Row("handshake: 401 without an end", "until_eof", "answer", ("AuthenticationError", 2), ("AuthenticationError", 2)),
    Row("handshake: no HTTP", "garbage", "answer", ("ProtocolError", 1), ("ProtocolError", 1)),
    Row("before any audio: silence", "freeze", "audio", (HEARD, 3), ("ServiceTimeoutError", 7)),
    Row("before any audio: too late", "delay", "audio", (HEARD, 3), ("ServiceTimeoutError", 7)),
    Row("before any audio: reset", "reset", "audio", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("before any audio: closed", "eof", "audio", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("before any audio: Close 1011", "close", "audio", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("before any audio: half a frame, reset", "cut", "audio", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("before any audio: it reads no more", "deafen", "audio", (HEARD, 4), (HEARD, 10)),
    Row("before any audio: a byte now and then", "trickle", "audio", (HEARD, 3), ("ServiceTimeoutError", 7)),
    Row("no audio at all", "skip", "audio", (HEARD, 3), ("ServiceTimeoutError", 7), frame=None),
    Row("the final before any audio", "early_final", "audio", (HEARD, 1), ("EmptyAudioError", 1)),
    Row("error frame: server fault", "error_frame", "audio", (HEARD, 1), ("ServiceUnavailableError", 1)),
    Row("error frame: busy", "error_frame", "audio", (HEARD, 1), ("ServiceUnavailableError", 1), value="system_busy"),
    Row("error frame: quota", "error_frame", "audio", ("QuotaError", 1), ("QuotaError", 1), value="quota_exceeded"),
    Row("mid speech: silence", "freeze", "audio", (HEARD, 4), ("ServiceTimeoutError", 10), frame=2),
    Row("mid speech: too late", "delay", "audio", (HEARD, 4), ("ServiceTimeoutError", 10), frame=2),
    Row("mid speech: reset", "reset", "audio", (HEARD, 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: closed", "eof", "audio", (HEARD, 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: Close 1011", "close", "audio", (HEARD, 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: half a frame, reset", "cut", "audio", (HEARD, 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: it reads no more", "deafen", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("mid speech: a byte now and then", "trickle", "audio", (HEARD, 4), ("ServiceTimeoutError", 10), frame=2),
    Row("mid speech: the final too early", "early_final", "audio", (HEARD, 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: bytes of no WebSocket", "garbage", "audio", ("ProtocolError", 1), ("ProtocolError", 1), frame=2),
    Row("mid speech: error frame", "error_frame", "audio", (HEARD, 1), ("ServiceUnavailableError", 1), frame=2),
    Row("error frame: of one context", "context_error", "audio", (HEARD, 1), ("ServiceUnavailableError", 1)),
    Row("a frame of invalid JSON", "invalid_json", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("a frame of bad base64", "bad_base64", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("a frame of an unknown type", "unknown_frame", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("a binary frame", "binary_frame", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("a frame of 9 MiB", "huge_frame", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("messages in small fragments", "split", "audio", (HEARD, 1), (HEARD, 1), frame=2),
    Row("the final: never, and silence", "freeze", "final", (HEARD, 4), (HEARD, 4)),
    Row("the final: too late", "delay", "final", (HEARD, 4), (HEARD, 4)),
    Row("the final: missing", "skip", "final", (HEARD, 4), (HEARD, 4)),
    Row("the final: reset instead", "reset", "final", (HEARD, 1), (HEARD, 1)),
    Row("the closing handshake: silence", "freeze", "close", (HEARD, 1), (HEARD, 1)),
)

PHRASES = (
    Row("request: no answer", "freeze", "answer", (HEARD, 3), ("ServiceTimeoutError", 7)),
    Row("request: reset", "reset", "answer", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("request: closed", "eof", "answer", (HEARD, 1), ("TTSConnectionError", 1)),
    Row("request: HTTP 500", "status", "answer", (HEARD, 1), ("ServiceUnavailableError", 1), value=500),
    Row("request: HTTP 429, busy", "status", "answer", (HEARD, 1), ("ServiceUnavailableError", 1), value=429),
    Row("request: HTTP 401", "status", "answer", ("AuthenticationError", 1), ("AuthenticationError", 1), value=401),
    Row("request: a wrong content type", "content_type", "answer", ("ProtocolError", 1), ("ProtocolError", 1)),
    Row("request: an error with status 200", "error_200", "answer", (HEARD, 1), ("ServiceUnavailableError", 1)),
    Row("before any audio: silence", "freeze", "audio", (HEARD, 3), ("ServiceTimeoutError", 7)),
    Row("before any audio: reset", "reset", "audio", (HEARD, 1), ("TTSConnectionError", 2)),
    Row("an answer without audio", "skip", "audio", (HEARD, 2), ("EmptyAudioError", 3), frame=None),
    Row("mid speech: silence", "freeze", "audio", ("ServiceTimeoutError", 4), ("ServiceTimeoutError", 4), frame=2),
    Row("mid speech: reset", "reset", "audio", ("TTSConnectionError", 1), ("TTSConnectionError", 1), frame=2),
    Row("mid speech: closed", "eof", "audio", ("TTSConnectionError", 1), ("TTSConnectionError", 1), frame=2),
)

ONE_ATTEMPT = {"AuthenticationError", "QuotaError"}

# What strikes at HTTP only; what needs TLS (`unit/transport/test_dials.py`); and a message that the service leaves out
# in the middle of its speech, which TCP does not lose and nobody could notice.
NOT_IN_A_REPLY = {"content_type", "error_200"}


async def say_reply(tts: TTSManager, sound: list[bytes]) -> None:
    async with tts.start_llm_stream() as (text, audio):
        await text.send(RUSSIAN)
        text.close()
        sound.extend([chunk async for chunk in audio])


async def say_phrase(tts: TTSManager, sound: list[bytes]) -> None:
    async with tts.stream_static_text(RUSSIAN) as audio:
        sound.extend([chunk async for chunk in audio])


async def keep(
    promise: Promise,
    say: Callable[[TTSManager, list[bytes]], Awaitable[None]],
    fault: Fault,
    config: TTSConfig,
) -> Service:
    outcome, seconds = promise
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await trio.testing.wait_all_tasks_blocked()  # so that the first connection is the WebSocket, and not HTTP
            async with TTSManager(config, connections) as tts:
                began = trio.current_time()
                sound: list[bytes] = []
                came = HEARD
                try:
                    await say(tts, sound)
                except TTSError as error:
                    came = type(error).__name__
                assert came == outcome
                assert trio.current_time() - began <= seconds
                if outcome == HEARD:
                    assert whole_words(heard(b"".join(sound), config), RUSSIAN) == RUSSIAN.split()
        return service


@pytest.mark.parametrize("always", [False, True], ids=["once", "each time"])
@pytest.mark.parametrize("row", REPLIES, ids=lambda row: row.what)
async def test_a_reply(autojump_clock: trio.testing.MockClock, endpoint: str, row: Row, always: bool) -> None:
    """P1, P2, P3, P13, P26: every fault comes to its promised end in time."""
    promise = row.always if always else row.once
    service = await keep(promise, say_reply, row.fault(websocket_path(endpoint), always=always), make_config(endpoint))
    if promise[0] in ONE_ATTEMPT and row.at == "answer":
        assert len(service.sockets()) == 1


@pytest.mark.parametrize("always", [False, True], ids=["once", "each time"])
@pytest.mark.parametrize("row", PHRASES, ids=lambda row: row.what)
async def test_a_static_text(autojump_clock: trio.testing.MockClock, row: Row, always: bool) -> None:
    """P1, P3, P26, P31: every fault comes to its promised end in time."""
    promise = row.always if always else row.once
    service = await keep(promise, say_phrase, row.fault("/stream", always=always), make_config())
    if promise[0] in ONE_ATTEMPT:
        assert len(posts(service.server)) == 1


def test_no_action_is_left_out() -> None:
    assert {row.action for row in REPLIES} == set(ACTIONS) - NOT_IN_A_REPLY
    assert {row.at for row in REPLIES} == {"accept", "answer", "audio", "final", "close"}


def fault_table() -> str:
    """The table as Markdown."""
    lines: list[str] = []
    for title, rows in (("A reply, over the WebSocket", REPLIES), ("A static text, over HTTP", PHRASES)):
        lines += [f"| {title} | once | within | each time | within |", "|---|---|---|---|---|"]
        for row in rows:
            cells = [row.what]
            for outcome, seconds in (row.once, row.always):
                cells += [outcome if outcome == HEARD else f"`{outcome}`", f"{seconds:g} s"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def test_the_page_has_this_table() -> None:
    following = PAGES["tests/README.md"].partition(MARKER)[2].strip()
    assert following.startswith(fault_table().strip())


if __name__ == "__main__":
    print(fault_table())
