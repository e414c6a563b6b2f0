"""Whatever a client sends, the server answers as a server: nothing of it is an exception."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.helpers.plain import VOICE, PlainHTTP, town
from tts_trio.local_server import Behavior, Ended, LocalServer, ToneVoice
from tts_trio.local_server.account import Account
from tts_trio.local_server.http_api import SpeechAnswer, respond, speak
from tts_trio.local_server.parameters import Request
from tts_trio.local_server.record import as_json
from tts_trio.local_server.sockets import SOCKETS, open_core
from tts_trio.local_server.speech import Order, render
from tts_trio.local_server.utterance import Close

_NAMES = (
    "context_id", "close_context", "close_socket", "keep_alive", "inputs", "voices", "voice_id", "new_turn", "settings",
    "single_use_token", "text", "flush", "try_trigger_generation", "voice_settings", "generation_config",
    "generator_config", "xi_api_key", "authorization", "chunk_length_schedule", "speed", "stability", "model_id",
    "language_code", "seed", "apply_text_normalization", "previous_text", "pronunciation_dictionary_locators",
    "previous_request_ids",
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)


_TEXTS = st.text(st.characters(), max_size=5)  # lone surrogates, too: JSON can spell them
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.just("Привет 42. ")
_DIALOGUE = st.just([{"text": "Раз, два. ", "voice_id": "v"}]) | st.just(["v"])
_JSON = _DIALOGUE | st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=6)


SOCKET_PATHS = [pattern.replace("([^/]*)", "v") for pattern in SOCKETS]


_BEHAVIORS = [
    Behavior(),
    Behavior(early_close="silent_final", late_final=1.0, idle_socket="error", spelling="snake", quota=10),
    Behavior(early_close="nothing", close_socket="obeyed", context_slot="close", concurrency=1, dialogue_sessions=1),
    Behavior(
        idle_context="error", keep_alive_opens=False, over_concurrency="queue", concurrency=1, alignment="overlapping"
    ),
]


@pytest.mark.parametrize("path", SOCKET_PATHS)
@settings(max_examples=200, deadline=None)
@given(st.data(), st.lists(objects(_JSON) | _JSON, max_size=8), st.booleans())
def test_websocket_messages(path: str, data: st.DataObject, messages: list[Any], with_key: bool) -> None:
    """The contexts have few names, so that messages meet; some sockets are begun well, so that more is reached."""
    query = {"output_format": "pcm_8000", "auto_mode": data.draw(st.sampled_from(["true", "false"]))}
    request = Request("GET", path, query, {"xi-api-key": "key"} if with_key else {})
    account = Account(data.draw(st.sampled_from(_BEHAVIORS)))
    socket = open_core(request, account, 0.0)
    assert socket is not None
    for context in data.draw(st.lists(st.sampled_from(["a", "b"]), max_size=2)):
        socket.receive({"context_id": context, "text": "Один. ", "voices": ["v"]}, 0.0)
    for message in messages:
        if isinstance(message, dict) and data.draw(st.booleans()):
            message["context_id"] = data.draw(st.sampled_from(["a", "b", None]))
        socket.receive(message, 0.0)
    now = 0.0
    for _ in range(300):
        if socket.due == math.inf:
            break
        now = max(now, socket.due)
        effect = socket.take(now)
        if isinstance(effect, Order):
            socket.rendered(render(effect, ToneVoice()), now)
        if isinstance(effect, Close):
            break
    else:
        pytest.fail("it never comes to rest")
    socket.gone()
    assert account.generating(now + 60) == 0


@pytest.mark.parametrize("route", ["text-to-speech/v", "text-to-dialogue"])
@settings(max_examples=200, deadline=None)
@given(
    objects(_JSON) | _JSON,
    st.sampled_from(["", "/stream", "/with-timestamps", "/stream/with-timestamps"]),
    st.dictionaries(st.sampled_from(["output_format", "optimize_streaming_latency", "enable_logging"]), st.text()),
)
def test_http_bodies(route: str, body: Any, form: str, query: dict[str, str]) -> None:
    account = Account(Behavior())
    request = Request("POST", f"/v1/{route}{form}", query, {"xi-api-key": "key"}, json.dumps(body).encode())
    answer = respond(request, account, 0.0)
    if isinstance(answer, SpeechAnswer):
        headers, _ = speak(answer, render(answer.order, ToneVoice()), account)
        assert headers
    else:
        assert 400 <= answer.status < 500
        assert "detail" in json.loads(answer.body)


def post(body: bytes, query: str = "", expect: bytes = b"") -> bytes:
    head = f"POST /v1/text-to-speech/v/stream?{query} HTTP/1.1\r\nhost: x\r\nxi-api-key: k\r\n"
    return head.encode() + b"content-length: %d\r\n%s\r\n" % (len(body), expect) + body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n", b"404 Not Found"),
        (b"GET http://[/ HTTP/1.1\r\nhost: x\r\n\r\n", b"404 Not Found"),
        (post(b"[" * 100_000), b"422 "),
        (post(b'{"text": ' * 500 + b"1" + b"}" * 500), b"422 "),
        (post(b'{"text": "Hi", "x": ' + b"[" * 90 + b"]" * 90 + b"}"), b"200 OK"),
        (post(b'{"text": "\\ud800 Hi"}'), b"200 OK"),
        (post(b'{"text": "Hi", "seed": ' + b"1" * 5000 + b"}"), b"422 "),
        (post(b'{"text": "Hi"}', "optimize_streaming_latency=" + "9" * 5000), b"422 "),
        (post(b'{"text": "Hi"}', expect=b"expect: 100-continue\r\n"), b"100 Continue"),
    ],
)
async def test_rude_requests(request_: bytes, status: bytes, autojump_clock: MockClock) -> None:
    """What once ended the server: the next request on the same connection is answered.

    The reason of a 422 is Python's, and has another word since 3.13.
    """
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
@given(st.binary(max_size=200), st.sampled_from(["", "stream-input", "multi-stream-input"]))
async def test_bytes(data: bytes, upgraded: str) -> None:
    async with town() as here:
        if upgraded:
            socket = await here.socket(upgraded)
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
