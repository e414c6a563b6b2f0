"""Streaming ElevenLabs speech for trio voice agents: hot sockets, instant barge-in, nothing dead, doubled or stale.

One call, one chain of objects: `TTSConfig` → `WebSocketConnectionManager` → `TTSManager`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tts_trio.config.config import TTSConfig as TTSConfig
from tts_trio.config.formats import OUTPUT_FORMATS as OUTPUT_FORMATS
from tts_trio.config.formats import AudioFormat as AudioFormat
from tts_trio.config.phrase_policy import PhrasePolicy as PhrasePolicy
from tts_trio.config.protocols import AudioCache as AudioCache
from tts_trio.config.protocols import CacheStatistics as CacheStatistics
from tts_trio.config.protocols import Limiter as Limiter
from tts_trio.config.protocols import Phrases as Phrases
from tts_trio.config.protocols import PhrasesFactory as PhrasesFactory
from tts_trio.config.protocols import SecondSource as SecondSource
from tts_trio.config.protocols import SharedAudioCache as SharedAudioCache
from tts_trio.config.timeouts import Timeouts as Timeouts
from tts_trio.config.voice import PronunciationDictionary as PronunciationDictionary
from tts_trio.config.voice import VoiceSettings as VoiceSettings
from tts_trio.connection_manager import ConnectionStatistics as ConnectionStatistics
from tts_trio.connection_manager import WebSocketConnectionManager as WebSocketConnectionManager
from tts_trio.errors import AuthenticationError as AuthenticationError
from tts_trio.errors import ConcurrencyError as ConcurrencyError
from tts_trio.errors import ConfigurationError as ConfigurationError
from tts_trio.errors import EmptyAudioError as EmptyAudioError
from tts_trio.errors import PolicyError as PolicyError
from tts_trio.errors import ProtocolError as ProtocolError
from tts_trio.errors import QuotaError as QuotaError
from tts_trio.errors import ServiceTimeoutError as ServiceTimeoutError
from tts_trio.errors import ServiceUnavailableError as ServiceUnavailableError
from tts_trio.errors import TextTimeoutError as TextTimeoutError
from tts_trio.errors import TTSConnectionError as TTSConnectionError
from tts_trio.errors import TTSError as TTSError
from tts_trio.errors import UtteranceEndedError as UtteranceEndedError
from tts_trio.limits.limiter import ConcurrencyLimiter as ConcurrencyLimiter
from tts_trio.manager import TTSManager as TTSManager
from tts_trio.manager import open_tts as open_tts
from tts_trio.speech.channels import AudioChannel as AudioChannel
from tts_trio.speech.channels import TextChannel as TextChannel
from tts_trio.speech.frames import Frames as Frames
from tts_trio.speech.playout import PacedFrames as PacedFrames
from tts_trio.speech.results import AudioStatistics as AudioStatistics
from tts_trio.speech.results import Outcome as Outcome
from tts_trio.speech.results import Timeline as Timeline
from tts_trio.speech.results import Usage as Usage
from tts_trio.speech.results import Word as Word
from tts_trio.transport.streams import OpenStream as OpenStream

if TYPE_CHECKING:
    from tts_trio.config.filler import Filler as Filler
    from tts_trio.config.utterance_record import UtteranceRecord as UtteranceRecord
    from tts_trio.limits.redis_limiter import RedisLimiter as RedisLimiter
    from tts_trio.speech.line import Line as Line
    from tts_trio.static_text.memory_cache import MemoryCache as MemoryCache
    from tts_trio.static_text.redis_cache import RedisCache as RedisCache
    from tts_trio.static_text.sqlite_cache import SqliteCache as SqliteCache

__version__ = "0.1.0"

# Loaded on first use: few programs need them, and an orchestrator's workers start often.
_LATE = {
    "Filler": "tts_trio.config.filler",
    "Line": "tts_trio.speech.line",
    "MemoryCache": "tts_trio.static_text.memory_cache",
    "RedisCache": "tts_trio.static_text.redis_cache",
    "RedisLimiter": "tts_trio.limits.redis_limiter",
    "SqliteCache": "tts_trio.static_text.sqlite_cache",
    "UtteranceRecord": "tts_trio.config.utterance_record",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LATE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE} - {"annotations", "TYPE_CHECKING"})
