"""The service for hundreds of calls: what it says, and when."""

from __future__ import annotations

import base64
import json

import pytest

from benchmarks.service.replay import SHAPES, message


@pytest.mark.parametrize("text", ["Hell", "Добр"])
def test_a_message_of_pcm_is_what_the_service_sends(text: str) -> None:
    """8,000 bytes of sound are 11 KB of JSON, with the times of its characters."""
    content = message(SHAPES["pcm_16000"], text, 0)
    said = json.loads(content)
    assert len(base64.b64decode(said["audio"])) == 8000
    assert 10_900 < len(content) < 11_500
    assert said["alignment"]["chars"] == list(text)
    assert said["alignment"]["charStartTimesMs"] == [0, 62, 125, 188]


def test_a_message_of_telephony_is_20_ms_long() -> None:
    said = json.loads(message(SHAPES["ulaw_8000"], "", 0))
    assert len(base64.b64decode(said["audio"])) == 160
    assert said["alignment"]["chars"] == []
