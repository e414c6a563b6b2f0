"""The server as a thing: in memory, on sockets, on TLS; what it leaves behind."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import httpx
import pytest
import trio

from tests.helpers.tls import certificates
from tests.unit.local_server.plain import ENGLISH, KEY, RUSSIAN, VOICE, PlainHTTP, PlainSocket, kinds, tones, town
from tts_trio.local_server import (
    Accepted,
    Behavior,
    Ended,
    EspeakVoice,
    LocalServer,
    MemoryStream,
    Received,
    Requested,
    Sent,
    ToneVoice,
    open_local_server,
    read_tones,
)
from tts_trio.local_server.voices import Voice


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_websocket_in_memory(text: str, autojump_clock: trio.testing.MockClock) -> None:
    async with town() as here:
        socket = await here.socket()
        await socket.say(text)
        heard = await socket.hear_all()
    assert kinds(heard)[-3:] == ["final", "close 1000", "eof"]
    assert tones(heard).strip() == text


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_http_over_a_real_socket_with_keep_alive(text: str) -> None:
    async with open_local_server(voice=ToneVoice()) as server:
        async with httpx.AsyncClient(base_url=server.base_url, headers={"xi-api-key": KEY}) as client:
            for _ in range(2):
                answer = await client.post(
                    f"/v1/text-to-speech/{VOICE}/stream", params={"output_format": "pcm_16000"}, json={"text": text}
                )
                assert answer.status_code == 200
                assert read_tones(answer.content, "pcm_16000").strip() == text
    requests = [record for record in server.records if isinstance(record, Requested)]
    assert [(record.connection, record.body) for record in requests] == [(1, {"text": text})] * 2


async def test_tls() -> None:
    tls = certificates()
    async with open_local_server(voice=ToneVoice(), ssl_context=tls.server) as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        port = int(server.base_url.rpartition(":")[2])
        async with trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", port), tls.client, server_hostname="127.0.0.1"
        ) as stream:
            socket = PlainSocket(stream)
            path = f"/v1/text-to-speech/{VOICE}/stream-input?output_format=pcm_16000&model_id=eleven_flash_v2_5"
            await socket.upgrade(path, {"xi-api-key": KEY})
            await socket.say(ENGLISH)
            heard = [await socket.hear()]
            while heard[-1].kind != "final":
                heard.append(await socket.hear())
    assert tones(heard).strip() == ENGLISH


async def test_an_outage_and_its_end_on_a_port() -> None:
    async with open_local_server(voice=ToneVoice()) as server:
        port = int(server.base_url.rpartition(":")[2])
        old = PlainHTTP(await trio.open_tcp_stream("127.0.0.1", port))
        server.stop_accepting()
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", port)
        answer = await old.speak(ENGLISH)
        assert answer is not None
        assert answer.status == 200, "connections live on"
        server.drop_connections()
        assert await old.stream.receive_some() == b""
        server.resume()
        new = PlainHTTP(await trio.open_tcp_stream("127.0.0.1", port))
        answer = await new.speak(ENGLISH)
        assert answer is not None
        assert answer.status == 200
        await old.stream.aclose()
        await new.stream.aclose()


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


def left_behind() -> tuple[int, int, int]:
    """Count tasks, threads and, where the system lists them, open files."""
    files = Path("/proc/self/fd")
    return (
        trio.lowlevel.current_statistics().tasks_living,
        threading.active_count(),
        len(list(files.iterdir())) if files.exists() else 0,
    )


@pytest.mark.parametrize("voice", [ToneVoice(), EspeakVoice()])
async def test_a_hundred_servers_leave_nothing(voice: Voice) -> None:
    """Each of them goes in the middle of an utterance; the first one starts trio's worker threads, which it keeps."""
    before = left_behind()
    for number in range(101):
        if number == 1:
            before = left_behind()
        async with open_local_server(Behavior(model_latency=9), voice=voice) as server:
            port = int(server.base_url.rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                socket = PlainSocket(stream)
                await socket.upgrade(f"/v1/text-to-speech/{VOICE}/stream-input", {"xi-api-key": KEY})
                await socket.send({"text": f"Hello {number % 7}", "flush": True})
                if number % 10 == 0:
                    await trio.sleep(0.02)
    assert left_behind() == before


def socket_message(text: str) -> object:
    import wsproto.events

    return wsproto.events.TextMessage(text)


class Knife(trio.abc.Instrument):
    """Cancel a scope before a step of any of the tasks."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._steps_left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps_left -= 1
        if self._steps_left == 0:
            self._scope.cancel()


@pytest.mark.parametrize("route", ["websocket", "", "/stream", "/stream/with-timestamps"])
async def test_cancelled_at_any_moment(route: str, autojump_clock: trio.testing.MockClock) -> None:
    """Cut the whole scene before each step of its tasks: no error, task, open stream or taken slot is left."""
    for step in itertools.count(1):
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
        if stream is not None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")
            assert [type(record) for record in server.records if isinstance(record, Accepted | Ended)] == [
                Accepted,
                Ended,
            ]
        assert server._service.account.generating(trio.current_time()) == 0
        if not scope.cancelled_caught:
            break
    assert step > 20
