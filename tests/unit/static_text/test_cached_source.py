"""Phrases from a cache, on MockClock: only what is whole is kept, and whatever the cache does, each is heard whole."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import Sample, hear_static_text, listen, make_config, memory_service, no_network, posts, speaking
from tts_trio import (
    ConfigurationError,
    EmptyAudioError,
    MemoryCache,
    TTSConnectionError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault

SLOW = Behavior(speed=1.0)  # audio comes as it is heard, so that there is time for something to happen
TEXT = "Здравствуйте, спасибо за звонок! Ваш заказ уже в пути."
TEXTS = {"ru": TEXT, "en": "Hello, and thank you for calling. Your order is on its way."}


async def stored(cache: MemoryCache) -> int:
    return (await cache.statistics()).entries


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("output_format", ["pcm_16000", "mp3_44100_128"])
async def test_a_hit_is_the_same_phrase_and_needs_no_network(
    autojump_clock: MockClock, language: str, output_format: str
) -> None:
    config = make_config(audio_cache=MemoryCache(), static_timestamps=True, output_format=output_format)
    text = TEXTS[language]
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(text) as first:
            sound = await listen(first)
        assert first.usage.characters == len(text)
        assert first.usage.credits
    connections = WebSocketConnectionManager(config, open_stream=no_network)
    async with connections, TTSManager(config, connections) as tts:
        began = trio.current_time()
        async with tts.stream_static_text(text) as again:
            chunks = [chunk async for chunk in again]
        assert trio.current_time() == began
    assert b"".join(chunks) == sound
    assert len(chunks) >= 3
    assert again.words == first.words
    assert again.usage.characters == again.usage.credits == 0
    assert again.outcome is not None
    assert (again.outcome.end, again.outcome.spoken_text) == ("finished", text)


async def test_a_hit_can_be_interrupted(autojump_clock: MockClock) -> None:
    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        await hear_static_text(tts, TEXT)
        async with tts.stream_static_text(TEXT) as audio:
            await audio.receive()
            assert audio.statistics().current_buffer_used <= 1  # the first piece does not wait for the last
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert 0 < audio.outcome.delivered_ms < 1000
        assert await hear_static_text(tts, TEXT) == TEXT
        assert len(posts(service.server)) == 1


async def test_the_default_is_one_cache_for_all_conversations(autojump_clock: MockClock) -> None:
    async with memory_service() as service:
        for _ in range(2):
            async with speaking(make_config(), service.open_stream) as tts:
                assert await hear_static_text(tts, TEXT) == TEXT
        assert len(posts(service.server)) == 1
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            assert await hear_static_text(tts, TEXT) == TEXT
        assert len(posts(service.server)) == 2


@pytest.mark.parametrize(
    ("text", "changes"), [("Да. " * 251, {}), ("Да.", {"request_stitching": True})], ids=["long", "stitched"]
)
async def test_what_is_not_kept(autojump_clock: MockClock, text: str, changes: dict[str, bool]) -> None:
    cache = MemoryCache()
    async with memory_service() as service:
        async with speaking(make_config(audio_cache=cache, **changes), service.open_stream) as tts:
            await hear_static_text(tts, text)
            await hear_static_text(tts, text)
        assert len(posts(service.server)) == 2
    assert await stored(cache) == 0


async def test_a_cache_is_a_cache() -> None:
    with pytest.raises(ConfigurationError, match="audio_cache"):
        make_config(audio_cache={})


# --- only what is whole is stored


async def chunks_of(text: str) -> int:
    async with memory_service() as service, speaking(make_config(audio_cache=None), service.open_stream) as tts:
        async with tts.stream_static_text(text) as audio:
            return len([chunk async for chunk in audio])


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("fault", ["reset", "eof", "freeze"])
async def test_a_phrase_that_was_cut_is_never_stored(
    autojump_clock: MockClock, sample: Sample, fault: str, timed: bool
) -> None:
    number = await chunks_of("Здравствуйте! Чем могу помочь?")
    assert number > 5
    path = "/with-timestamps" if timed else "/stream"
    cuts = [Fault(fault, "audio", frame=frame, path=path) for frame in sample(range(number), 3)]
    for cut in [*cuts, Fault(fault, "final", path=path)]:
        cache = MemoryCache()
        config = make_config(audio_cache=cache, static_timestamps=timed)
        async with memory_service(Behavior(faults=(cut,))) as service, speaking(config, service.open_stream) as tts:
            try:
                await hear_static_text(tts, "Здравствуйте! Чем могу помочь?")
            except TTSConnectionError:
                assert await stored(cache) == 0, cut
            else:
                assert timed or cut.at == "final", cut


@pytest.mark.parametrize("way", ["leave", "cancel", "hang up"])
async def test_a_phrase_that_was_left_is_never_stored(autojump_clock: MockClock, sample: Sample, way: str) -> None:
    text = "Здравствуйте! Чем могу помочь?"
    number = await chunks_of(text)
    for chunks in sample(range(number), 3):
        cache = MemoryCache()
        config = make_config(audio_cache=cache)
        async with memory_service(SLOW) as service:
            with trio.CancelScope() as conversation:
                async with speaking(config, service.open_stream) as tts:
                    with trio.CancelScope() as scope:
                        async with tts.stream_static_text(text) as audio:
                            for _ in range(chunks):
                                await audio.receive()
                            if way == "cancel":
                                scope.cancel()
                            if way == "hang up":
                                conversation.cancel()
                            await trio.lowlevel.checkpoint()
            await trio.sleep(10)
            assert await stored(cache) == 0, chunks
            async with speaking(config, service.open_stream) as tts:
                assert await hear_static_text(tts, text) == text
            assert await stored(cache) == 1
            assert len(posts(service.server)) == (2 if chunks else 1)  # who left at once had not asked yet


async def test_an_answer_without_audio_is_not_stored(autojump_clock: MockClock) -> None:
    cache = MemoryCache()
    silent = Behavior(faults=(Fault("skip", "audio", frame=None, path="/stream"),))
    config = make_config(audio_cache=cache)
    async with memory_service(silent) as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(EmptyAudioError):
            await hear_static_text(tts, TEXT)
    assert await stored(cache) == 0


# --- a cache that is ill


@attrs.define(eq=False)
class Ill:
    """A cache that does what it is told to, and nothing good."""

    way: str
    asked: int = 0

    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        return await self._suffer(key)

    async def put(self, key: str, value: bytes) -> None:
        self.asked += 1
        await self._suffer(key)

    async def _suffer(self, key: str) -> bytes | None:
        match self.way:
            case "down":
                raise OSError("connection refused")
            case "wrong":
                raise ZeroDivisionError
            case "corrupt":
                return b"tts_trio phrase 1\n" + bytes(100)
            case "no bytes":
                return 7  # type: ignore[return-value]
            case _:
                await trio.sleep(1000)
                return None


@pytest.mark.parametrize("way", ["down", "wrong", "corrupt", "no bytes", "hung"])
async def test_an_ill_cache_costs_no_phrase_and_20_ms_at_most(
    autojump_clock: MockClock, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Ill(way)
    async with memory_service() as service:
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            began = trio.current_time()
            assert await hear_static_text(tts, TEXT) == TEXT
            usual = trio.current_time() - began
        async with speaking(make_config(audio_cache=cache), service.open_stream) as tts:
            for _ in range(3):
                began = trio.current_time()
                assert await hear_static_text(tts, TEXT) == TEXT
                assert trio.current_time() - began <= usual + 0.0201
                await trio.sleep(5)
    assert cache.asked == 6
    assert 1 <= caplog.text.count("WARNING  tts_trio.static_text") <= 3


async def test_a_full_cache_costs_no_phrase(autojump_clock: MockClock) -> None:
    cache = MemoryCache(max_bytes=1000)
    async with memory_service() as service, speaking(make_config(audio_cache=cache), service.open_stream) as tts:
        assert await hear_static_text(tts, TEXT) == TEXT
        assert await hear_static_text(tts, TEXT) == TEXT
        assert len(posts(service.server)) == 2
    assert await stored(cache) == 0
