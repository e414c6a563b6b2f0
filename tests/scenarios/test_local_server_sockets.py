"""The local server on a port, plain and over TLS: keep-alive, outages, faults, and what it leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest
import trio

from tests.helpers.plain import ENGLISH, KEY, RUSSIAN, VOICE, PlainHTTP, PlainSocket, kinds, tones
from tests.helpers.tls import certificates
from tts_trio.local_server import (
    Behavior,
    EspeakVoice,
    Fault,
    Requested,
    ToneVoice,
    open_local_server,
    read_tones,
)
from tts_trio.local_server.speech import Voice

SHORT = "Да."
QUICK = Behavior(model_latency=0.01, speed=200.0)


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_http_with_keep_alive(text: str) -> None:
    async with open_local_server(QUICK, voice=ToneVoice()) as server:
        async with httpx.AsyncClient(base_url=server.base_url, headers={"xi-api-key": KEY}) as client:
            for _ in range(2):
                answer = await client.post(
                    f"/v1/text-to-speech/{VOICE}/stream", params={"output_format": "pcm_16000"}, json={"text": text}
                )
                assert answer.status_code == 200
                assert read_tones(answer.content, "pcm_16000").strip() == text
    requests = [record for record in server.records if isinstance(record, Requested)]
    assert [(record.connection, record.body) for record in requests] == [(1, {"text": text})] * 2


async def test_a_websocket_over_tls() -> None:
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


async def test_a_port_that_is_taken() -> None:
    """The error is a bare OSError, as documented."""
    async with open_local_server(voice=ToneVoice()) as server:
        port = int(server.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with open_local_server(voice=ToneVoice(), port=port):
                pytest.fail("two servers on one port")


async def test_an_outage_and_its_end() -> None:
    async with open_local_server(QUICK, voice=ToneVoice()) as server:
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
        server.stop_accepting()
        server.resume()
        server.resume()
        new = PlainHTTP(await trio.open_tcp_stream("127.0.0.1", port))
        answer = await new.speak(ENGLISH)
        assert answer is not None
        assert answer.status == 200
        await old.stream.aclose()
        await new.stream.aclose()


@pytest.mark.parametrize("action", ["reset", "eof", "freeze", "delay"])
async def test_a_fault_of_tls(action: str) -> None:
    tls = certificates()
    behavior = Behavior(faults=(Fault(action, "tls", count=1),))
    async with open_local_server(behavior, voice=ToneVoice(), ssl_context=tls.server) as server:
        port = int(server.base_url.rpartition(":")[2])

        async def shake_hands() -> None:
            stream = trio.SSLStream(
                await trio.open_tcp_stream("127.0.0.1", port), tls.client, server_hostname="127.0.0.1"
            )
            try:
                await stream.do_handshake()
            finally:
                await trio.aclose_forcefully(stream)

        if action in {"freeze", "delay"}:
            with trio.move_on_after(0.2) as scope:
                await shake_hands()
            assert scope.cancelled_caught
        else:
            with pytest.raises(trio.BrokenResourceError):
                await shake_hands()
        await shake_hands()


async def test_resets_and_halves_on_a_real_socket() -> None:
    faults = (Fault("reset", "accept", count=1), Fault("cut", "audio", frame=1, count=1))
    async with open_local_server(Behavior(faults=faults), voice=ToneVoice()) as server:
        port = int(server.base_url.rpartition(":")[2])
        first = await trio.open_tcp_stream("127.0.0.1", port)
        with pytest.raises(trio.BrokenResourceError):
            await first.receive_some()
        await first.aclose()
        socket = PlainSocket(await trio.open_tcp_stream("127.0.0.1", port))
        path = f"/v1/text-to-speech/{VOICE}/stream-input?output_format=pcm_16000&model_id=eleven_flash_v2_5"
        await socket.upgrade(path, {"xi-api-key": KEY})
        await socket.say(ENGLISH)
        assert kinds(await socket.hear_all()) == ["audio", "reset"]
        await socket.stream.aclose()
        third = await trio.open_tcp_stream("127.0.0.1", port)
        reply = await PlainHTTP(third).speak(SHORT)
        assert reply is not None
        assert reply.complete
        await third.aclose()


def left_behind() -> tuple[int, int, int]:
    """Count tasks, threads and, where the system lists them, open files."""
    files = Path("/proc/self/fd")
    return (
        trio.lowlevel.current_statistics().tasks_living,
        threading.active_count(),
        len(list(files.iterdir())) if files.exists() else 0,
    )


@pytest.mark.parametrize("voice", [ToneVoice(), EspeakVoice()])
async def test_many_servers_leave_nothing(voice: Voice, exhaustive: bool) -> None:
    """Each of them goes in the middle of an utterance; the first one starts trio's worker threads, which it keeps."""
    before = left_behind()
    for number in range(101 if exhaustive else 31):
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
