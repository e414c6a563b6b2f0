"""The v3 and v4 models by their defaults: what they do not take is not sent, or refused before it is."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from tests.helpers import API_KEY, ENGLISH, RUSSIAN, VOICE_ID, heard, listen, make_config, memory_service, speaking
from tts_trio import (
    ConfigurationError,
    MemoryCache,
    Timeouts,
    TTSConfig,
    TTSManager,
    VoiceSettings,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault
from tts_trio.local_server.errors import ServiceError
from tts_trio.static_text.driver import StaticTextRequest
from tts_trio.text import speakable
from tts_trio.text.audio_tags import visible
from tts_trio.wire.http import stream_request

DIALOGUE_MODELS = ["eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo"]


def of(model_id: str, **changes: Any) -> TTSConfig:
    values = {"api_key": API_KEY, "voice_id": VOICE_ID, "base_url": "http://127.0.0.1", "model_id": model_id}
    return TTSConfig(**values | {"spares": 1} | changes)


@pytest.mark.parametrize("text", ["Your order is ready.", "Ваш заказ готов."])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("model_id", DIALOGUE_MODELS)
async def test_by_its_defaults(autojump_clock: trio.testing.MockClock, model_id: str, timed: bool, text: str) -> None:
    """P20: a static text, a prefetched one, and a reply are spoken; `optimize_streaming_latency` is not sent."""
    config = of(model_id, audio_cache=MemoryCache(), static_timestamps=timed)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch([text])
        for way in (tts.stream_static_text(text), tts.stream_static_text(f"{text} 2"), tts.speak([text])):
            async with way as audio:
                assert heard(await listen(audio), config).startswith(text)


@pytest.mark.parametrize("text", ["Your order is ready.", "Ваш заказ готов."])
@pytest.mark.parametrize("model_id", DIALOGUE_MODELS)
async def test_fallback(autojump_clock: trio.testing.MockClock, model_id: str, text: str) -> None:
    """P13: where there is no WebSocket, a reply of these models is spoken over HTTP, too."""
    config = of(model_id, fallback="http", timeouts=Timeouts(connect=1.0))
    no_sockets = Behavior(faults=(Fault("eof", "answer", path="*-input"),))
    async with memory_service(no_sockets) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, tts.speak([text]) as audio:
                assert heard(await listen(audio), config) == text


@pytest.mark.parametrize("model_id", DIALOGUE_MODELS)
def test_the_latency_option_is_not_for_them(model_id: str) -> None:
    """P20: the default is not sent; another value is refused by its field."""
    for given in ({}, {"optimize_streaming_latency": 4}, {"optimize_streaming_latency": None}):
        assert "optimize_streaming_latency" not in stream_request(of(model_id, **given), "Да.").path
    for value in (0, 1, 2, 3):
        with pytest.raises(ConfigurationError, match=f"^optimize_streaming_latency: {model_id} does not"):
            of(model_id, optimize_streaming_latency=value)
    for choice in ("on", "off", "auto"):  # nothing contradicts the normalizer then
        assert of(model_id, apply_text_normalization=choice).apply_text_normalization == choice
    query = parse_qs(urlsplit(stream_request(make_config(), "Да.").path).query)
    assert query["optimize_streaming_latency"] == ["4"]


async def test_stability_of_v3(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """P20: 0.0, 0.5 and 1.0 over HTTP; over the WebSocket nobody knows, so others are warned of once."""
    for stability in (0, 0.0, 0.5, 1, 1.0, None):
        stream_request(of("eleven_v3", voice_settings=VoiceSettings(stability=stability), fallback="http"), "Да.")
    assert not caplog.records
    for _ in range(2):
        config = of("eleven_v3", voice_settings=VoiceSettings(stability=0.3))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ConfigurationError, match=r"voice_settings: stability 0\.3 is not .* 0\.0, 0\.5"):
            tts.stream_static_text("Да.")
        with pytest.raises(ConfigurationError, match=r"voice_settings: stability 0\.7"):
            tts.stream_static_text("Да.", settings=VoiceSettings(stability=0.7))
        async with tts.stream_static_text("Да.", settings=VoiceSettings(stability=0.5)) as audio:
            assert heard(await listen(audio), config) == "Да."
    with pytest.raises(ConfigurationError, match=r"voice_settings: stability 0\.3"):
        of("eleven_v3", voice_settings=VoiceSettings(stability=0.3), fallback="http")
    assert of("eleven_v4", voice_settings=VoiceSettings(stability=0.3)).voice_settings is not None


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, "x" * 300, "short", "", ENGLISH[:100], ENGLISH[:101]])
def test_context_of_v4(text: str) -> None:
    """P20: of up to 100 characters each, in whole words, nearest to the text; for other models as it was given."""
    body = json.loads(stream_request(of("eleven_v4"), "Да.", previous_text=text, next_text=text).body)
    before, after = body.get("previous_text", ""), body.get("future_text", "")
    assert max(len(before), len(after)) <= 100
    assert min(len(before), len(after)) >= min(len(text), 80)
    assert text.endswith(before)
    assert text.startswith(after)
    if " " in text:
        assert f" {text}".endswith(f" {before}")
        assert f"{text} ".startswith(f"{after} ")
    body = json.loads(stream_request(make_config(), "Да.", previous_text=text, next_text=text).body)
    assert (body.get("previous_text", ""), body.get("next_text", "")) == (text, text)


def test_long_texts_of_v4(caplog: pytest.LogCaptureFixture) -> None:
    """Over 2,000 characters the service only advises against, so it is warned of once."""
    StaticTextRequest.checked(of("eleven_v4"), "Да! " * 500)
    assert not caplog.records
    for _ in range(2):
        StaticTextRequest.checked(of("eleven_v4"), "Да! " * 501)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    StaticTextRequest.checked(make_config(), "Да! " * 501)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["[laughs]", "[clears throat] …", "[смеётся] [вздыхает]!", " [sighs]\n"])
@pytest.mark.parametrize("model_id", DIALOGUE_MODELS)
async def test_tags_alone_are_no_text(autojump_clock: trio.testing.MockClock, model_id: str, text: str) -> None:
    """P3: the service refuses them (`input_text_empty`), so they are not sent; a reply of them ends, and is silent."""
    config = of(model_id)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ConfigurationError, match=r"^text: nothing in it can be spoken"):
            tts.stream_static_text(text)
        async with tts.speak([text]) as audio:
            assert await listen(audio) == b""
        assert audio.outcome is not None
        assert audio.outcome.end == "finished"
        async with tts.speak([text, " Хорошо, all right."]) as audio:
            assert heard(await listen(audio), config).endswith("Хорошо, all right.")
        async with tts.speak(["Well.", " ", text]) as audio:
            assert heard(await listen(audio), config) == "Well."
        for socket in range(len(service.sockets())):
            for _, line in service.texts(socket):
                assert not line.strip() or speakable(visible(line)), line


async def test_tags_are_text_to_other_models(autojump_clock: trio.testing.MockClock) -> None:
    """Which read them aloud."""
    config = make_config()
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text("[laughs]") as audio:
            assert heard(await listen(audio), config) == "[laughs]"


async def test_a_parameter_that_the_socket_refuses(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P25, P26: the frame names the parameter, and so does the error, which no retry mends."""
    frame = {"message": "Input at position 0 is empty.", "error": "invalid_parameters", "param": "text", "code": 1008}
    monkeypatch.setattr(ServiceError, "frame", lambda _error: frame)
    config = of("eleven_v3_conversational")
    async with memory_service(Behavior(faults=(Fault("error_frame", "audio"),))) as service:
        async with speaking(config, service.open_stream) as tts:
            with pytest.raises(ConfigurationError, match=r"^text: Input at position 0 is empty\. ") as caught:
                async with tts.speak(["Да."]) as audio:
                    await listen(audio)
        assert (caught.value.field, caught.value.code) == ("text", "invalid_parameters")
        assert len([text for socket in range(len(service.sockets())) for _, text in service.texts(socket) if text]) == 1
