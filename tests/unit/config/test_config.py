"""`TTSConfig` refuses what cannot be, before any byte is sent, and says which field it was and what would do."""

from __future__ import annotations

import ssl
from typing import Any

import attrs
import pytest

from tests.helpers import API_KEY, make_config
from tts_trio import (
    OUTPUT_FORMATS,
    ConfigurationError,
    PhrasePolicy,
    PronunciationDictionary,
    Timeouts,
    TTSConfig,
    TTSError,
    VoiceSettings,
)
from tts_trio.config.defaults import first_audio_timeout, spare_connections, websocket_endpoint

BAD = [
    ("api_key", "", "missing"),
    ("api_key", "sk_1234\n", "line ends"),
    ("api_key", "ключ", "printable ASCII"),
    ("voice_id", "../../v1/user", "letters, digits"),
    ("voice_id", "a/b", "letters, digits"),
    ("voice_id", "", "letters, digits"),
    ("voice_id", None, "letters, digits"),
    ("model_id", "eleven flash", "a model id"),
    ("language_code", "russian", "ISO 639-1"),
    ("language_code", "RU", "ISO 639-1"),
    ("output_format", "wav_16000", "pcm_16000"),
    ("output_format", "pcm", "pcm_16000"),
    ("voice_settings", {"speed": 1}, "VoiceSettings"),
    ("optimize_streaming_latency", 5, "0 to 4"),
    ("optimize_streaming_latency", True, "0 to 4"),
    ("auto_mode", 1, "True or False"),
    ("chunk_length_schedule", [50], "auto_mode"),
    ("apply_text_normalization", "yes", "auto, on, off"),
    ("apply_text_normalization", "on", "optimize_streaming_latency"),
    ("seed", -1, "0 to 4294967295"),
    ("seed", 2**32, "0 to 4294967295"),
    ("pronunciation_dictionary_locators", ["abc"], "PronunciationDictionary"),
    ("base_url", "ftp://api.elevenlabs.io", "a URL such as"),
    ("base_url", "https://user:password@api.elevenlabs.io", "a URL such as"),
    ("base_url", "api.elevenlabs.io", "a URL such as"),
    ("base_url", "https://api.elevenlabs.io:99999", "a URL such as"),
    ("base_url", "http://api.elevenlabs.io", "allow_plaintext"),
    ("base_url", "ws://192.168.0.7:8080", "allow_plaintext"),
    ("ssl_context", "cert.pem", "SSLContext"),
    ("inactivity_timeout", 181, "5 to 180"),
    ("keep_alive_interval", 200.0, "inactivity_timeout"),
    ("timeouts", 5.0, "of the type Timeouts"),
    ("max_characters", 0, "1 to"),
    ("spares", 4, "0 to 3"),
    ("max_replays", -1, "0 to 10"),
    ("on_lost_connection", "ignore", "resume, raise"),
    ("phrase_policy", "eager", "PhrasePolicy"),
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD)
def test_what_is_not_allowed_is_refused_by_name(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{field}: ") as caught:
        make_config(**{field: value})
    assert allowed in str(caught.value)
    assert caught.value.field == field
    assert isinstance(caught.value, TTSError | ValueError)
    assert not caught.value.retryable


DIALOGUE: list[tuple[dict[str, Any], str, str]] = [
    ({"endpoint": "sse"}, "endpoint", "multi-stream-input"),
    (
        {"endpoint": "text-to-dialogue", "model_id": "eleven_flash_v2_5"},
        "endpoint",
        "text-to-dialogue does not support the model eleven_flash_v2_5",
    ),
    ({"endpoint": "stream-input", "model_id": "eleven_v3"}, "endpoint", "set it to text-to-dialogue"),
    ({"endpoint": "multi-stream-input", "model_id": "eleven_v4_turbo"}, "endpoint", "set it to text-to-dialogue"),
    ({"model_id": "eleven_v3", "auto_mode": False}, "auto_mode", "text-to-dialogue does not support"),
    (
        {"model_id": "eleven_v4", "optimize_streaming_latency": 3},
        "optimize_streaming_latency",
        "leave it at its default, 4",
    ),
    (
        {"model_id": "eleven_v3", "enable_ssml_parsing": True},
        "enable_ssml_parsing",
        "text-to-dialogue does not support",
    ),
    ({"model_id": "eleven_v3", "inactivity_timeout": 60}, "inactivity_timeout", "text-to-dialogue does not support"),
    (
        {"model_id": "eleven_v3", "keep_alive_interval": 20.0},
        "keep_alive_interval",
        "must be below 20, text-to-dialogue",
    ),
    ({"model_id": "eleven_v4", "voice_settings": VoiceSettings(speed=1.1)}, "voice_settings", "stability"),
    ({"model_id": "eleven_v3", "voice_settings": VoiceSettings(clone_strength=0.1)}, "voice_settings", "v4 models"),
    ({"voice_settings": VoiceSettings(clone_strength=0.1)}, "voice_settings", "v4 models"),
]


@pytest.mark.parametrize(("changes", "field", "allowed"), DIALOGUE)
def test_what_an_endpoint_does_not_know_is_refused(changes: dict[str, Any], field: str, allowed: str) -> None:
    """P20: it would be ignored by the service, or refused when the first words are to be heard."""
    with pytest.raises(ConfigurationError, match=f"^{field}: ") as caught:
        make_config(**changes)
    assert allowed in str(caught.value)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "chosen", "spares"),
    [
        ({}, "stream-input", 1),
        ({"endpoint": "multi-stream-input"}, "multi-stream-input", 1),
        ({"model_id": "eleven_v3_conversational"}, "text-to-dialogue", 0),
        ({"model_id": "eleven_v4_turbo", "spares": 2}, "text-to-dialogue", 2),
        ({"model_id": "eleven_next"}, "stream-input", 1),
    ],
)
def test_the_model_chooses_the_endpoint(changes: dict[str, Any], chosen: str, spares: int) -> None:
    config = make_config(**changes)
    assert (websocket_endpoint(config), spare_connections(config)) == (chosen, spares)


