"""`python -m benchmarks cache`: what comes from a cache is told from what does not."""

from __future__ import annotations

from benchmarks.cache import TEXTS, Said, measure, row
from tts_trio import MemoryCache, Timeouts, TTSConfig
from tts_trio.local_server import ToneVoice, open_local_server


def test_medians_and_what_was_missed() -> None:
    said = [Said(1.0, 5.0, kept=True), Said(2.0, 6.0, kept=True), Said(9.0, 7.0, kept=False)]
    assert row("memory", said) == {
        "from": "memory",
        "texts": 3,
        "missed": 1,
        "first piece, ms": 2.0,
        "95 %": 9.0,
        "whole, ms": 6.0,
    }


async def test_a_cache_is_filled_before_it_is_measured() -> None:
    async with open_local_server(voice=ToneVoice()) as server:
        config = TTSConfig(api_key="any", voice_id="any", base_url=server.base_url, timeouts=Timeouts(cache=5.0))
        kept = await measure(config.evolve(audio_cache=MemoryCache()), len(TEXTS))
        fetched = await measure(config.evolve(audio_cache=None), 1)
    assert [each.kept for each in kept] == [True] * len(TEXTS)
    assert [each.kept for each in fetched] == [False]
    assert fetched[0].first > 75
    assert all(each.first < fetched[0].first for each in kept)
