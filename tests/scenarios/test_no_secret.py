"""The API key appears nowhere: in no log record at any level, no repr, no exception, no traceback, no URL."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import re
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import attrs
import pytest
import trio
import trustme
import wsproto
import wsproto.events
import wsproto.utilities

from tests.helpers import (
    API_KEY,
    TEXTS,
    VOICE_ID,
    hot_connection,
    listen,
    make_config,
    memory_service,
    sockets_of,
    speaking,
)
from tts_trio import (
    ConfigurationError,
    RedisCache,
    Timeouts,
    TTSConfig,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
    open_tts,
)
from tts_trio.config.proxy import proxy_for, tunnel
from tts_trio.errors import redaction, unexpected
from tts_trio.errors.redaction import RedactingFilter, redact
from tts_trio.local_server import Behavior, Fault, Requested, ToneVoice, open_local_server
from tts_trio.local_server.memory import memory_connection
from tts_trio.transport.streams import OpenStream

LOGGERS = ["tts_trio", "httpx", "httpcore", "trio-websocket", "wsproto", "h11", "trio"]
FORMS = [
    *(API_KEY, API_KEY.upper(), base64.b64encode(API_KEY.encode()).decode(), API_KEY.encode().hex(), API_KEY[:12]),
    *("".join(f"\\u{ord(char):04x}" for char in API_KEY), "".join(f"%{ord(char):02X}" for char in API_KEY)),
    *("".join(f"&#{ord(char)};" for char in API_KEY), base64.b64encode(f"key:{API_KEY}!".encode()).decode()),
]


@attrs.define(eq=False)
class Spy(logging.Handler):
    """Keeps every text that the process gives away."""

    texts: list[str] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts += [self.format(record), record.getMessage(), repr(record.__dict__)]

    def see(self, error: BaseException) -> None:
        """Look at an exception as a logger, a debugger or an error tracker does."""
        self.texts += ["".join(traceback.format_exception(error)), repr(error), str(error), repr(error.__dict__)]
        for link in (error.__cause__, error.__context__):
            if link is not None and (link is error.__cause__ or not error.__suppress_context__):
                self.see(link)

    def check(self) -> None:
        leaks = [text for text in self.texts for form in FORMS if form in text]
        assert not leaks, leaks[0]


@pytest.fixture
def spy() -> Iterator[Spy]:
    handler = Spy()
    names = [*LOGGERS, *(name for name in logging.root.manager.loggerDict if name.startswith(tuple(LOGGERS)))]
    levels = {name: logging.getLogger(name).level for name in names}
    logging.root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler
    logging.root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def use(config: TTSConfig, opener: OpenStream, spy: Spy) -> int:
    """Speak by both ways, connect and say goodbye; look at all that fails and at all that can be printed."""
    failures = 0
    async with WebSocketConnectionManager(config, open_stream=opener) as connections:
        async with TTSManager(config, connections) as tts:
            spy.texts += [repr(config), str(config), repr(connections), repr(tts), repr(connections.statistics())]

            async def by_http() -> None:
                async with tts.stream_static_text(TEXTS["ru"]) as audio:
                    spy.texts.append(repr(audio))
                    await listen(audio)

            async def by_websocket() -> None:
                async with tts.speak([TEXTS["en"]]) as audio:
                    spy.texts.append(repr(audio))
                    await listen(audio)
                    spy.texts += [repr(audio.outcome), repr(audio.usage)]

            async def connect() -> None:
                spy.texts.append(repr(await hot_connection(connections)))

            for way in (by_http, by_websocket, connect):
                try:
                    await way()
                except TTSError as error:
                    failures += 1
                    spy.see(error)
            spy.texts += [repr(connections), repr(tts), repr(tts._http), repr(sockets_of(connections))]
        spy.texts += [repr(connections), repr(tts)]
    return failures


# What happens, and at how many of the three ways it is to fail.
PATHS: dict[str, tuple[Behavior, int]] = {
    "all is well": (Behavior(), 0),
    "bad key": (Behavior(api_keys=("another",)), 3),
    "bad voice": (Behavior(voices=("another",)), 2),  # or 3: the third may be over before the complaint comes
    "no credits": (Behavior(quota=0), 2),
} | {
    f"{fault.action} at {fault.at}": (Behavior(faults=(fault,)), failures)
    for fault, failures in [
        (Fault("status", "answer", 401), 3),
        (Fault("status", "answer", 429), 3),
        (Fault("status", "answer", 500), 3),
        (Fault("until_eof", "answer"), 3),
        (Fault("garbage", "answer"), 3),
        (Fault("freeze", "answer"), 3),
        (Fault("freeze", "audio"), 2),
        (Fault("eof", "answer"), 3),
        (Fault("eof", "audio"), 2),
        (Fault("reset", "answer"), 3),
        (Fault("reset", "audio"), 2),
        (Fault("reset", "accept"), 3),
        (Fault("close", "audio", 1011), 2),
        (Fault("error_frame", "audio"), 2),
        (Fault("invalid_json", "audio"), 0),
        (Fault("cut", "audio"), 2),
    ]
}


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_shows_the_key(
    autojump_clock: trio.testing.MockClock, endpoint: str, spy: Spy, path: str
) -> None:
    """P25, P28: `except TTSError` is enough on every path, and says nothing that it should not."""
    behavior, failures = PATHS[path]
    async with memory_service(behavior) as service:
        assert await use(make_config(endpoint), service.open_stream, spy) >= failures
        requests = [record for record in service.server.records if isinstance(record, Requested)]
        for request in requests:
            assert request.headers["xi-api-key"] == API_KEY  # the key was used, and in this header only
            spy.texts += [request.path, repr(request.query), repr({**request.headers, "xi-api-key": ""})]
            spy.texts.append(repr(request.body))
    assert any("tts_trio" in text for text in spy.texts)
    spy.check()


# Each form is of the same length on the wire as what is announced for it.
FORMS_ON_THE_WIRE = {
    "plain": API_KEY,
    "in capitals": API_KEY.upper(),
    "in JSON's escapes": "".join(f"\\u{ord(char):04x}" for char in API_KEY),
    "percent-encoded": "".join(f"%{ord(char):02X}" for char in API_KEY),
    "in HTML's escapes": "".join(f"&#{ord(char)};" for char in API_KEY),
    "in base64": base64.b64encode(f"key:{API_KEY}!".encode()).decode(),
    "in hexadecimal": API_KEY.encode().hex(),
}
KEY = "<KEY>"


def answer(head: str, body: str = "", length: int | None = None) -> str:
    """An answer with the key in it, wherever it says so."""
    return f"HTTP/1.1 {head}\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n{body}"


def detail(**fields: str) -> str:
    return answer("401 Unauthorized\r\ncontent-type: application/json", json.dumps({"detail": fields}), None)


ECHOES = {
    "message": detail(status="invalid_api_key", message=f"There is no key {KEY}"),
    "status": detail(status=KEY, message="no"),
    "code": detail(code=KEY, message="no"),
    "type": detail(type=KEY, message="no"),
    "param": detail(code="invalid_parameters", param=KEY, message="no"),
    "request_id": detail(code="invalid_api_key", request_id=KEY, message="no"),
    "validation": answer("422 No", json.dumps({"detail": [{"loc": ["body", KEY], "msg": KEY, "type": KEY}]})),
    "a detail that is a text": answer("401 No", json.dumps({"detail": KEY})),
    "cut short": answer("401 No", json.dumps({"detail": KEY}), 1000),
    "error page": answer("502 Bad", f"<html><head><title>{KEY}</title></head><body>{KEY}</body></html>"),
    "end of an error page": answer("502 Bad", "x" * 180 + KEY),
    "reason": answer(f"401 {KEY}", "no"),
    "header": answer(f"401 No\r\nx-trace-id: {KEY}\r\nx-other: {KEY}", "no"),
    "name of a header": answer(f"401 No\r\n{KEY}: x", "no"),
    "content type": answer(f"200 OK\r\ncontent-type: {KEY}", "no"),
    "retry-after": answer(f"429 No\r\nretry-after: {KEY}", "no"),
    "no HTTP": f"xi-api-key: {KEY}\r\n\r\n",
    "status line": f"HTTP/1.1 {KEY}\r\n\r\n",
    "version": f"HTTP/{KEY} 200 OK\r\n\r\n",
    "bad header": f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n",
    "bad upgrade": f"HTTP/1.1 101 OK\r\nupgrade: {KEY}\r\nconnection: upgrade\r\n\r\n",
    "chunk": f"HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n{KEY}\r\n\r\n",
    "line of an answer": answer("200 OK\r\ncontent-type: application/json", json.dumps({"detail": {"message": KEY}})),
}


def with_key(text: str, form: str) -> str:
    """The text with the key in this form, and a body as long as it says."""
    head, _, body = text.partition("\r\n\r\n")
    longer = (len(FORMS_ON_THE_WIRE[form]) - len(KEY)) * body.count(KEY)
    if (found := re.search(r"content-length: (\d+)", head)) and int(found[1]) == len(body):
        head = head.replace(found[0], f"content-length: {len(body) + longer}")
    return f"{head}\r\n\r\n{body}".replace(KEY, FORMS_ON_THE_WIRE[form])


@pytest.mark.parametrize("form", FORMS_ON_THE_WIRE)
@pytest.mark.parametrize("echo", ECHOES)
async def test_a_peer_that_repeats_the_key(
    autojump_clock: trio.testing.MockClock, spy: Spy, echo: str, form: str
) -> None:
    """P28: a proxy, say, that answers with what it was sent, in one piece or in two; however it writes it."""
    data = with_key(ECHOES[echo], form).encode()
    middle = data.rfind(FORMS_ON_THE_WIRE[form].encode()) + len(FORMS_ON_THE_WIRE[form]) // 2
    for cuts in ([], [middle]):
        async with trio.open_nursery() as nursery:

            async def repeat(stream: trio.abc.Stream, cuts: list[int] = cuts) -> None:
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some()
                    for start, end in itertools.pairwise([0, *cuts, len(data)]):
                        await stream.send_all(data[start:end])
                        await trio.sleep(0.01)
                await trio.aclose_forcefully(stream)

            async def opener(_: TTSConfig) -> trio.abc.Stream:
                client, server = memory_connection()
                nursery.start_soon(repeat, server)
                return client

            assert await use(make_config(static_timestamps=echo.startswith("line")), opener, spy) >= 2
            nursery.cancel_scope.cancel()
    spy.check()


FRAMES: dict[str, list[wsproto.events.Event]] = {
    "message": [wsproto.events.TextMessage(json.dumps({"message": KEY, "error": "invalid_api_key", "code": 1008}))],
    "error": [wsproto.events.TextMessage(json.dumps({"message": "no", "error": KEY, "code": 1008}))],
    "error alone": [wsproto.events.TextMessage(json.dumps({"error": KEY}))],
    "param": [wsproto.events.TextMessage(json.dumps({"message": "no", "error": "invalid_parameters", "param": KEY}))],
    "context": [wsproto.events.TextMessage(json.dumps({"message": KEY, "error": KEY, "code": 1008, "contextId": "1"}))],
    "no JSON": [wsproto.events.TextMessage(KEY), wsproto.events.CloseConnection(1011, "")],
    "bytes": [wsproto.events.BytesMessage(KEY.encode()), wsproto.events.CloseConnection(1011, "")],
    "ping": [wsproto.events.Ping(KEY.encode()), wsproto.events.CloseConnection(1011, "")],
    "close": [wsproto.events.CloseConnection(1008, f"There is no key {KEY}")],
    "close cut short": [wsproto.events.CloseConnection(1008, "x" * 60 + KEY)],
}


def frames_with_key(echo: str, form: str) -> Iterator[wsproto.events.Event]:
    for event in FRAMES[echo]:
        data = getattr(event, "reason", None) or getattr(event, "payload", None) or getattr(event, "data", None)
        if isinstance(data, bytes):
            data = data.replace(KEY.encode(), FORMS_ON_THE_WIRE[form].encode())
        elif data:
            data = data.replace(KEY, FORMS_ON_THE_WIRE[form])
        if isinstance(event, wsproto.events.CloseConnection):
            yield wsproto.events.CloseConnection(event.code, (data or "")[:123])
        elif isinstance(event, wsproto.events.Ping):
            yield wsproto.events.Ping(data[:125])
        else:
            yield type(event)(data)


@pytest.mark.endpoints("stream-input", "multi-stream-input")
@pytest.mark.parametrize("form", FORMS_ON_THE_WIRE)
@pytest.mark.parametrize("echo", FRAMES)
async def test_a_websocket_that_repeats_the_key(
    autojump_clock: trio.testing.MockClock, endpoint: str, spy: Spy, echo: str, form: str
) -> None:
    """P28: in a frame, the reason of a close, or a header of the handshake."""
    headers = [(b"x-trace-id", FORMS_ON_THE_WIRE[form].encode()), (b"x-other", FORMS_ON_THE_WIRE[form].encode())]
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.abc.Stream) -> None:
            server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
            with suppress(trio.BrokenResourceError, wsproto.utilities.ProtocolError):
                while data := await stream.receive_some():
                    server.receive_data(bytes(data))
                    for event in server.events():
                        if isinstance(event, wsproto.events.Request):
                            await stream.send_all(server.send(wsproto.events.AcceptConnection(extra_headers=headers)))
                        elif isinstance(event, wsproto.events.Ping):
                            await stream.send_all(server.send(event.response()))
                        elif isinstance(event, wsproto.events.TextMessage) and event.data.strip() != '{"text": " "}':
                            await trio.sleep(0.1)
                            for answer in frames_with_key(echo, form):
                                wire = server.send(answer)
                                await stream.send_all(wire[: len(wire) // 2])
                                await trio.sleep(0.01)
                                await stream.send_all(wire[len(wire) // 2 :])
            await trio.aclose_forcefully(stream)

        async def opener(_: TTSConfig) -> trio.abc.Stream:
            client, server = memory_connection()
            nursery.start_soon(serve, server)
            return client

        await use(make_config(endpoint), opener, spy)
        nursery.cancel_scope.cancel()
    assert any("tts_trio" in text for text in spy.texts)
    spy.check()


PROXY_PASSWORD = "pass word/0123456789"
PROXY_URL = f"http://anna:{quote(PROXY_PASSWORD, safe='')}@proxy.example:3128"
CREDENTIALS = base64.b64encode(f"anna:{PROXY_PASSWORD}".encode()).decode()


@pytest.mark.parametrize("given", ["argument", "environment"])
@pytest.mark.parametrize(
    "says",
    [
        f"HTTP/1.1 407 {CREDENTIALS}\r\ncontent-length: {len(CREDENTIALS)}\r\n\r\n{CREDENTIALS}",
        f"HTTP/1.1 502 {PROXY_PASSWORD}\r\n\r\n",
        f"Proxy-Authorization: Basic {CREDENTIALS}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\n\r\nProxy-Authorization: Basic {CREDENTIALS}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 401 {PROXY_PASSWORD}\r\ncontent-length: 2\r\n\r\nno",
        f"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: {len(PROXY_PASSWORD)}\r\n\r\n{PROXY_PASSWORD}",
    ],
)
async def test_a_proxy_that_repeats_its_credentials(
    autojump_clock: trio.testing.MockClock,
    spy: Spy,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    given: str,
) -> None:
    """P28: neither the password nor the header `Proxy-Authorization` is shown."""
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if given == "environment":
        monkeypatch.setenv("https_proxy", PROXY_URL)
    async with trio.open_nursery() as nursery:

        async def repeat(stream: trio.abc.Stream) -> None:
            with suppress(trio.BrokenResourceError):
                await stream.receive_some()
                await stream.send_all(says.encode())
                await stream.receive_some()
            await trio.aclose_forcefully(stream)

        async def opener(config: TTSConfig) -> trio.abc.Stream:
            client, server = memory_connection()
            nursery.start_soon(repeat, server)
            proxy = proxy_for("https://api.elevenlabs.io", config.proxy)
            assert proxy is not None
            await tunnel(client, proxy, "api.elevenlabs.io", 443)
            return client

        config = make_config(proxy=PROXY_URL if given == "argument" else None)
        assert await use(config, opener, spy) == 3
        nursery.cancel_scope.cancel()
    forms = (PROXY_PASSWORD, quote(PROXY_PASSWORD, safe=""), CREDENTIALS)
    leaks = [text for text in spy.texts for form in forms if form in text]
    assert not leaks, leaks[0]


async def test_a_redis_that_repeats_its_password(spy: Spy) -> None:
    """P28: as a server does that does not know the command by which one logs in."""

    async def serve(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                arguments = " ".join(f"'{line}'" for line in bytes(data).decode().split("\r\n"))
                await stream.send_all(f"-ERR unknown command, with args beginning with: {arguments}\r\n".encode())

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        async with RedisCache(f"redis://:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:{port}") as cache:
            with pytest.raises(OSError, match="unknown command") as caught:
                await cache.get("a" * 64)
            spy.see(caught.value)
            spy.texts.append(repr(cache))
        nursery.cancel_scope.cancel()
    assert not [text for text in spy.texts if PROXY_PASSWORD in text]


def test_every_logger_below_us_is_guarded() -> None:
    """P28: a new logger of a library is noticed here."""
    roots = ("httpx", "httpcore", "trio-websocket", "wsproto", "h11", "coredis")
    names = {name for name in logging.root.manager.loggerDict if name.partition(".")[0] in roots}
    assert names >= {"httpx", "trio-websocket"}
    for name in names:
        if isinstance(logging.root.manager.loggerDict[name], logging.Logger):
            assert any(isinstance(each, RedactingFilter) for each in logging.getLogger(name).filters), name


async def test_a_log_has_no_line_for_each_text(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A log at INFO is about what is wrong, and not about each request, for which httpx's client has a line."""
    caplog.set_level(logging.INFO)
    config = make_config(language_code="ru")
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for text in ("Да.", "Yes."):
            async with tts.stream_static_text(text) as audio:
                await listen(audio)
    assert caplog.records == []


