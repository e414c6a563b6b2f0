"""A configuration goes to another process, by pickle, and stays the same in a copy."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import ssl
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.helpers import API_KEY, make_config
from tts_trio import (
    ConcurrencyLimiter,
    ConfigurationError,
    MemoryCache,
    PhrasePolicy,
    Phrases,
    PronunciationDictionary,
    RedisCache,
    RedisLimiter,
    SqliteCache,
    TTSConfig,
    VoiceSettings,
)
from tts_trio.errors.redaction import redact
from tts_trio.text import transforms


def look(config: TTSConfig) -> tuple[str, bool, str]:
    """What another process has of a configuration."""
    return repr(config), config.audio_cache == "memory", redact(API_KEY)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_process(method: str) -> None:
    """Its default cache is the other process's own, and the key is hidden there, too."""
    config = make_config()
    with multiprocessing.get_context(method).Pool(1) as pool:
        shown, own, hidden = pool.apply(look, (config,))
    assert shown == repr(config)
    assert own
    assert hidden == "[secret]"


def test_what_is_in_it(tmp_path: Path) -> None:
    config = make_config(
        voice_settings=VoiceSettings(speed=1.1),
        phrase_policy=PhrasePolicy.eager(),
        audio_cache=SqliteCache(tmp_path / "phrases", 1000),
        pronunciation_dictionary_locators=[
            PronunciationDictionary(pronunciation_dictionary_id="Да".encode().hex(), version_id="b")
        ],
    )
    other = pickle.loads(pickle.dumps(config))
    assert other.evolve(audio_cache=None) == config.evolve(audio_cache=None)
    assert other.audio_cache is not config.audio_cache
    assert (other.audio_cache.path, other.audio_cache._max_bytes) == (tmp_path / "phrases", 1000)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_transforms_of_this_library_travel(language: str) -> None:
    config = make_config(transforms=[*transforms.for_telephone(language), transforms.replacements({"СМС": "sms"})])
    copied = pickle.loads(pickle.dumps(config)).transforms
    one, other = ([make() for make in made] for made in (config.transforms, copied))
    assert list(map(type, one)) == list(map(type, other))


async def test_a_cache_of_its_own_is_empty_there() -> None:
    config = make_config(audio_cache=MemoryCache(1000))
    assert config.audio_cache is not None
    await config.audio_cache.put("a", b"b")
    cache = pickle.loads(pickle.dumps(config)).audio_cache
    assert repr(cache) == "<MemoryCache, 0 entries, 0 of 1000 bytes>"


class Mine:
    """A cache or a limiter of the user's, or a maker of phrases, with a lock of its process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self) -> Phrases:
        raise NotImplementedError

    async def get(self, key: str) -> bytes | None:
        return None

    async def put(self, key: str, value: bytes) -> None: ...

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        yield

    def learn(self, size: int) -> None: ...


def test_what_belongs_to_one_process_is_refused_by_its_field() -> None:
    redis = RedisCache("redis://localhost")
    for field, value, says in (
        ("ssl_context", ssl.create_default_context(), "evolve.ssl_context=None."),
        ("limiter", ConcurrencyLimiter(3), "make a limiter in the other process, or share a RedisLimiter"),
        ("limiter", RedisLimiter("redis://localhost"), "a RedisLimiter belongs to one process"),
        ("audio_cache", redis, "a RedisCache belongs to one process"),
        ("opening_cache", redis, "a RedisCache belongs to one process"),
        ("phrase_policy", lambda: Mine()(), "this function cannot be pickled; .* or set phrase_policy by evolve"),
        ("on_utterance", lambda _record: None, "this function cannot be pickled"),
        ("transforms", [lambda: transforms.markdown()()], "this tuple cannot be pickled"),
        *(
            (field, Mine(), "this Mine cannot")
            for field in ("phrase_policy", "audio_cache", "opening_cache", "limiter")
        ),
    ):
        config = make_config(**{field: value})
        with pytest.raises(ConfigurationError, match=f"^{field}: .*{says}") as caught:
            pickle.dumps(config)
        assert caught.value.field == field
        assert copy.deepcopy(config) is config  # which is immutable, and shares what is in it
        assert copy.copy(config) is config
        assert API_KEY not in repr(config)
