"""How a phrase is stored: a key of all that changes the sound, and bytes of which not one bit may change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import API_KEY, TEXTS, make_config
from tts_trio import PronunciationDictionary, Timeouts, VoiceSettings
from tts_trio.static_text.entry import cache_key, decode, encode
from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.http import stream_request

TIMES = Alignment(tuple("Да. "), (0, 50, 100, 150), (50, 50, 50, 50))
PIECES = (AudioReceived(b"\x00\x01" * 20, TIMES, TIMES), AudioReceived(b"\x02" * 7), AudioReceived(b"", TIMES))
KEY = "0" * 64


def key(text: str = "Да.", base_url: str = "https://api.elevenlabs.io", **changes: Any) -> str:
    context = {name: changes.pop(name) for name in ("previous_text", "next_text", "timed") if name in changes}
    return cache_key(base_url, stream_request(make_config(**changes), text, **context))


CHANGES: list[dict[str, Any]] = [
    {"text": "Да!"},
    {"text": "Да. "},
    {"voice_id": "other"},
    {"model_id": "eleven_multilingual_v2"},
    {"voice_settings": VoiceSettings(stability=0.5)},
    {"voice_settings": VoiceSettings(stability=0.6)},
    {"voice_settings": VoiceSettings(speed=1.1)},
    {"output_format": "ulaw_8000"},
    {"language_code": "ru"},
    {"language_code": "uk"},
    {"seed": 7},
    {"seed": 8},
    {
        "pronunciation_dictionary_locators": [
            PronunciationDictionary(pronunciation_dictionary_id="a", version_id="b"),
        ]
    },
    {"optimize_streaming_latency": 3},
    {"optimize_streaming_latency": None},
    {"apply_text_normalization": "off"},
    {"apply_language_text_normalization": True},
    {"previous_text": "Вы Анна?"},
    {"next_text": "Вы Анна?"},
    {"timed": True},
    {"base_url": "https://api.us.elevenlabs.io"},
    {"base_url": "http://127.0.0.1:8000"},
    {"base_url": "http://127.0.0.1:8000/staging"},
    {"base_url": "http://127.0.0.1:8000/live"},
]


def test_whatever_changes_the_sound_changes_the_key() -> None:
    keys = [key(), *(key(**changes) for changes in CHANGES)]
    assert len(set(keys)) == len(keys)
    assert all(len(one) == 64 for one in keys)


@pytest.mark.parametrize(
    "change",
    [
        {"api_key": "sk_another_key"},
        {"base_url": "wss://api.elevenlabs.io"},
        {"base_url": "https://api.elevenlabs.io/"},
        {"timeouts": Timeouts(connect=9.0)},
    ],
)
def test_what_does_not_change_the_sound_does_not_change_the_key(change: dict[str, Any]) -> None:
    assert key(**change) == key()


def test_a_phrase_comes_back_as_it_was() -> None:
    stored = encode(KEY, PIECES)
    assert decode(KEY, stored) == PIECES
    assert API_KEY.encode() not in stored


def test_not_one_bit_may_change() -> None:
    stored = encode(KEY, PIECES)
    for bit in range(len(stored) * 8):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="checksum"):
            decode(KEY, bytes(flipped))


def test_a_part_is_no_phrase() -> None:
    stored = encode(KEY, PIECES)
    for end in range(len(stored)):
        with pytest.raises(ValueError, match="checksum"):
            decode(KEY, stored[:end])
    with pytest.raises(ValueError, match="checksum"):
        decode(KEY, stored + b"\0")


@pytest.mark.parametrize("language", TEXTS)
def test_the_phrase_of_another_key_is_none(language: str) -> None:
    stored = encode(key(TEXTS[language]), PIECES)
    with pytest.raises(ValueError, match="another key"):
        decode(key(), stored)