def test_what_is_taken_out() -> None:
    """P28: the rule of `tts_trio.errors.redaction`, and what is left alone."""
    config = make_config(api_key="short-1")
    assert redact("short-1") == "short-1"  # of fewer than 8 characters
    config = make_config(api_key="a/b+c-d_e~f&g=h1")
    key = config.api_key
    escaped = json.dumps(key).replace("/", "\\/")
    for form in (key, key.swapcase(), quote(key), quote(quote(key, safe=""), safe=""), escaped, json.dumps(escaped)):
        assert "b+c" not in redact(f"(Да: {form})").lower()
        assert redact(f"(Да: {form})").startswith("(Да: ")
        assert redact(f"(Да: {form})").endswith(")")
    assert redact(f"{key[:12]} {key[:11]}") == f"[secret] {key[:11]}"
    assert redact("An ordinary % text \\ with &#1; escapes") == "An ordinary % text \\ with &#1; escapes"
    assert key[::-1] in redact(key[::-1])
    other = config.evolve()
    del config
    assert redact(key) == "[secret]"  # the other one has it
    del other
    assert redact(key) == key  # nobody has it any more


def test_the_end_of_a_configuration_waits_for_no_thread() -> None:
    """P28: the garbage collector may end one anywhere, also where the thread that has the lock waits for this one."""
    configs = [make_config(api_key="a_key_of_its_own")]
    ending = threading.Thread(target=configs.clear, daemon=True)
    with redaction._lock:
        ending.start()
        ending.join(10)
        assert not ending.is_alive()
        assert redact("a_key_of_its_own") == "a_key_of_its_own"


