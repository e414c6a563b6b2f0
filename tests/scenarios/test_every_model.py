"""Every family of models, with nothing configured but the model, in every way that the library speaks."""

from __future__ import annotations

import os
import sys

import pytest
import trio

from tests.helpers import API_KEY, TEXTS, VOICE_ID, heard, listen, memory_service, speaking
from tts_trio import MemoryCache, TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.local_server import Behavior, Fault, Requested, ToneVoice, open_local_server, read_tones

MODELS = [
    "eleven_multilingual_v2",
    "eleven_flash_v2_5",
    "eleven_turbo_v2_5",
    "eleven_v3",
    "eleven_v3_conversational",
    "eleven_v4",
    "eleven_v4_turbo",
]
TEXT = "Утренний поезд отправляется с пути девять. Good morning, and mind the gap."
every_model = pytest.mark.parametrize("model_id", MODELS)
unsettled = pytest.mark.parametrize("v4_over_text_to_speech", [True, False])


def default(model_id: str, **changes: object) -> TTSConfig:
    values = {"api_key": API_KEY, "voice_id": VOICE_ID, "base_url": "http://127.0.0.1", "model_id": model_id}
    return TTSConfig(**values | changes)  # type: ignore[arg-type]


@every_model
@unsettled
async def test_a_static_text_and_a_reply(
    autojump_clock: trio.testing.MockClock, model_id: str, v4_over_text_to_speech: bool
) -> None:
    behavior = Behavior(v4_over_text_to_speech=v4_over_text_to_speech)
    config = default(model_id)
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(TEXT) as audio:
            assert heard(await listen(audio), config) == TEXT
        async with tts.speak([TEXT]) as audio:
            assert heard(await listen(audio), config) == TEXT
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", TEXT)


@every_model
@unsettled
async def test_a_prefetched_phrase(
    autojump_clock: trio.testing.MockClock, model_id: str, v4_over_text_to_speech: bool
) -> None:
    behavior = Behavior(v4_over_text_to_speech=v4_over_text_to_speech)
    config = default(model_id, audio_cache=MemoryCache())
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch(TEXTS.values())
        asked = [record for record in service.server.records if isinstance(record, Requested)]
        for text in TEXTS.values():
            async with tts.stream_static_text(text) as audio:
                assert await listen(audio)
        assert [record for record in service.server.records if isinstance(record, Requested)] == asked


@every_model
@unsettled
async def test_a_reply_over_http(
    autojump_clock: trio.testing.MockClock, model_id: str, v4_over_text_to_speech: bool
) -> None:
    """With fallback="http", where there is no WebSocket."""
    refused = [Fault("status", "answer", 503, path=path) for path in ("stream-input", "multi-stream-input")]
    behavior = Behavior(faults=tuple(refused), v4_over_text_to_speech=v4_over_text_to_speech)
    config = default(model_id, fallback="http")
    async with (
        memory_service(behavior) as service,
        WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
        TTSManager(config, connections) as tts,
    ):
        async with tts.speak([TEXT]) as audio:
            assert heard(await listen(audio), config) == TEXT


async def test_the_command_say() -> None:
    """Over HTTP, as the command speaks a text that is given whole; one process for each model."""
    async with open_local_server(voice=ToneVoice()) as server:

        async def say(model_id: str) -> None:
            environment = {
                "ELEVENLABS_API_KEY": API_KEY,
                "ELEVENLABS_VOICE_ID": VOICE_ID,
                "ELEVENLABS_BASE_URL": server.base_url,
                "ELEVENLABS_MODEL_ID": model_id,
            }
            done = await trio.run_process(
                [sys.executable, "-m", "tts_trio", "say", TEXT, "-o", "-", "--format", "pcm_16000"],
                env={**os.environ, **environment},
                capture_stdout=True,
                capture_stderr=True,
            )
            said[model_id] = " ".join(read_tones(done.stdout, "pcm_16000").split())

        said: dict[str, str] = {}
        async with trio.open_nursery() as nursery:
            for model_id in MODELS:
                nursery.start_soon(say, model_id)
    assert said == dict.fromkeys(MODELS, TEXT)
