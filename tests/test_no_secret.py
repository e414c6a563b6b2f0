"""The API key appears nowhere: in no log record at any level, no repr, no exception, no traceback, no URL."""

from __future__ import annotations

import base64
import logging
import ssl
import traceback
from collections.abc import Iterator
from contextlib import suppress

import attrs
import pytest
import trio
import trustme

from tests.helpers import API_KEY, TEXTS, VOICE_ID, listen, make_config, memory_service, speaking
from tts_trio import ConfigurationError, TTSConfig, TTSError, TTSManager, WebSocketConnectionManager, open_tts
from tts_trio.local_server import Behaviour, Fault, Requested, ToneVoice, open_local_server
from tts_trio.local_server.memory import memory_connection
from tts_trio.transport import OpenStream

pytestmark = pytest.mark.usefixtures("endpoint")

LOGGERS = ["tts_trio", "httpx", "httpcore", "trio-websocket", "wsproto", "h11", "trio"]
FORMS = [API_KEY, API_KEY.upper(), base64.b64encode(API_KEY.encode()).decode(), API_KEY.encode().hex()]


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
                spy.texts.append(repr(await connections.connect()))

            for way in (by_http, by_websocket, connect):
                try:
                    await way()
                except TTSError as error:
                    failures += 1
                    spy.see(error)
            spy.texts += [repr(connections), repr(tts), repr(tts._http), repr(list(connections._sockets))]
        spy.texts += [repr(connections), repr(tts)]
    return failures


# What happens, and at how many of the three ways it is to fail.
PATHS: dict[str, tuple[Behaviour, int]] = {
    "all is well": (Behaviour(), 0),
    "bad key": (Behaviour(api_keys=("another",)), 3),
    "bad voice": (Behaviour(voices=("another",)), 2),  # or 3: the third may be over before the complaint comes
    "no credits": (Behaviour(quota=0), 2),
} | {
    f"{fault.action} at {fault.at}": (Behaviour(faults=(fault,)), failures)
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
async def test_no_path_shows_the_key(autojump_clock: trio.testing.MockClock, spy: Spy, path: str) -> None:
    """P25, P28: `except TTSError` is enough on every path, and says nothing that it should not."""
    behaviour, failures = PATHS[path]
    async with memory_service(behaviour) as service:
        assert await use(make_config(), service.open_stream, spy) >= failures
        requests = [record for record in service.server.records if isinstance(record, Requested)]
        for request in requests:
            assert request.headers["xi-api-key"] == API_KEY  # the key was used, and in this header only
            spy.texts += [request.path, repr(request.query), repr({**request.headers, "xi-api-key": ""})]
            spy.texts.append(repr(request.body))
    assert any("tts_trio" in text for text in spy.texts)
    spy.check()


DETAIL = '{"detail":{"status":"invalid_api_key","message":"There is no key %s"}}' % API_KEY  # noqa: UP031 - braces
ECHOES = {
    "in a refusal": f"HTTP/1.1 401 Unauthorized\r\ncontent-length: {len(DETAIL)}\r\n\r\n{DETAIL}",
    "in a refusal cut short": f"HTTP/1.1 401 Unauthorized\r\ncontent-length: 1000\r\n\r\n{DETAIL}",
    "in an error page": f"HTTP/1.1 502 Bad\r\ncontent-length: {len(API_KEY)}\r\n\r\n{API_KEY}",
    "in no HTTP": f"xi-api-key: {API_KEY}\r\n\r\n",
    "in a bad header": f"HTTP/1.1 200 OK\r\n{API_KEY}\r\n\r\n",
    "in a bad upgrade": f"HTTP/1.1 101 OK\r\nupgrade: {API_KEY}\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("echo", ECHOES)
async def test_a_peer_that_repeats_the_key(autojump_clock: trio.testing.MockClock, spy: Spy, echo: str) -> None:
    """P28: a proxy, say, that answers with what it was sent."""
    async with trio.open_nursery() as nursery:

        async def repeat(stream: trio.abc.Stream) -> None:
            await stream.receive_some()
            with suppress(trio.BrokenResourceError):
                await stream.send_all(ECHOES[echo].encode())
            await trio.aclose_forcefully(stream)

        async def opener(_: TTSConfig) -> trio.abc.Stream:
            client, server = memory_connection()
            nursery.start_soon(repeat, server)
            return client

        assert await use(make_config(), opener, spy) == 3
        nursery.cancel_scope.cancel()
    spy.check()


async def test_tls_and_refused_ports(spy: Spy) -> None:
    """P28."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_context)
    async with open_local_server(voice=ToneVoice(), ssl_context=server_context) as server:
        config = make_config(base_url=server.base_url, connect_timeout=0.3)
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
    autojump_clock: trio.testing.MockClock, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28."""

    async def different() -> None:
        async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
            TTSManager(make_config(api_key=API_KEY + "x"), tts._connections)

    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    for wrong in (
        lambda: make_config(api_key=API_KEY + "\n"),
        lambda: make_config(api_key=API_KEY + "ключ"),
        lambda: make_config(api_key=API_KEY.encode()),
        lambda: make_config(output_format="mp3"),
        lambda: make_config().evolve(spares=9),
        lambda: make_config(base_url="http://elevenlabs.example"),
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