def test_an_exception_that_cannot_be_shown_is_kept_out() -> None:
    """P28: one of a cache's or a limiter's of the user's, whose own `__repr__` fails. Nothing of that comes out."""

    class Mute(Exception):
        def __repr__(self) -> str:
            raise ValueError("no repr")

    config = make_config()
    failure = unexpected("phrase", Mute())
    assert (str(failure), failure.__cause__) == ("the phrase failed with an unexpected Mute", None)
    record = logging.LogRecord("any", logging.WARNING, "", 0, "failed", (), (Mute, Mute(config.api_key), None))
    assert RedactingFilter().filter(record)
    assert record.exc_text is not None
    assert "Mute: [secret]" in record.exc_text


async def test_tls_and_refused_ports(endpoint: str, spy: Spy) -> None:
    """P28."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_context)
    async with open_local_server(voice=ToneVoice(), ssl_context=server_context) as server:
        config = make_config(endpoint, base_url=server.base_url, timeouts=Timeouts(connect=0.3))
        for _ in range(2):
            async with open_tts(config) as tts:
                for stream in (tts.stream_static_text("Да."), tts.speak(["Да."])):
                    with pytest.raises(TTSError) as caught:
                        async with stream as audio:
                            await listen(audio)
                    spy.see(caught.value)
            server.stop_accepting()  # the second time nobody is there
    spy.check()


async def test_configurations(
    autojump_clock: trio.testing.MockClock, endpoint: str, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28."""

    async def different() -> None:
        async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
            TTSManager(make_config(endpoint, api_key=API_KEY + "x"), tts.connections)

    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    for wrong in (
        lambda: make_config(endpoint, api_key=API_KEY + "\n"),
        lambda: make_config(endpoint, api_key=API_KEY + "ключ"),
        lambda: make_config(endpoint, api_key=API_KEY.encode()),
        lambda: make_config(endpoint, output_format="mp3"),
        lambda: make_config(endpoint).evolve(spares=9),
        lambda: make_config(endpoint, base_url="http://elevenlabs.example"),
        TTSConfig.from_env,
        lambda: TTSConfig.from_env(voice_id=VOICE_ID, seed=-1),
    ):
        with pytest.raises(ConfigurationError) as caught:
            wrong()
        spy.see(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        await different()
    spy.see(caught.value)
    spy.check()
