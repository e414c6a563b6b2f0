"""Whatever a client sends, the server answers as a server: nothing of it is an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.local_server.plain import VOICE, PlainHTTP, town
from tts_trio.local_server import Behaviour, Ended, LocalServer, ToneVoice
from tts_trio.local_server.account import Account
from tts_trio.local_server.http_api import SpeechAnswer, respond, speak
from tts_trio.local_server.messages import Close
from tts_trio.local_server.parameters import Request, parse_websocket
from tts_trio.local_server.record import as_json
from tts_trio.local_server.speech import Order, render
from tts_trio.local_server.stream_input import StreamInput

_NAMES = (
    "text", "flush", "try_trigger_generation", "voice_settings", "generation_config", "generator_config",
    "xi_api_key", "authorization", "chunk_length_schedule", "speed", "stability", "model_id", "language_code", "seed",
    "apply_text_normalization", "previous_text", "pronunciation_dictionary_locators", "previous_request_ids",
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)


_TEXTS = st.text(st.characters(), max_size=5)  # lone surrogates, too: JSON can spell them
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.just("Привет 42. ")
_JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(objects(_JSON) | _JSON, max_size=5), st.booleans(), st.booleans())
def test_websocket_messages(messages: list[Any], auto_mode: bool, with_key: bool) -> None:
    query = {"output_format": "pcm_8000", "auto_mode": str(auto_mode).lower()}
    request = Request("GET", "/", query, {"xi-api-key": "key"} if with_key else {})
    account = Account(Behaviour())
    socket = StreamInput(request, parse_websocket(request, "v", account.behaviour), account, 0.0)
    for message in messages:
        socket.receive(json.dumps(message), 0.0)
    effect: object = None
    while not isinstance(effect, Close):
        effect = socket.take(max(0.0, socket.due))
        if isinstance(effect, Order):
            socket.rendered(render(effect, ToneVoice()), 0.0)


@settings(max_examples=200, deadline=None)
@given(
    objects(_JSON) | _JSON,
    st.sampled_from(["", "/stream", "/with-timestamps", "/stream/with-timestamps"]),
    st.dictionaries(st.sampled_from(["output_format", "optimize_streaming_latency", "enable_logging"]), st.text()),
)
def test_http_bodies(body: Any, form: str, query: dict[str, str]) -> None:
    account = Account(Behaviour())
    request = Request("POST", f"/v1/text-to-speech/v{form}", query, {"xi-api-key": "key"}, json.dumps(body).encode())
    answer = respond(request, account, 0.0)
    if isinstance(answer, SpeechAnswer):
        assert speak(answer, render(answer.order, ToneVoice()), account).headers
    else:
        assert 400 <= answer.status < 500
        assert "detail" in json.loads(answer.body)


def post(body: bytes, query: str = "", expect: bytes = b"") -> bytes:
    head = f"POST /v1/text-to-speech/v/stream?{query} HTTP/1.1\r\nhost: x\r\nxi-api-key: k\r\n"
    return head.encode() + b"content-length: %d\r\n%s\r\n" % (len(body), expect) + body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", b"404 Not Found"),
        (b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n", b"404 Not Found"),
        (b"GET http://[/ HTTP/1.1\r\nhost: x\r\n\r\n", b"404 Not Found"),
        (post(b"[" * 100_000), b"422 Unprocessable Entity"),
        (post(b'{"text": ' * 500 + b"1" + b"}" * 500), b"422 Unprocessable Entity"),
        (post(b'{"text": "Hi", "x": ' + b"[" * 90 + b"]" * 90 + b"}"), b"200 OK"),
        (post(b'{"text": "\\ud800 Hi"}'), b"200 OK"),
        (post(b'{"text": "Hi", "seed": ' + b"1" * 5000 + b"}"), b"422 Unprocessable Entity"),
        (post(b'{"text": "Hi"}', "optimize_streaming_latency=" + "9" * 5000), b"422 Unprocessable Entity"),
        (post(b'{"text": "Hi"}', expect=b"expect: 100-continue\r\n"), b"100 Continue"),
    ],
)
async def test_rude_requests(request_: bytes, status: bytes, autojump_clock: MockClock) -> None:
    """What once ended the server: the next request on the same connection is answered."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        server = LocalServer(voice=ToneVoice(), record=lambda record: log.append(as_json(record)))
        stream = server.connect(nursery)
        await stream.send_all(request_)
        answer = b""
        with trio.move_on_after(0.5):
            while True:
                answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 " + status)
        await stream.send_all(b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 404 Not Found\r\n")
        nursery.cancel_scope.cancel()
    assert log


async def test_rude_messages(autojump_clock: MockClock) -> None:
    async with town() as here:
        for message, kind in (("[" * 100_000, "error"), ('{"text": "\\ud800 Hi", "flush": true}', "audio")):
            socket = await here.socket()
            await socket.send(message)
            assert (await socket.hear()).kind == kind
        socket = await here.socket(seed="9" * 5000)
        assert socket.rejection is not None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.booleans())
async def test_bytes(data: bytes, upgraded: bool) -> None:
    async with town() as here:
        if upgraded:
            socket = await here.socket()
            stream = socket.stream
        else:
            stream = PlainHTTP(here.server.connect(here.nursery)).stream
        await stream.send_all(data)
        await stream.send_eof()  # type: ignore[attr-defined]
        while await stream.receive_some():
            pass
        assert isinstance(here.server.records[-1], Ended)
        reply = await here.http().call("GET", f"/v1/text-to-speech/{VOICE}")
        assert reply is not None
        assert reply.status == 405