GOOD: list[tuple[str, Any]] = [
    ("base_url", "http://localhost:8765"),
    ("base_url", "ws://127.0.0.1:1"),
    ("base_url", "http://[::1]:80/prefix"),
    ("base_url", "wss://api.eu.residency.elevenlabs.io"),
    ("chunk_length_schedule", None),
    ("voice_settings", VoiceSettings(speed=1.2, stability=0)),
    ("ssl_context", ssl.create_default_context()),
    ("phrase_policy", PhrasePolicy.eager()),
    ("seed", 0),
]


@pytest.mark.parametrize(("field", "value"), GOOD)
def test_what_is_allowed(field: str, value: Any) -> None:
    assert getattr(make_config(**{field: value}), field) == value


def test_plaintext_can_be_allowed() -> None:
    config = make_config(base_url="http://tts.internal", allow_plaintext=True)
    assert config.base_url == "http://tts.internal"


@pytest.mark.parametrize(
    "settings",
    [{"stability": 1.1}, {"similarity_boost": -0.1}, {"style": 2}, {"speed": 0.5}, {"use_speaker_boost": 1}],
)
def test_voice_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        VoiceSettings(**settings)
    assert caught.value.field == next(iter(settings))


def test_the_key_is_not_shown() -> None:
    assert API_KEY not in repr(make_config())
    assert API_KEY not in str(attrs.fields(TTSConfig))
    with pytest.raises(ConfigurationError) as caught:
        make_config(api_key=API_KEY + "\r\n")
    assert API_KEY not in repr(caught.value) + str(caught.value)


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", "voice")
    with pytest.raises(ConfigurationError, match="api_key: it is missing"):
        TTSConfig.from_env()
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_LANGUAGE_CODE", "ru")
    monkeypatch.setenv("ELEVENLABS_MODEL_ID", "eleven_turbo_v2_5")
    monkeypatch.setenv("ELEVENLABS_BASE_URL", "https://api.us.elevenlabs.io")
    config = TTSConfig.from_env(output_format="ulaw_8000")
    assert (config.api_key, config.voice_id, config.language_code) == (API_KEY, "voice", "ru")
    assert (config.model_id, config.output_format) == ("eleven_turbo_v2_5", "ulaw_8000")
    assert config.base_url == "https://api.us.elevenlabs.io"
    monkeypatch.delenv("ELEVENLABS_VOICE_ID")
    with pytest.raises(ConfigurationError, match="voice_id: it is missing"):
        TTSConfig.from_env()
    assert TTSConfig.from_env(voice_id="other").voice_id == "other"


def test_evolve_checks_too() -> None:
    config = make_config()
    assert config.evolve(voice_id="other").voice_id == "other"
    with pytest.raises(ConfigurationError, match="voice_id"):
        config.evolve(voice_id="/")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.voice_id = "other"  # type: ignore[misc]


def test_opus_cannot_be_resumed() -> None:
    with pytest.raises(ConfigurationError, match="on_lost_connection"):
        make_config(output_format="opus_48000_64")
    config = make_config(output_format="opus_48000_64", on_lost_connection="raise")
    assert config.format is OUTPUT_FORMATS["opus_48000_64"]


def test_a_slow_model_gets_more_time() -> None:
    assert first_audio_timeout(make_config()) == 2
    assert first_audio_timeout(make_config(model_id="eleven_v3")) == 5
    assert first_audio_timeout(make_config(model_id="eleven_v3", timeouts=Timeouts(first_audio=1))) == 1


def test_dictionaries() -> None:
    locator = PronunciationDictionary(pronunciation_dictionary_id="abc", version_id="1")
    assert (
        make_config(pronunciation_dictionary_locators=[locator] * 3).pronunciation_dictionary_locators == (locator,) * 3
    )
    with pytest.raises(ConfigurationError, match="at most 3"):
        make_config(pronunciation_dictionary_locators=[locator] * 4)
