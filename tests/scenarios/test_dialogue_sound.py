"""What the service sends otherwise than one would think, end to end: tags, content types, times that overrun."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import trio

from tests.helpers import API_KEY, TEXTS, VOICE_ID, heard, listen, memory_service, speaking
from tts_trio import TTSConfig, Word
from tts_trio.local_server import Behavior, Sent

every_language = pytest.mark.parametrize("language", ["en", "ru"])


def default(model_id: str = "eleven_flash_v2_5", **changes: Any) -> TTSConfig:
    values = {"api_key": API_KEY, "voice_id": VOICE_ID, "base_url": "http://127.0.0.1", "model_id": model_id}
    return TTSConfig(**values | changes)


@pytest.mark.parametrize("content_type", ["audio/opus", "audio/ogg"])
async def test_either_content_type_of_opus(autojump_clock: trio.testing.MockClock, content_type: Any) -> None:
    config = default(output_format="opus_48000_32", on_lost_connection="raise")
    behavior = Behavior(opus_content_type=content_type)
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text("Hello.") as audio:
            assert (await listen(audio)).startswith(b"OggS")


@pytest.mark.parametrize("output_format", ["mp3_22050_32", "mp3_44100_128"])
@pytest.mark.parametrize("tag", ["alone", "joined"])
async def test_the_tag_before_a_dialogues_mp3(
    autojump_clock: trio.testing.MockClock, tag: Any, output_format: str
) -> None:
    """It is no sound: nobody gets a piece of audio that is nothing else."""
    config = default("eleven_v4_turbo", output_format=output_format)
    async with memory_service(Behavior(id3_tag=tag)) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([TEXTS["en"]]) as audio:
            chunks = [chunk async for chunk in audio]
    assert all(chunk[0] == 0xFF for chunk in chunks)


async def words_by(alignment: Any, language: str) -> tuple[list[Word], list[float]]:
    """The words of a reply, and where the sound of each message begins, in milliseconds."""
    config = default("eleven_v4_turbo", apply_text_normalization="off")
    async with memory_service(Behavior(alignment=alignment)) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([TEXTS[language]]) as audio:
            assert heard(await listen(audio), config) == TEXTS[language]
    sizes = [record.size for record in service.server.records if isinstance(record, Sent) and record.kind == "audio"]
    return list(audio.words), [1000 * size / 2 / config.format.sample_rate for size in accumulate(sizes, initial=0)]


@every_language
async def test_words_begin_with_their_own_sound_where_the_times_before_overrun(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """The times of a message may be a seventh longer than its sound; the next one's count from its own first sample."""
    words, begins = await words_by("plain", language)
    late, _ = await words_by("overrunning", language)
    assert [word.text for word in words] == [word.text for word in late] == TEXTS[language].split()
    for word, other in zip(words, late, strict=True):
        into = word.start_ms - max(begin for begin in begins if begin <= word.start_ms)
        assert -1 <= other.start_ms - word.start_ms <= 0.17 * into + 1, (word, other)
