"""The way through an HTTP proxy, for WebSocket and HTTP: which one, what it may answer, and what is told of it."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.helpers import RUSSIAN, heard, listen, make_config, tokens
from tests.helpers.tls import certificates
from tts_trio import ConfigurationError, ProtocolError, Timeouts, TTSConfig, TTSConnectionError, TTSError, open_tts
from tts_trio.config.proxy import Proxy, proxy_for, tunnel
from tts_trio.config.variants import differing_socket_field
from tts_trio.local_server import Behavior, ToneVoice, open_local_server
from tts_trio.local_server.memory import memory_connection
from tts_trio.transport.streams import open_stream

SECRET = "p@ss/wörd"
URL = "http://anna:p%40ss%2Fw%C3%B6rd@proxy.example:3128"
CREDENTIALS = "Basic " + base64.b64encode(f"anna:{SECRET}".encode()).decode()
VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


# Which one.


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://proxy.example:3128", ("proxy.example", 3128, False, None)),
        ("http://proxy.example/", ("proxy.example", 80, False, None)),
        ("https://proxy.example", ("proxy.example", 443, True, None)),
        ("http://[::1]:3128", ("::1", 3128, False, None)),
        ("http://anna@proxy.example", ("proxy.example", 80, False, "Basic YW5uYTo=")),
        (URL, ("proxy.example", 3128, False, CREDENTIALS)),
    ],
)
def test_a_proxy_is_its_url(url: str, where: tuple[object, ...]) -> None:
    assert attrs.astuple(Proxy.parse(url))[:4] == where


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.example:3128",
        "socks5://anna:hush@proxy",
        "http://",
        "http://anna:hush@proxy:99999",
        "http://p/x",
        3128,
    ],
)
def test_what_is_no_proxy_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy: it must be") as caught:
        make_config(proxy=url)
    assert caught.value.field == "proxy"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "base_url", "proxy"),
    [
        ({}, "https://api.elevenlabs.io", None),
        ({"HTTPS_PROXY": "http://one:1"}, "https://api.elevenlabs.io", "one"),
        ({"HTTPS_PROXY": "http://one:1"}, "wss://api.elevenlabs.io", "one"),
        ({"HTTPS_PROXY": "one:1"}, "https://api.elevenlabs.io", "one"),
        ({"HTTPS_PROXY": "http://one:1", "https_proxy": "http://two:1"}, "https://api.elevenlabs.io", "two"),
        ({"HTTPS_PROXY": "http://one:1"}, "http://127.0.0.1:8765", None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "*"}, "https://api.elevenlabs.io", None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "a, .elevenlabs.io"}, "https://api.elevenlabs.io", None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "api.elevenlabs.io:443"}, "https://api.elevenlabs.io", None),
        (
            {"HTTPS_PROXY": "http://one:1", "no_proxy": "api.elevenlabs.io:80,labs.io"},
            "https://api.elevenlabs.io",
            "one",
        ),
    ],
)
def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], base_url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(base_url, None)
    assert (found and found.host) == proxy
    given = proxy_for(base_url, "https://given")
    assert given is not None
    assert given.host == "given"


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"https_proxy": "", "HTTPS_PROXY": "http://two:1"}, None),
        ({"https_proxy": " ", "HTTPS_PROXY": "http://two:1"}, None),
        ({"https_proxy": "", "ALL_PROXY": "http://three:1"}, None),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "http://three:1"}, None),
        ({"ALL_PROXY": "http://three:1"}, "three"),
        ({"all_proxy": "http://three:1", "ALL_PROXY": "http://four:1"}, "three"),
        ({"all_proxy": "", "ALL_PROXY": "http://four:1"}, None),
        ({"HTTPS_PROXY": "http://two:1", "all_proxy": "http://three:1"}, "two"),
        ({"HTTPS_PROXY": "http://two:1", "ALL_PROXY": "socks5://three:1"}, "two"),
        ({"ALL_PROXY": "socks5://three:1", "NO_PROXY": "*"}, None),
        ({"ALL_PROXY": "socks5://three:1", "https_proxy": ""}, None),
        ({"HTTP_PROXY": "http://two:1"}, None),
    ],
)
def test_which_variable(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None) -> None:
    """The first that is set, in small letters first; one that is set to nothing switches those behind it off."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for("https://api.elevenlabs.io", None)
    assert (found and found.host) == proxy


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_socks_proxy_in_the_environment_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Going round it in silence could be what an operator forbade."""
    monkeypatch.setenv(name, "socks5://anna:hush@three:1")
    with pytest.raises(
        ConfigurationError, match=f"proxy: the environment variable {name} .*SOCKS.* or {name} to"
    ) as caught:
        proxy_for("https://api.elevenlabs.io", None)
    assert "hush" not in str(caught.value)


EXEMPT = [
    ("*", "api.elevenlabs.io", True),
    ("a,*", "api.elevenlabs.io", True),
    ("elevenlabs.io", "api.elevenlabs.io", True),
    ("elevenlabs.io", "elevenlabs.io", True),
    (".elevenlabs.io", "api.elevenlabs.io", True),
    (".elevenlabs.io", "elevenlabs.io", True),
    ("*.elevenlabs.io", "api.elevenlabs.io", True),
    ("*.ELEVENLABS.io.", "api.eu.elevenlabs.io", True),
    ("labs.io", "api.elevenlabs.io", False),
    ("api.elevenlabs.io.example", "api.elevenlabs.io", False),
    ("*labs.io", "api.elevenlabs.io", False),
    ("a b elevenlabs.io", "api.elevenlabs.io", True),
    (" , ,,", "api.elevenlabs.io", False),
    (".", "api.elevenlabs.io", False),
    ("*.", "api.elevenlabs.io", False),
    ("elevenlabs.io:443", "api.elevenlabs.io", True),
    (".elevenlabs.io:443", "api.elevenlabs.io", True),
    ("elevenlabs.io:8443", "api.elevenlabs.io", False),
    ("elevenlabs.io:8443", "api.elevenlabs.io:8443", True),
    ("elevenlabs.io:x", "api.elevenlabs.io", False),
    ("10.1.2.3", "10.1.2.3", True),
    ("10.0.0.0/8", "10.1.2.3", True),
    ("10.0.0.1/8", "10.1.2.3", True),
    ("10.0.0.0/255.0.0.0", "10.1.2.3", True),
    ("10.0.0.0/8", "11.1.2.3", False),
    ("10.0.0.0/8", "api.elevenlabs.io", False),
    ("10.0.0.0/99", "10.1.2.3", False),
    ("10.1.2.3:443", "10.1.2.3", True),
    ("10.1.2.3:80", "10.1.2.3", False),
    ("::1", "[::1]", True),
    ("[::1]", "[::1]", True),
    ("[::1]:443", "[::1]", True),
    ("[::1]:8443", "[::1]", False),
    ("fd00::/8", "[fd12::3]", True),
    ("fd00::/8", "[fe80::3]", False),
    ("fd00::/8", "10.1.2.3", False),
    ("0:0:0:0:0:0:0:1", "[::1]", True),
]


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(("entries", "host", "exempt"), EXEMPT)
def test_what_is_exempt(monkeypatch: pytest.MonkeyPatch, entries: str, host: str, exempt: bool, name: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    monkeypatch.setenv(name, entries)
    assert (proxy_for(f"https://{host}", None) is None) is exempt


def test_an_empty_no_proxy_wins_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HTTPS_PROXY": "http://one:1", "no_proxy": "", "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://api.elevenlabs.io", None) is not None


def test_credentials_are_not_shown() -> None:
    config = make_config(proxy=URL)
    for shown in (repr(config), str(config), repr(Proxy.parse(URL)), str(Proxy.parse(URL))):
        assert "proxy.example" in shown
        for secret in ("anna", SECRET, "p%40ss", CREDENTIALS.split()[1]):
            assert secret not in shown
    assert differing_socket_field(config, make_config()) == "proxy"


# The tunnel, in memory.


async def answer(
    data: bytes, *, host: str = "api.elevenlabs.io", hang_up: bool = True
) -> tuple[bytes, TTSError | None]:
    """Ask a proxy that answers so: what was asked, and what came of it."""
    client, server = memory_connection()
    failure: TTSError | None = None
    await server.send_all(data)
    if hang_up:
        await server.send_eof()
    try:
        await tunnel(client, Proxy.parse(URL), host, 443)
    except TTSError as error:
        failure = error
    asked = b"" if hang_up else bytes(await server.receive_some(65536))
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)
    return asked, failure


@pytest.mark.parametrize(("host", "target"), [("api.elevenlabs.io", "api.elevenlabs.io:443"), ("::1", "[::1]:443")])
async def test_what_is_asked(host: str, target: str) -> None:
    asked, failure = await answer(
        b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n", host=host, hang_up=False
    )
    assert failure is None
    first, *headers = asked.decode().rstrip("\r\n").split("\r\n")
    assert first == f"CONNECT {target} HTTP/1.1"
    assert headers == [f"Host: {target}", f"Proxy-Authorization: {CREDENTIALS}"]


REFUSED = "HTTP/1.1 {} No\r\nContent-Length: 2\r\n\r\nNo"


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (REFUSED.format(407), ConfigurationError, "requires another user or password"),
        (REFUSED.format(403), ConfigurationError, "refuses to connect to api.elevenlabs.io:443"),
        (REFUSED.format(302), ConfigurationError, "refuses to connect"),
        (REFUSED.format(502), TTSConnectionError, "could not connect to api.elevenlabs.io:443"),
        (REFUSED.format(504), TTSConnectionError, "could not connect"),
        (REFUSED.format(429), TTSConnectionError, "could not connect"),
        ("", TTSConnectionError, "hung up"),
        ("HTTP/1.1 200 OK\r\nVia", TTSConnectionError, "hung up"),
        (f"220 smtp.example {CREDENTIALS}\r\n", ProtocolError, "does not answer as an HTTP proxy"),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 9999, ProtocolError, "does not answer as an HTTP proxy"),
    ],
)
async def test_what_it_may_answer(data: str, kind: type[TTSError], says: str) -> None:
    _, failure = await answer(data.encode())
    assert type(failure) is kind
    assert says in str(failure)
    assert "http://proxy.example:3128" in str(failure)
    assert failure.status == (int(data.split()[1]) if data.endswith("No") else None)
    shown = (
        f"{failure!r} {failure} {failure.__cause__!r} {failure.__context__ if not failure.__suppress_context__ else ''}"
    )
    assert CREDENTIALS.split()[1] not in shown


async def test_an_answer_in_many_pieces_after_an_interim_one() -> None:
    client, server = memory_connection()

    async def proxy() -> None:
        for byte in b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n":
            await server.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy)
        await tunnel(client, Proxy.parse("http://proxy"), "api.elevenlabs.io", 443)
    await server.send_all(b"the service's")
    assert bytes(await client.receive_some(100)) == b"the service's"
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


# The whole way, over sockets and TLS.


@attrs.define
class HttpProxy:
    """A proxy on a port, which notes what it was asked."""

    status: int = 200
    asked: list[bytes] = attrs.field(factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await stream.receive_some(1)
            self.asked.append(head)
            if self.status == 0:
                await trio.sleep_forever()
            if self.status != 200:
                await stream.send_all(REFUSED.format(self.status).encode())
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as service, trio.open_nursery() as nursery:
                await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
                nursery.start_soon(self._pass_on, service, stream, nursery.cancel_scope)
                await self._pass_on(stream, service, nursery.cancel_scope)

    @staticmethod
    async def _pass_on(source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def through_a_proxy(proxy: HttpProxy) -> AsyncGenerator[TTSConfig]:
    """The local server with TLS, and a configuration for it that goes through a proxy with a password."""
    tls, quick = certificates(), Behavior(model_latency=0.01, speed=500.0)
    async with (
        open_local_server(quick, voice=ToneVoice(), ssl_context=tls.server) as server,
        trio.open_nursery() as nursery,
    ):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        port = listener.socket.getsockname()[1]
        yield make_config(base_url=server.base_url, ssl_context=tls.client, proxy=f"http://anna:hush@127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


async def test_both_ways_go_through_the_proxy() -> None:
    proxy = HttpProxy()
    async with through_a_proxy(proxy) as config:
        async with open_tts(config) as tts:
            async with tts.stream_static_text(RUSSIAN) as audio:
                assert heard(await listen(audio), config) == RUSSIAN
            async with tts.speak(tokens(RUSSIAN, 0.0)) as audio:
                assert heard(await listen(audio), config) == RUSSIAN
        assert len(proxy.asked) >= 3  # for HTTP, for the WebSocket, for the one behind it
        credentials = base64.b64encode(b"anna:hush")
        for head in proxy.asked:
            assert head.startswith(b"CONNECT 127.0.0.1:")
            assert b"Proxy-Authorization: Basic " + credentials in head
            assert config.api_key.encode() not in head  # it is for the service's eyes, in TLS


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (407, ConfigurationError, "another user or password"),
        (502, TTSConnectionError, "could not connect"),
        (0, TTSConnectionError, "no connection"),
    ],
)
@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_a_proxy_that_refuses_is_a_typed_error(way: str, status: int, kind: type[TTSError], says: str) -> None:
    proxy = HttpProxy(status)
    async with through_a_proxy(proxy) as config:
        async with open_tts(config.evolve(timeouts=Timeouts(connect=0.2))) as tts:
            with pytest.raises(kind, match=says) as caught:
                async with tts.speak([RUSSIAN]) if way == "speak" else tts.stream_static_text(RUSSIAN) as audio:
                    await listen(audio)
    assert "hush" not in str(caught.value)
    if status == 407 and way == "speak":
        assert len(proxy.asked) <= 2  # P26: the WebSocket asked once, and so did HTTP: trying again is no help


async def test_a_proxy_that_is_not_there() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    config = make_config(proxy=f"http://anna:hush@127.0.0.1:{port}")
    with pytest.raises(TTSConnectionError, match=f"no connection to the proxy http://127.0.0.1:{port}: .*refused"):
        await open_stream(config)


async def test_a_proxy_over_tls_that_speaks_none() -> None:
    async def speak_plainly(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 smtp.example\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, speak_plainly, [listener])
        config = make_config(proxy=f"https://127.0.0.1:{listener.socket.getsockname()[1]}")
        with pytest.raises(TTSConnectionError, match="no connection to the proxy https://127"):
            await open_stream(config)
        nursery.cancel_scope.cancel()
