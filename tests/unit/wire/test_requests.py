"""What is written: every option reaches the wire, at the place where the service reads it (P20)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from elevenlabs import types as sdk

from tests.helpers import ENGLISH, RUSSIAN, VOICE_ID, make_config
from tts_trio import PronunciationDictionary, VoiceSettings
from tts_trio.wire import endpoint_for
from tts_trio.wire.http import stream_request

DICTIONARY = PronunciationDictionary(pronunciation_dictionary_id="dict", version_id="v1")


def query_of(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query, strict_parsing=True).items()}


def test_the_defaults_of_stream_input() -> None:
    path = endpoint_for(make_config()).path()
    assert urlsplit(path).path == f"/v1/text-to-speech/{VOICE_ID}/stream-input"
    assert query_of(path) == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_16000",
        "auto_mode": "true",
        "sync_alignment": "true",
        "inactivity_timeout": "180",
        "enable_logging": "true",
        "enable_ssml_parsing": "false",
    }
    assert json.loads(endpoint_for(make_config()).begin(None)) == {"text": " "}


PER_SOCKET: list[tuple[dict[str, Any], str, str]] = [
    ({"model_id": "eleven_multilingual_v2"}, "model_id", "eleven_multilingual_v2"),
    ({"language_code": "ru"}, "language_code", "ru"),
    ({"output_format": "ulaw_8000"}, "output_format", "ulaw_8000"),
    ({"auto_mode": False}, "auto_mode", "false"),
    ({"sync_alignment": False}, "sync_alignment", "false"),
    ({"apply_text_normalization": "off"}, "apply_text_normalization", "off"),
    ({"apply_language_text_normalization": True}, "apply_language_text_normalization", "true"),
    ({"enable_ssml_parsing": True}, "enable_ssml_parsing", "true"),
    ({"seed": 0}, "seed", "0"),
    ({"enable_logging": False}, "enable_logging", "false"),
    ({"inactivity_timeout": 60}, "inactivity_timeout", "60"),
]


@pytest.mark.parametrize(("changes", "name", "value"), PER_SOCKET)
def test_options_of_a_socket(changes: dict[str, Any], name: str, value: str) -> None:
    assert query_of(endpoint_for(make_config(**changes)).path())[name] == value


def test_the_init_frame_carries_what_the_address_cannot() -> None:
    config = make_config(
        voice_settings=VoiceSettings(stability=0.4, use_speaker_boost=False),
        auto_mode=False,
        chunk_length_schedule=[50, 120],
        pronunciation_dictionary_locators=[DICTIONARY],
    )
    assert json.loads(endpoint_for(config).begin(None)) == {
        "text": " ",
        "voice_settings": {"stability": 0.4, "use_speaker_boost": False},
        "generation_config": {"chunk_length_schedule": [50, 120]},
        "pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "dict", "version_id": "v1"}],
    }


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, 'Он сказал: "да".\n\\ 🙂'])
def test_text_arrives_as_it_is(text: str) -> None:
    assert json.loads(endpoint_for(make_config()).text(None, text)) == {"text": text}
    assert json.loads(stream_request(make_config(), text).body)["text"] == text


def test_the_marks() -> None:
    endpoint = endpoint_for(make_config())
    assert json.loads(endpoint.keep_alive(None)) == {"text": " "}
    assert json.loads(endpoint.end(None) or "") == {"text": ""}
    assert endpoint.close(None) is None


def test_the_official_types_read_our_frames() -> None:
    settings = VoiceSettings(stability=0.4, similarity_boost=0.5, style=0.1, use_speaker_boost=True, speed=1.1)
    endpoint = endpoint_for(make_config(voice_settings=settings))
    parsed = sdk.InitializeConnection.model_validate(json.loads(endpoint.begin(None)))
    assert parsed.text == " "
    assert parsed.voice_settings is not None
    assert parsed.voice_settings.speed == 1.1
    assert sdk.SendText.model_validate(json.loads(endpoint.text(None, RUSSIAN))).text == RUSSIAN
    assert sdk.CloseConnection.model_validate(json.loads(endpoint.goodbye)).text == ""


MULTI_SETTINGS = VoiceSettings(stability=0.4, speed=1.1)


def test_the_official_types_read_the_frames_of_multi_stream_input() -> None:
    config = make_config(
        endpoint="multi-stream-input", voice_settings=MULTI_SETTINGS, pronunciation_dictionary_locators=[DICTIONARY]
    )
    endpoint = endpoint_for(config)
    assert urlsplit(endpoint.path()).path == f"/v1/text-to-speech/{VOICE_ID}/multi-stream-input"
    assert query_of(endpoint.path()) == query_of(endpoint_for(make_config()).path())
    begin = sdk.InitializeConnectionMulti.model_validate_json(endpoint.begin("1"))
    assert (begin.text, begin.context_id) == (" ", "1")
    assert begin.voice_settings is not None
    assert (begin.voice_settings.stability, begin.voice_settings.speed) == (0.4, 1.1)
    assert begin.pronunciation_dictionary_locators is not None
    assert begin.pronunciation_dictionary_locators[0].pronunciation_dictionary_id == "dict"
    for text in (ENGLISH, RUSSIAN):
        said = sdk.SendTextMulti.model_validate_json(endpoint.text("1", text))
        assert (said.text, said.context_id) == (text, "1")
    flush = sdk.FlushContext.model_validate_json(endpoint.end("1") or "")
    assert (flush.context_id, flush.flush) == ("1", True)
    close = sdk.CloseContext.model_validate_json(endpoint.close("1") or "")
    assert (close.context_id, close.close_context) == ("1", True)
    assert sdk.KeepContextAlive.model_validate_json(endpoint.keep_alive("1")).context_id == "1"
    assert sdk.CloseSocket.model_validate_json(endpoint.goodbye).close_socket is True


def test_the_official_types_read_the_frames_of_text_to_dialogue() -> None:
    config = make_config(
        model_id="eleven_v4_turbo",
        voice_settings=VoiceSettings(stability=0.4, clone_strength=0.2),
        pronunciation_dictionary_locators=[DICTIONARY],
        language_code="ru",
        seed=7,
    )
    endpoint = endpoint_for(config)
    assert urlsplit(endpoint.path()).path == "/v1/text-to-dialogue/multi-stream-input"
    assert query_of(endpoint.path()) == {
        "model_id": "eleven_v4_turbo",
        "output_format": "pcm_16000",
        "sync_alignment": "true",
        "enable_logging": "true",
        "language_code": "ru",
        "seed": "7",
    }
    message = sdk.TextToDialogueWebsocketClientMessageMulti
    begin = message.model_validate_json(endpoint.begin("1"))
    assert (begin.context_id, begin.voices) == ("1", [VOICE_ID])
    assert begin.voice_settings is not None
    assert (begin.voice_settings.stability, begin.voice_settings.clone_strength) == (0.4, 0.2)
    assert begin.pronunciation_dictionary_locators is not None
    for text in (ENGLISH, RUSSIAN):
        said = message.model_validate_json(endpoint.text("1", text))
        assert said.inputs is not None
        assert [(line.text, line.voice_id) for line in said.inputs] == [(text, VOICE_ID)]
        assert (said.context_id, said.flush) == ("1", True)
    assert endpoint.end("1") is None
    assert message.model_validate_json(endpoint.close("1") or "").close_context is True
    keep_alive = message.model_validate_json(endpoint.keep_alive("1"))
    assert (keep_alive.context_id, keep_alive.keep_alive) == ("1", True)
    assert message.model_validate_json(endpoint.goodbye).close_socket is True


def test_the_defaults_of_a_static_text() -> None:
    request = stream_request(make_config(), RUSSIAN)
    assert urlsplit(request.path).path == f"/v1/text-to-speech/{VOICE_ID}/stream"
    assert query_of(request.path) == {
        "output_format": "pcm_16000",
        "optimize_streaming_latency": "4",
        "enable_logging": "true",
    }
    assert json.loads(request.body) == {"text": RUSSIAN, "model_id": "eleven_flash_v2_5"}


def test_options_of_a_static_text() -> None:
    config = make_config(
        optimize_streaming_latency=None,
        language_code="ru",
        voice_settings=VoiceSettings(speed=0.9),
        pronunciation_dictionary_locators=[DICTIONARY],
        seed=7,
        apply_text_normalization="on",
        apply_language_text_normalization=True,
        enable_logging=False,
    )
    request = stream_request(config, ENGLISH)
    assert query_of(request.path) == {"output_format": "pcm_16000", "enable_logging": "false"}
    assert json.loads(request.body) == {
        "text": ENGLISH,
        "model_id": "eleven_flash_v2_5",
        "language_code": "ru",
        "voice_settings": {"speed": 0.9},
        "pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "dict", "version_id": "v1"}],
        "seed": 7,
        "apply_text_normalization": "on",
        "apply_language_text_normalization": True,
    }


def test_static_texts_of_the_v4_models_are_dialogues() -> None:
    config = make_config(
        model_id="eleven_v4_turbo", language_code="ru", voice_settings=VoiceSettings(stability=0.3), seed=1
    )
    request = stream_request(config, RUSSIAN, previous_text="Так.", next_text="Ещё.")
    assert urlsplit(request.path).path == "/v1/text-to-dialogue/stream"
    assert query_of(request.path) == {"output_format": "pcm_16000", "enable_logging": "true"}
    assert json.loads(request.body) == {
        "inputs": [{"text": RUSSIAN, "voice_id": VOICE_ID}],
        "model_id": "eleven_v4_turbo",
        "language_code": "ru",
        "settings": {"stability": 0.3},
        "seed": 1,
        "previous_text": "Так.",
        "future_text": "Ещё.",
    }
    timed = stream_request(config, ENGLISH, timed=True)
    assert urlsplit(timed.path).path == "/v1/text-to-dialogue/stream/with-timestamps"
