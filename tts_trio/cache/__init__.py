"""Phrase caches: what was said once, whole, is said again without asking the service."""

from __future__ import annotations

from tts_trio.cache.memory import MemoryCache as MemoryCache
from tts_trio.cache.memory import process_cache as process_cache
from tts_trio.cache.protocol import CACHE as CACHE
from tts_trio.cache.protocol import CacheStatistics as CacheStatistics
from tts_trio.cache.protocol import PhraseCache as PhraseCache
from tts_trio.cache.protocol import SharedPhraseCache as SharedPhraseCache
from tts_trio.cache.redis import RedisCache as RedisCache
from tts_trio.cache.sqlite import SqliteCache as SqliteCache
