"""A caller who stops reading for ever, while the LLM goes on writing, costs little memory and harms nobody else."""

from __future__ import annotations

import tracemalloc

import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config, memory_service, speaking, text_of
from tts_trio.local_server import Behavior, Received

ALL = (100_000, 10.0)  # words, and the MiB that they may cost
SAMPLE = (3_000, 2.5)


@pytest.mark.parametrize("language", TEXTS)
async def test_a_consumer_that_never_reads(
    autojump_clock: trio.testing.MockClock, endpoint: str, exhaustive: bool, language: str
) -> None:
    """P23: what is bounded is the audio; the text, which the caller wrote, is held once."""
    number_of_words, limit = ALL if exhaustive else SAMPLE
    words = TEXTS[language].split()
    async with memory_service(Behavior(ping_interval=7, ping_timeout=1)) as service:
        config = make_config(endpoint, max_characters=2_000_000)
        async with speaking(config, service.open_stream) as tts:
            async with tts.speak(["Да, да. Well, yes."]) as audio:  # loads what is loaded late
                await listen(audio)
            await trio.sleep(1)
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            async with tts.start_llm_stream() as (text, audio):
                for number in range(number_of_words):
                    await text.send(words[number % len(words)] + " ")
                    if not number % 100:
                        await trio.sleep(1)
                await trio.sleep(60)
                now, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                print(f"{language}: {(now - before) / 2**20:.1f} MiB held, {(peak - before) / 2**20:.1f} at the most")
                assert peak - before < limit * 2**20
                assert audio.usage.characters < 1000  # sent: no more than the caller could hear soon
                socket = next(r.connection for r in reversed(service.messages()) if text_of(r.message).strip())
                frames = [r for r in service.server.records if isinstance(r, Received) and r.connection == socket]
                assert sum(record.frame == "pong" for record in frames) >= number_of_words / 100 / 7
                began = trio.current_time()
                async with tts.speak([TEXTS[language]]) as other:
                    sound = await other.receive()
                    assert trio.current_time() - began < 0.2
                    assert heard(sound + await listen(other), config) == TEXTS[language]
