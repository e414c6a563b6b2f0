"""The server as a thing: in memory, on sockets, on TLS; what it leaves behind."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio

from tests.helpers import Sample
from tests.helpers.plain import ENGLISH, KEY, RUSSIAN, VOICE, PlainHTTP, PlainSocket, kinds, tones, town
from tts_trio.local_server import (
    Accepted,
    Behavior,
    Ended,
    LocalServer,
    MemoryStream,
    Received,
    Sent,
    ToneVoice,
    open_local_server,
    serve_local_server,
)


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_websocket_in_memory(text: str, autojump_clock: trio.testing.MockClock) -> None:
    async with town() as here:
        socket = await here.socket()
        await socket.say(text)
        heard = await socket.hear_all()
    assert kinds(heard)[-3:] == ["final", "close 1000", "eof"]
    assert tones(heard).strip() == text


async def test_an_outage_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as here:
        here.server.stop_accepting()
        with pytest.raises(OSError):
            here.http()
        here.server.resume()
        answer = await here.http().speak(ENGLISH)
        assert answer is not None
        assert answer.status == 200


async def test_on_a_clock_that_jumps_a_voice_in_a_thread_is_refused_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It would end in a timeout somewhere else."""
    words = r"^voice: EspeakVoice speaks in a thread, for which trio's MockClock .*; give .* voice=ToneVoice\(\)$"
    async with trio.open_nursery() as nursery:
        with pytest.raises(RuntimeError, match=words):
            LocalServer().connect(nursery)
        with pytest.raises(RuntimeError, match=words):
            LocalServer().listen(nursery)
    with pytest.raises(RuntimeError, match=words):
        async with open_local_server():
            pass
    async with trio.open_nursery() as nursery:
        LocalServer(voice=ToneVoice()).connect(nursery)
        nursery.cancel_scope.cancel()


async def test_on_a_clock_that_stands_still_any_voice_speaks(mock_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        LocalServer().connect(nursery)
        nursery.cancel_scope.cancel()


async def test_the_record_has_frames_times_and_torn_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as here:
        socket = await here.socket()
        await socket.send({"text": " "})
        await trio.sleep(3)
        await socket.send({"text": "Привет "})
        frame = socket.protocol.send(socket_message('{"text": "cut"}'))
        await socket.stream.send_all(frame[: len(frame) // 2])
        await socket.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        records = here.server.records
    received = [(record.time, record.message) for record in records if isinstance(record, Received)]
    assert received == [(0.0, {"text": " "}), (3.0, {"text": "Привет "})]
    assert isinstance(records[-1], Ended)
    assert records[-1].torn
    assert records[-1].by == "client"


async def test_the_record_of_what_was_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with town() as here:
        socket = await here.socket()
        await socket.say("Раз, два. ")
        heard = await socket.hear_all()
        sent = [record for record in here.server.records if isinstance(record, Sent)]
    assert [record.kind for record in sent] == ["audio", "audio", "final"]
    assert sent[0].text == "Раз, два. "
    assert sent[0].size == len(heard[0].audio)
    assert isinstance(here.server.records[-1], Ended)
    assert not here.server.records[-1].torn


async def test_an_error_of_the_body_leaves_bare() -> None:
    with pytest.raises(LookupError):
        async with open_local_server(voice=ToneVoice()):
            raise LookupError


async def test_a_nursery_starts_it() -> None:
    """`nursery.start` returns the server when it listens, and raises bare what kept it from that."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            behavior = Behavior(api_keys=("key",))
            server = await nursery.start(partial(serve_local_server, behavior, voice=ToneVoice()))
            assert server.behavior is behavior
            port = int(server.base_url.rpartition(":")[2])
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            with pytest.raises(OSError, match="in use"):
                await nursery.start(partial(serve_local_server, voice=ToneVoice(), port=port))
            nursery.cancel_scope.cancel()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", port)


def socket_message(text: str) -> object:
    import wsproto.events

    return wsproto.events.TextMessage(text)


class Knife(trio.abc.Instrument):
    """Cancel a scope before a step of any of the tasks."""

    def __init__(self, scope: trio.CancelScope, step: float) -> None:
        self.steps = 0
        self._scope = scope
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self._step:
            self._scope.cancel()


@pytest.mark.parametrize("route", ["websocket", "", "/stream", "/stream/with-timestamps"])
async def test_cancelled_at_any_moment(route: str, autojump_clock: trio.testing.MockClock, sample: Sample) -> None:
    """Cut the whole scene before each step of its tasks: no error, task, open stream or taken slot is left."""

    async def cut_before(step: float) -> int:
        """Cut before this step, and tell how many there were."""
        server = LocalServer(Behavior(), voice=ToneVoice())
        stream: MemoryStream | None = None
        with trio.CancelScope() as scope:
            knife = Knife(scope, step)
            trio.lowlevel.add_instrument(knife)
            try:
                async with trio.open_nursery() as nursery:
                    stream = server.connect(nursery)
                    if route == "websocket":
                        socket = PlainSocket(stream)
                        await socket.upgrade(f"/v1/text-to-speech/{VOICE}/stream-input", {"xi-api-key": KEY})
                        await socket.say(RUSSIAN)
                        await socket.hear_all()
                    else:
                        await PlainHTTP(stream).speak(ENGLISH, route)
                    nursery.cancel_scope.cancel()
            finally:
                trio.lowlevel.remove_instrument(knife)
        assert scope.cancelled_caught == (knife.steps >= step)
        if stream is not None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")
            assert [type(record) for record in server.records if isinstance(record, Accepted | Ended)] == [
                Accepted,
                Ended,
            ]
        assert server._service.account.generating(trio.current_time()) == 0
        return knife.steps

    steps = await cut_before(math.inf)
    assert steps > 20
    for step in sample(range(1, steps + 1), 16):
        await cut_before(step)
