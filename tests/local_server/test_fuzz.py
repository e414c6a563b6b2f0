"""Whatever a client sends, the server answers as a server: nothing of it is an exception."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.local_server.plain import VOICE, PlainHTTP, town
from tts_trio.local_server import Behaviour, Ended, ToneVoice
from tts_trio.local_server.account import Account
from tts_trio.local_server.http_api import SpeechAnswer, respond, speak
from tts_trio.local_server.parameters import Request, parse_websocket
from tts_trio.local_server.speech import Order, render
from tts_trio.local_server.stream_input import Close, StreamInput

_NAMES = (
    "text", "flush", "try_trigger_generation", "voice_settings", "generation_config", "generator_config",
    "xi_api_key", "authorization", "chunk_length_schedule", "speed", "stability", "model_id", "language_code", "seed",
    "apply_text_normalization", "previous_text", "pronunciation_dictionary_locators", "previous_request_ids",
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("Привет 42. ")
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
