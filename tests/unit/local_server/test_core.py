"""The core of stream-input without trio, without a stream and without a clock: times go in and come out."""

from __future__ import annotations

import math

import attrs
import pytest

from tts_trio.local_server import Behavior, ToneVoice
from tts_trio.local_server.account import Account
from tts_trio.local_server.parameters import Request, parse_websocket
from tts_trio.local_server.sockets import StreamInput
from tts_trio.local_server.speech import Order, render
from tts_trio.local_server.utterance import Close, Effect, Send


def core(behavior: Behavior | None = None, now: float = 0.0, **query: str) -> StreamInput:
    query = {"model_id": "eleven_flash_v2_5", "output_format": "pcm_16000", **query}
    request = Request("GET", "/v1/text-to-speech/v/stream-input", query, {"xi-api-key": "key"})
    account = Account(behavior or Behavior())
    return StreamInput(request, parse_websocket(request, "v", account.behavior), account, now)


def play(socket: StreamInput, until: float) -> list[Effect]:
    """Fulfil orders at once, and take everything up to a time, at the moments when it is due."""
    effects: list[Effect] = []
    now = 0.0
    while socket.due <= until:
        now = max(now, socket.due)
        effect = socket.take(now)
        if isinstance(effect, Order):
            socket.rendered(render(effect, ToneVoice()), now)
        elif effect is not None:
            effects.append(effect)
            if isinstance(effect, Close):
                break
    return effects


@pytest.mark.parametrize("text", ["One, two. ", "Раз, два. "])
def test_an_utterance(text: str) -> None:
    socket = core()
    for message in ({"text": " "}, {"text": text}, {"text": ""}):
        socket.receive(message, 0.0)
    effects = play(socket, 10)
    assert [type(effect).__name__ for effect in effects] == ["Send", "Send", "Send", "Close"]
    assert [effect.kind for effect in effects if isinstance(effect, Send)] == ["audio", "audio", "final"]
    assert [effect.at for effect in effects if not isinstance(effect, Order)] == pytest.approx([0.075] * 3 + [0.835])
    assert isinstance(effects[0], Send)
    assert effects[0].text == text


def test_segments_are_generated_one_after_the_other() -> None:
    socket = core(auto_mode="true")
    for text in ("a" * 48, "b" * 48):  # 50 characters of 60 ms with their blanks: 3 s, two slices
        socket.receive({"text": text}, 1.0)
    effects = play(socket, 10)
    assert [effect.at for effect in effects if isinstance(effect, Send)] == pytest.approx(
        [1.075, 1.15, 1.225, 1.3], abs=1e-6
    )


def test_speech_that_comes_late_is_late() -> None:
    socket = core(auto_mode="true")
    socket.receive({"text": "Hi"}, 0.0)
    order = socket.take(0.0)
    assert isinstance(order, Order)
    socket.rendered(render(order, ToneVoice()), 0.5)
    assert socket.due == 0.5


def test_an_error_drops_what_was_to_be_said() -> None:
    socket = core(auto_mode="true")
    socket.receive({"text": "Hi"}, 0.0)
    order = socket.take(0.0)
    assert isinstance(order, Order)
    socket.receive({"text": 5}, 0.01)
    socket.rendered(render(order, ToneVoice()), 0.02)
    effects = play(socket, 10)
    assert [effect.kind for effect in effects if isinstance(effect, Send)] == ["error"]


def test_an_idle_socket() -> None:
    socket = core(inactivity_timeout="7", now=100.0)
    assert socket.due == 107.0
    socket.receive({"text": " "}, 103.0)
    assert socket.due == 110.0
    socket.receive({"flush": True}, 104.0)
    assert socket.due == 110.0
    socket.receive({"text": ""}, 105.0)
    assert isinstance(socket.take(105.0), Send)
    assert socket.due == pytest.approx(105.76)
    assert isinstance(socket.take(106.0), Close)
    assert socket.due == math.inf


def test_a_reason_fits_into_a_close() -> None:
    error, close = play(core(inactivity_timeout="7"), 10)
    assert isinstance(error, Send)
    assert isinstance(close, Close)
    assert len(close.reason.encode()) == 123
    assert error.message["message"].startswith(close.reason)


def test_the_account_counts_what_runs() -> None:
    account = Account(Behavior(concurrency=1, over_concurrency="queue"))
    first = account.occupy(0.0, 1.0, now=0.0)
    assert account.admit(0.5) == pytest.approx(1.05)
    account.occupy(1.05, 2.0, now=0.5)
    assert account.admit(0.5) == pytest.approx(2.05)
    assert [account.generating(at) for at in (0.5, 1.02, 1.5, 2.5)] == [1, 0, 1, 0]
    account.free(first)
    assert account.admit(0.5) == 0.5


def test_continuous_codecs_go_through_one_encoder() -> None:
    for output_format, continuous in (("mp3_44100_128", True), ("opus_48000_64", True), ("ulaw_8000", False)):
        socket = core(output_format=output_format, auto_mode="true")
        socket.receive({"text": "Hi"}, 0.0)
        order = socket.take(0.0)
        assert isinstance(order, Order)
        assert (order.encoder is not None) == continuous
        assert order == attrs.evolve(order, encoder=None), "the encoder makes no difference to what is said"
