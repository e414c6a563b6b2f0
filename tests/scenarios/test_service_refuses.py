"""What the service refuses, end to end: the client does not send it, or says what was refused, and why.

What the v3 and v4 models alone refuse is in `test_models.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.helpers import API_KEY, TEXTS, VOICE_ID, heard, listen, memory_service, posts, speaking
from tts_trio import ConfigurationError, PolicyError, TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.local_server import Behavior

every_language = pytest.mark.parametrize("language", ["en", "ru"])


def default(model_id: str = "eleven_flash_v2_5", **changes: Any) -> TTSConfig:
    values = {"api_key": API_KEY, "voice_id": VOICE_ID, "base_url": "http://127.0.0.1", "model_id": model_id}
    return TTSConfig(**values | changes)


async def refusal(behavior: Behavior, config: TTSConfig, text: str) -> tuple[ConfigurationError, int]:
    """What a static text raises, and how many requests were made for it."""
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ConfigurationError) as raised:
            async with tts.stream_static_text(text) as audio:
                await listen(audio)
        return raised.value, len(posts(service.server))


@every_language
@pytest.mark.parametrize("code", ["max_character_limit_exceeded", "text_too_long"])
async def test_a_text_above_the_limit(autojump_clock: trio.testing.MockClock, code: Any, language: str) -> None:
    """A tenth above the documented limit is spoken; one character more is the caller's error, asked once."""
    text = (TEXTS[language] * 40)[:5_500]
    text = text[:-1] + "."
    config = default("eleven_v3", max_characters=6_000, apply_text_normalization="off")
    async with (
        memory_service(Behavior(speed=1000.0)) as service,
        speaking(config, service.open_stream) as tts,
        tts.stream_static_text(text) as audio,
    ):
        assert heard(await listen(audio), config) == " ".join(text.split())
    error, asked = await refusal(Behavior(too_long_code=code), config, text + ".")
    assert (error.code, error.status, asked) == (code, 400, 1)


async def test_a_voice_that_the_plan_forbids(autojump_clock: trio.testing.MockClock) -> None:
    """It is no lack of credits, and asking again does not help: over HTTP and over a WebSocket."""
    config = default()
    async with (
        memory_service(Behavior(forbidden_voices=(VOICE_ID,))) as service,
        WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
        TTSManager(config, connections) as tts,
    ):
        with pytest.raises(PolicyError) as replied:
            async with tts.speak(["Hello."]) as audio:
                await listen(audio)
        with pytest.raises(PolicyError) as asked:
            async with tts.stream_static_text("Hello.") as audio:
                await listen(audio)
        assert len(posts(service.server)) == 1
    assert (replied.value.code, asked.value.code, asked.value.status) == (*["paid_plan_required"] * 2, 402)


@pytest.mark.parametrize("model_id", ["eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo"])
@pytest.mark.parametrize("text", ["  ", "😀", "[laughs] 👩🏽‍🚀 ❤️ [шёпотом]"])
async def test_a_text_with_nothing_to_say(autojump_clock: trio.testing.MockClock, model_id: str, text: str) -> None:
    error, asked = await refusal(Behavior(), default(model_id), text)
    assert (error.field, asked) == ("text", 0)
