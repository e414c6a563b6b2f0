"""The server as a thing: in memory, on sockets, on TLS; what it leaves behind."""

from __future__ import annotations

import ssl

import httpx
import pytest
import trio
import trustme

from tests.local_server.plain import ENGLISH, KEY, RUSSIAN, VOICE, PlainHTTP, PlainSocket, kinds, tones, town
from tts_trio.local_server import (
    Behaviour,
    Ended,
    LocalServer,
    Received,
    Requested,
    Sent,
    ToneVoice,
    open_local_server,
    read_tones,
)


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
                assert read_tones(answer.content, 16000).strip() == text
    requests = [record for record in server.records if isinstance(record, Requested)]
    assert [(record.connection, record.body) for record in requests] == [(1, {"text": text})] * 2


async def test_tls() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    async with open_local_server(voice=ToneVoice(), ssl_context=server_side) as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        port = int(server.base_url.rpartition(":")[2])
        async with trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", port), client_side, server_hostname="127.0.0.1"
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


async def test_a_hundred_servers_leave_nothing() -> None:
    """Unclosed sockets are a ResourceWarning, and those are errors; threads and tasks are counted here."""
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(100):
        async with open_local_server(Behaviour(model_latency=9), voice=ToneVoice()) as server:
            port = int(server.base_url.rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await PlainSocket(stream).upgrade(f"/v1/text-to-speech/{VOICE}/stream-input", {"xi-api-key": KEY})
    assert trio.lowlevel.current_statistics().tasks_living == before


def socket_message(text: str) -> object:
    import wsproto.events

    return wsproto.events.TextMessage(text)


async def test_cancelled_at_any_moment(autojump_clock: trio.testing.MockClock) -> None:
    """Cut the whole scene at each of its moments: neither an error nor a task is left."""
    for moment in [0.0, 0.01, 0.075, 0.1, 0.126, 0.2, 0.5, 0.9, 1.0]:
        server = LocalServer(Behaviour(), voice=ToneVoice())
        with trio.move_on_after(moment):
            async with trio.open_nursery() as nursery:
                socket = PlainSocket(server.connect(nursery))
                await socket.upgrade(f"/v1/text-to-speech/{VOICE}/stream-input", {"xi-api-key": KEY})
                await socket.say(ENGLISH, ENGLISH)
                await socket.hear_all()
                await trio.sleep_forever()
        assert isinstance(server.records[-1], Ended) or not server.records
