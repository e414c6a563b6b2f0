"""What the audio of one conversation is kept in, by its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tts_trio.config.config import TTSConfig
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.memory_cache import process_cache

if TYPE_CHECKING:
    from tts_trio.static_text.openings import KeptOpenings


def cache_for(config: TTSConfig) -> GuardedCache | None:
    """Return the cache of static texts; None if there is none."""
    cache = process_cache() if config.audio_cache == "memory" else config.audio_cache
    return None if cache is None else GuardedCache(cache, config.timeouts.cache)


def openings_for(config: TTSConfig) -> KeptOpenings | None:
    """Return the openings of replies; None if none are kept."""
    if config.opening_cache is None:
        return None
    from tts_trio.static_text.openings import KeptOpenings  # loaded late: few ask for it

    return KeptOpenings(config, config.opening_cache)
