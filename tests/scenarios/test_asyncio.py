"""The two doors for asyncio, as their page has them: a WebSocket endpoint in threads, and one in guest mode."""

from __future__ import annotations

import time
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any

import attrs
import pytest
from starlette.testclient import TestClient, WebSocketTestSession

from tests.helpers import API_KEY, VOICE_ID
from tests.helpers.pages import run_example
from tts_trio import ConfigurationError
from tts_trio.local_server import Accepted, Behavior, Ended, Fault, LocalServer, Record
from tts_trio.testing import heard, server_in_a_thread

LONG = "Ваш заказ номер 4217 сегодня утром уехал со склада, и вы получите его не позже пятницы."
SHORT = "By noon."
doors = pytest.mark.parametrize("door", ["threaded_app", "guest_app"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[LocalServer]:
    with server_in_a_thread(Behavior(speed=200)) as server:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        yield server


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def count(server: LocalServer, kind: type[Record]) -> int:
    return sum(isinstance(record, kind) for record in server.records)


@attrs.define
class Caller:
    """The far end of a call."""

    session: WebSocketTestSession
    sound: bytes = b""

    def listen(self, until: Callable[[], bool]) -> None:
        while not until():
            message = self.session.receive()
            assert message["type"] == "websocket.send", message
            self.sound = b"" if message.get("text") == "clear" else self.sound + message["bytes"]

    @property
    def heard(self) -> str:
        return heard(self.sound, "ulaw_8000")


def app(door: str, replies: Sequence[str], histories: list[list[tuple[str, str]]]) -> Any:
    """The endpoint of the page, with an LLM that keeps what it was told."""

    async def llm(history: list[tuple[str, str]]) -> AsyncIterator[str]:
        histories.append(list(history))
        text = replies[len(histories) - 1]
        for start in range(0, len(text), 4):
            yield text[start : start + 4]

    return run_example(door)(llm)


@doors
def test_a_call_with_a_barge_in(server: LocalServer, door: str) -> None:
    """After "clear" no frame of the old reply comes, and the LLM is told what was heard of it, in whole words."""
    histories: list[list[tuple[str, str]]] = []
    with TestClient(app(door, [LONG, SHORT], histories)) as client, client.websocket_connect("/call") as session:
        caller = Caller(session)
        session.send_text("Где мой заказ?")
        caller.listen(lambda: len(caller.heard.split()) >= 2)
        session.send_text("When?")
        caller.listen(lambda: caller.sound == b"")
        caller.listen(lambda: caller.heard == SHORT)
    told, (asked, answered, again) = histories
    assert told == [("caller", "Где мой заказ?")]
    assert (asked, again) == (told[0], ("caller", "When?"))
    assert answered[0] == "agent"
    assert LONG.split()[: len(answered[1].split())] == answered[1].split()
    assert len(answered[1]) < 40  # 2.4 s of its sound


@doors
def test_a_caller_who_hangs_up_leaves_nothing_behind(server: LocalServer, door: str) -> None:
    """All connections to the service end, while the application goes on."""
    with TestClient(app(door, [LONG], [])) as client:
        with client.websocket_connect("/call") as session:
            session.send_text("Где мой заказ?")
            session.receive()
        eventually(lambda: count(server, Accepted) == count(server, Ended) > 0)


@doors
def test_a_reply_that_fails_is_not_the_end_of_the_call(
    server: LocalServer, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.behavior = Behavior(speed=200, faults=(Fault("error_frame", "audio", "quota_exceeded", count=1),))
    with TestClient(app(door, [LONG, SHORT], [])) as client, client.websocket_connect("/call") as session:
        caller = Caller(session)
        session.send_text("Где мой заказ?")
        eventually(lambda: "the reply failed" in caplog.text)
        session.send_text("When?")
        caller.listen(lambda: caller.heard == SHORT)


@doors
def test_a_call_that_cannot_begin_ends(server: LocalServer, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller does not wait on a line on which nobody will speak."""
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", "no voice")
    with TestClient(app(door, [LONG], [])) as client:
        with pytest.raises((ConfigurationError, ExceptionGroup)) as caught:
            with client.websocket_connect("/call") as session:
                session.receive()
                pytest.fail("the line is open")
    assert "voice_id: 'no voice' is not allowed" in "".join(traceback.format_exception(caught.value))
