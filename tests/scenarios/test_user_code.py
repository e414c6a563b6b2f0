"""What a user brings may raise: a policy, a limiter, a cache, a callback. The utterance ends, and nothing leaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, Service, heard, listen, make_config, memory_service, speaking
from tts_trio import MemoryCache, PhrasePolicy, TTSError, TTSManager
from tts_trio.text import Phraser


class Bug(Exception):
    """Of the user's own code."""


class Raises:
    """Phrases that raise in one of their methods, at the call of this number, and from then on."""

    def __init__(self, method: str, at: int = 1) -> None:
        self._phrases = Phraser(PhrasePolicy.eager(), language_code="en")
        self._method = method
        self._calls_left = at

    def _call(self, name: str) -> None:
        if name == self._method:
            self._calls_left -= 1
            if self._calls_left <= 0:
                raise Bug(name)

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        self._call("feed")
        return self._phrases.feed(token, now, lead)

    def deadline(self) -> float | None:
        self._call("deadline")
        return self._phrases.deadline()

    def expire(self, now: float) -> list[str]:
        self._call("expire")
        return self._phrases.expire(now)

    def close(self) -> list[str]:
        self._call("close")
        return self._phrases.close()

    @property
    def pending(self) -> str:
        return self._phrases.pending


@asynccontextmanager
async def watched(tts: TTSManager, service: Service) -> AsyncGenerator[None]:
    """What goes on in the block ends with its error, bare or typed, and leaves nothing behind."""
    with pytest.raises((Bug, TTSError)) as caught:
        yield
    bug = caught.value if isinstance(caught.value, Bug) else caught.value.__cause__
    assert isinstance(bug, Bug)
    await trio.sleep(5)
    assert tts.connections.statistics().in_use == 0
    assert tts._nursery is not None
    assert not tts._nursery.child_tasks


METHODS = [
    ("feed", 1),
    ("feed", 3),
    ("expire", 1),
    ("close", 1),
    ("deadline", 1),
    ("deadline", 4),
]


@pytest.mark.parametrize("face", ["speak", "start_llm_stream"])
@pytest.mark.parametrize(("method", "at"), [("policy", 1), *METHODS])
async def test_a_policy_that_raises(
    autojump_clock: trio.testing.MockClock, endpoint: str, method: str, at: int, face: str
) -> None:
    broken = True

    def policy() -> Any:
        if not broken:
            return Phraser(PhrasePolicy(), language_code="en")
        if method == "policy":
            raise Bug(method)
        return Raises(method, at)

    async def tokens() -> AsyncGenerator[str]:
        for token in ENGLISH.split(" "):
            yield token + " "
        await trio.sleep(2)  # the patience ends meanwhile
        yield RUSSIAN

    async with (
        memory_service() as service,
        speaking(make_config(endpoint, phrase_policy=policy), service.open_stream) as tts,
    ):
        for _ in range(5):
            async with watched(tts, service):
                if face == "speak":
                    async with tts.speak(tokens()) as audio:
                        await listen(audio)
                else:
                    async with tts.start_llm_stream() as (text, audio):
                        async with aclosing(tokens()) as written:
                            async for token in written:
                                await text.send(token)
                        text.close()
                        await listen(audio)
        broken = False
        async with tts.speak([RUSSIAN]) as audio:
            assert heard(await listen(audio), tts.config) == RUSSIAN


class Limits:
    """A limiter that raises somewhere."""

    def __init__(self, where: str) -> None:
        self._where = where

    def _raise(self, where: str) -> None:
        if where == self._where:
            raise Bug(where)

    def learn(self, size: int) -> None:
        self._raise("learn")

    def slot(self, *, background: bool = False) -> AbstractAsyncContextManager[None]:
        self._raise("slot")
        return self._slot()

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        self._raise("enter")
        yield
        self._raise("exit")

    def heal(self) -> None:
        self._where = ""


@pytest.mark.parametrize("face", ["speak", "stream_static_text", "prefetch"])
@pytest.mark.parametrize("where", ["slot", "enter", "exit", "learn"])
async def test_a_limiter_that_raises(
    autojump_clock: trio.testing.MockClock, endpoint: str, where: str, face: str
) -> None:
    limiter = Limits(where)
    config = make_config(endpoint, limiter=limiter, audio_cache=MemoryCache() if face == "prefetch" else None)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        if face == "speak" and where in {"exit", "learn"}:
            limiter.heal()
        for number in range(5 if limiter._where else 0):
            async with watched(tts, service):
                if face == "speak":
                    async with tts.speak([ENGLISH]) as audio:
                        await listen(audio)
                elif face == "prefetch":
                    await tts.prefetch([f"{number} {ENGLISH}"])
                else:
                    async with tts.stream_static_text(ENGLISH) as audio:
                        await listen(audio)
        limiter.heal()
        async with tts.speak([RUSSIAN]) as audio:
            assert heard(await listen(audio), tts.config) == RUSSIAN
        async with tts.stream_static_text(RUSSIAN) as audio:
            assert heard(await listen(audio), tts.config) == RUSSIAN


class Forgets:
    """A cache that raises."""

    async def get(self, key: str) -> bytes | None:
        raise Bug("get")

    async def put(self, key: str, value: bytes) -> None:
        raise Bug("put")


async def test_a_cache_that_raises(autojump_clock: trio.testing.MockClock) -> None:
    """It does no harm: the phrase is fetched."""
    config = make_config(audio_cache=Forgets())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for text in (ENGLISH, RUSSIAN):
            async with tts.stream_static_text(text) as audio:
                assert heard(await listen(audio), config) == text
        await tts.prefetch([ENGLISH])
        await trio.sleep(5)
        assert tts._nursery is not None
        assert not tts._nursery.child_tasks


async def test_a_callback_of_prefetch_that_raises(autojump_clock: trio.testing.MockClock) -> None:
    def on_cached(phrase: str) -> None:
        raise Bug(phrase)

    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with watched(tts, service):
            await tts.prefetch([ENGLISH, RUSSIAN], on_cached=on_cached)
        async with tts.stream_static_text(ENGLISH) as audio:
            assert heard(await listen(audio), tts.config) == ENGLISH
