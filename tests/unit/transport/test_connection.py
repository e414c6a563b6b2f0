"""A connection over a socket that only takes notes: what it writes, what it reports, and that it ends once."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.helpers import TEXTS, make_config
from tts_trio import TTSConnectionError, TTSError
from tts_trio.transport.connection import Connection
from tts_trio.wire import endpoint_for
from tts_trio.wire.context import Context
from tts_trio.wire.events import Alignment, AudioReceived, Final

SOUND = AudioReceived(b"\1\2" * 160)
UNTIMED_BLANK = AudioReceived(b"\0\0" * 160)
BLANK = AudioReceived(b"\0\0" * 160, Alignment((" ",), (0,), (10,)))
LOST = TTSConnectionError("the connection was lost")


@attrs.define
class NotingSocket:
    """What a connection needs of a socket, and nothing else."""

    usable: bool = True
    error: TTSError | None = None
    trace_id: str | None = "trace"
    hot_since: float = 0.0
    frames: list[str] = attrs.field(factory=list)
    calls: list[str] = attrs.field(factory=list)
    kept_for_more: list[str] = attrs.field(factory=list)
    writes: int = 0

    def write(self, frames: list[str], *, more: bool = False) -> int:
        self.frames += frames
        self.writes += 1
        if more:
            self.kept_for_more += frames
        return len(self.frames)

    def probe(self) -> None:
        self.calls.append("probe")

    def release(self, connection: Connection) -> None:
        assert connection.state == "ended"
        self.calls.append("release")

    def retire(self, error: TTSError) -> None:
        self.calls.append(f"retire: {error}")


@attrs.define
class Utterance:
    events: list[AudioReceived | Final] = attrs.field(factory=list)
    losses: list[TTSError] = attrs.field(factory=list)


@pytest.fixture
def socket() -> NotingSocket:
    return NotingSocket()


@pytest.fixture
def utterance() -> Utterance:
    return Utterance()


def in_use(socket: NotingSocket, utterance: Utterance, over: str = "stream-input") -> Connection:
    context = Context.of(endpoint_for(make_config(endpoint=over)), 0)
    assert context is not None
    connection = Connection(socket, context)
    connection.acquire()
    connection.take(utterance.events.append, utterance.losses.append)
    return connection


async def test_the_first_text_probes_the_socket(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    """P12: something depends on it from now on."""
    connection = in_use(socket, utterance)
    for text in (*TEXTS.values(), "Да. "):
        connection.send_text(text)
    assert socket.calls == ["probe"]
    assert len(socket.frames) == 1 + len(TEXTS) + 1
    assert socket.kept_for_more == socket.frames[:2]  # the beginning and the first text, for the probe


@pytest.mark.parametrize("over", ["stream-input", "multi-stream-input", "text-to-dialogue"])
async def test_phrases_and_the_end_of_the_text_are_one_write(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance, over: str
) -> None:
    """Each write is a record, a system call, and a packet. What comes before the first text was written is unasked."""
    connection = in_use(socket, utterance, over)
    writes = socket.writes
    connection.send_text("Да. ", "Yes. ", ends=True)
    connection.send_text(ends=True)
    connection.send_text("Ещё. ", ends=True)
    assert socket.writes == writes + 1
    said = [frame.partition('"text":')[2].partition('"')[2].partition('"')[0] for frame in socket.frames]
    assert [each for each in said if each.strip()] == ["Да. ", "Yes. "]
    assert connection.first_text == said.index("Да. ") + 1
    end = {"stream-input": ['{"text":""}'], "multi-stream-input": ['{"context_id":"1","flush":true}']}.get(over, [])
    assert socket.frames[said.index("Yes. ") + 1 :] == end
    assert socket.calls == ["probe"]


@pytest.mark.parametrize("over", ["stream-input", "multi-stream-input", "text-to-dialogue"])
async def test_the_end_of_no_text_is_not_sent(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance, over: str
) -> None:
    connection = in_use(socket, utterance, over)
    frames = [*socket.frames]
    connection.send_text(ends=True)
    assert (socket.frames, socket.calls) == (frames, [])


async def test_no_silence_of_a_blank_is_reported_before_the_first_sound(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    """P11: neither what comes before the text, nor what comes behind it and was owed for a blank."""
    connection = in_use(socket, utterance)
    connection.received(UNTIMED_BLANK)
    connection.send_text(TEXTS["ru"])
    connection.received(BLANK)
    assert utterance.events == []
    connection.received(SOUND)
    connection.received(BLANK)
    assert utterance.events == [SOUND, BLANK]


async def test_what_was_closed_is_reported_no_more(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    """P4: the rest of what was interrupted is heard by nobody; it only shows that the slot is not lost."""
    connection = in_use(socket, utterance, "multi-stream-input")
    connection.send_text(TEXTS["en"])
    await trio.sleep(3)
    for _ in range(2):
        connection.close()
    assert socket.calls == ["probe", "release"]
    assert "close_context" in socket.frames[-1]
    assert connection.silent_since == trio.current_time()
    await trio.sleep(2)
    connection.received(SOUND)
    assert connection.silent_since == trio.current_time()
    await trio.sleep(200)
    connection.received(SOUND)
    assert connection.silent_since == trio.current_time() - 142  # no speech goes on for more than a minute
    connection.on_lost(LOST)
    assert (utterance.events, utterance.losses) == ([], [])


async def test_what_was_abandoned_retires_its_socket(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    connection = in_use(socket, utterance)
    connection.abandon(LOST)
    connection.abandon(LOST)
    assert socket.calls == [f"retire: {LOST}", "release"]
    assert utterance.losses == []


async def test_a_loss_is_reported_once(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    connection = in_use(socket, utterance)
    for _ in range(2):
        connection.on_lost(LOST)
    assert utterance.losses == [LOST]
    connection.send_text(TEXTS["en"])
    connection.close()
    assert (socket.calls, len(socket.frames)) == ([], 0)


async def test_who_takes_what_has_ended_is_told_at_once(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    connection = in_use(socket, Utterance())
    connection.on_lost(LOST)
    connection.take(utterance.events.append, utterance.losses.append)
    assert [str(error) for error in utterance.losses] == ["the connection was closed"]


async def test_one_connection_serves_one_utterance(
    autojump_clock: trio.testing.MockClock, socket: NotingSocket, utterance: Utterance
) -> None:
    connection = in_use(socket, utterance)
    with pytest.raises(AssertionError, match="in use -> in use"):
        connection.acquire()
    connection.close()
    with pytest.raises(AssertionError, match="ended -> in use"):
        connection.acquire()
