"""Dials that fail: a certificate that is not good, a port that is refused; and the error that is printed then."""

from __future__ import annotations

import functools
import socket
import ssl
import traceback
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.helpers import API_KEY, RUSSIAN, heard, listen, make_config, memory_service
from tts_trio import (
    ConfigurationError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault, ToneVoice, open_local_server
from tts_trio.transport import streams
from tts_trio.transport.http import HttpConnections
from tts_trio.transport.streams import default_ssl_context
from tts_trio.wire.http import stream_request


async def fail_to_speak(tts: TTSManager, face: str) -> TTSError:
    with pytest.raises(TTSError) as caught:
        if face == "static text":
            async with tts.stream_static_text(RUSSIAN) as audio:
                await listen(audio)
        else:
            async with tts.speak([RUSSIAN]) as audio:
                await listen(audio)
    return caught.value


# Certificates.


@pytest.fixture(scope="module")
def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("face", ["static text", "reply"])
@pytest.mark.parametrize("trusted", ["the system's certificates", "the ssl_context that was given", "SSL_CERT_FILE"])
async def test_a_certificate_that_is_refused_is_no_reason_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: trio.testing.MockClock,
    tmp_path: Path,
    server_context: ssl.SSLContext,
    face: str,
    trusted: str,
) -> None:
    """P26: it is raised at once, after one dial, and says what to give."""
    mock_clock.rate = 1.0
    given = None
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    if trusted == "SSL_CERT_FILE":
        trustme.CA().cert_pem.write_to_path(tmp_path / "roots.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        trusted = f"SSL_CERT_FILE ({tmp_path / 'roots.pem'})"
    elif trusted != "the system's certificates":
        given = ssl.create_default_context()
    async with open_local_server(voice=ToneVoice(), ssl_context=server_context) as server:
        config = TTSConfig(api_key=API_KEY, voice_id="abc", base_url=server.base_url, ssl_context=given)
        async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
            began = trio.current_time()
            error = await fail_to_speak(tts, face)
            assert trio.current_time() - began < 2
            assert isinstance(error, ConfigurationError)
            assert error.field == "ssl_context"
            assert str(error).startswith("ssl_context: the certificate of 127.0.0.1:")
            assert f" is not trusted by {trusted}: " in str(error)
            assert "set SSL_CERT_FILE to the certificate of its authority" in str(error)
            mock_clock.jump(0.6)  # longer than the first backoff
            await trio.sleep(0.05)
            assert connections.statistics().dials == 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_variable_that_names_no_certificates_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server_context: ssl.SSLContext, variable: str
) -> None:
    """P37: OpenSSL passes over it, and no certificate in the world is good then."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    async with open_local_server(voice=ToneVoice(), ssl_context=server_context) as server:
        config = TTSConfig(api_key=API_KEY, voice_id="abc", base_url=server.base_url)
        async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
            for face in ("static text", "reply"):
                error = await fail_to_speak(tts, face)
                assert isinstance(error, ConfigurationError)
                assert error.field == variable
                assert str(tmp_path / "nowhere") in str(error)
    (tmp_path / "nowhere").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=f"^{variable}: certificates cannot be read from"):
        default_ssl_context()


def test_where_the_system_has_no_certificates_those_of_certifi_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A slim container has the folder, and nothing in it."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    (tmp_path / "README").write_text("no certificate")
    nothing = ssl.DefaultVerifyPaths(None, str(tmp_path), "", "", "", str(tmp_path))  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: "certifi's")
    monkeypatch.setattr(streams, "_ssl_context", functools.cache(streams._ssl_context.__wrapped__))
    assert default_ssl_context() == "certifi's"
    streams._ssl_context.cache_clear()
    (tmp_path / "0a775a30.0").write_text("a certificate")
    assert default_ssl_context() != "certifi's"


# A port that is refused.


async def _refuse(_config: TTSConfig) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise ConnectionRefusedError(111, "Connection refused")


async def test_while_the_port_is_refused_no_turn_waits(autojump_clock: trio.testing.MockClock) -> None:
    """P1: the first one waits for `timeouts.connect`, in case that it is a restart; then each makes one dial."""
    async with WebSocketConnectionManager(make_config(), open_stream=_refuse) as connections:
        began = trio.current_time()
        with pytest.raises(TTSConnectionError, match="refused"):
            await connections.connect()
        assert trio.current_time() - began == pytest.approx(5, abs=0.01)
        for _ in range(5):
            await trio.sleep(3)
            dials, began = connections.statistics().dials, trio.current_time()
            with pytest.raises(TTSConnectionError, match="refused"):
                await connections.connect()
            assert trio.current_time() == began
            assert connections.statistics().dials == dials + 1


async def test_the_one_dial_of_a_turn_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """P10: the service is back, and the turn that finds it so speaks."""
    async with memory_service(dial_time=0.19) as service:
        service.server.stop_accepting()
        config = make_config()
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                await trio.sleep(30)
                began = trio.current_time()
                with pytest.raises(TTSConnectionError):
                    await connections.connect()
                assert trio.current_time() - began <= 0.4
                service.server.resume()
                async with tts.speak(["Мы снова здесь."]) as audio:
                    assert heard(await listen(audio), config) == "Мы снова здесь."


async def test_a_short_outage_is_waited_out(autojump_clock: trio.testing.MockClock) -> None:
    """P13: a restart of two seconds costs two seconds."""
    async with memory_service() as service:
        service.server.stop_accepting()
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connections.connect)
                await trio.sleep(2)
                service.server.resume()
            assert connections.statistics().hot == 1


# What is printed.


@pytest.mark.parametrize("face", ["static text", "reply"])
@pytest.mark.parametrize("fault", [None, "eof", "reset", "cut"])
async def test_an_error_is_printed_in_a_few_lines(face: str, fault: str | None) -> None:
    """P25: what was lost and why, and no chain of the exceptions of libraries below us."""
    faults = () if fault is None else (Fault(fault, "audio", frame=1),)
    async with open_local_server(Behavior(faults=faults, model_latency=0.01), voice=ToneVoice()) as server:
        where = server.base_url
        if fault is None:
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                where = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        config = make_config(base_url=where, max_replays=0, on_lost_connection="raise", timeouts=Timeouts(connect=0.1))
        async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
            error = await fail_to_speak(tts, face)
    assert isinstance(error, TTSConnectionError)
    printed = "".join(traceback.format_exception(error)).splitlines()
    assert len(printed) <= 40  # two or three lines a frame, those of protected blocks included
    assert not any(line.startswith("During handling") for line in printed)
    if fault is None:
        assert isinstance(error.__cause__, ConnectionRefusedError)


# Several that wait.


async def test_those_who_wait_take_no_connection_twice(autojump_clock: trio.testing.MockClock) -> None:
    """P14: each of twenty replies that begin together speaks over a connection of its own."""
    async with memory_service(dial_time=0.19) as service:
        config = make_config()
        texts = [f"Номер {number}." for number in range(20)]
        told: list[str] = []
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, trio.open_nursery() as nursery:

                async def speak(text: str) -> None:
                    async with tts.speak([text]) as audio:
                        told.append(heard(await listen(audio), config))

                for text in texts:
                    nursery.start_soon(speak, text)
        assert sorted(told) == sorted(texts)


async def test_a_request_cancelled_as_it_gets_its_connection_keeps_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """P8, P29: in whichever turn of the loop."""
    config = make_config()
    async with memory_service(dial_time=0.2) as service:
        for turns in range(12):
            async with HttpConnections(config, open_stream=service.open_stream) as connections:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:

                        async def leave(scope: trio.CancelScope = scope, turns: int = turns) -> None:
                            await trio.sleep(0.2)
                            for _ in range(turns):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()

                        nursery.start_soon(leave)
                        async with connections.stream(stream_request(config, RUSSIAN)) as response:
                            async for _ in response:
                                pass
                assert scope.cancelled_caught
                await trio.sleep(1)
                assert "0 in use" in repr(connections)
