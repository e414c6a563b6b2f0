"""What a user writes. It is checked by pyright and mypy, both strict, and never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import assert_type

import trio

from tts_trio import (
    AudioCache,
    AudioChannel,
    AudioFormat,
    ConcurrencyLimiter,
    ConfigurationError,
    ConnectionStatistics,
    Filler,
    Frames,
    Limiter,
    Line,
    MemoryCache,
    OpenStream,
    Outcome,
    PacedFrames,
    PhrasePolicy,
    Phrases,
    SharedAudioCache,
    TextChannel,
    Timeline,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    Usage,
    VoiceSettings,
    WebSocketConnectionManager,
    Word,
    open_tts,
    sync,
)
from tts_trio.local_server import Behavior, Fault, LocalServer, ToneVoice, open_local_server, serve_local_server
from tts_trio.testing import Service, heard, memory_service, server_in_a_thread
from tts_trio.text.transforms import Transform, TransformFactory, emoji, for_telephone


class MyTransform:
    """A transform that a user brings."""

    def feed(self, text: str) -> list[tuple[str, int]]:
        return [(text, len(text))]

    def pause(self) -> list[tuple[str, int]]:
        return []

    def close(self) -> list[tuple[str, int]]:
        return []


def transforms_of_a_users_own(factory: TransformFactory) -> TTSConfig:
    assert_type(factory(), Transform)
    return TTSConfig(
        api_key="k", voice_id="v", transforms=(factory, MyTransform, emoji({"👍": "yes"}), *for_telephone("en"))
    )


class MyCache:
    """A cache that a user brings; processes that share it agree on who asks."""

    async def get(self, key: str) -> bytes | None:
        return None

    async def put(self, key: str, value: bytes) -> None: ...

    async def claim(self, key: str, seconds: float) -> bool:
        return True

    async def release(self, key: str) -> None: ...


class MyLimiter:
    """A limiter that a user brings."""

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        yield

    def learn(self, size: int) -> None: ...


async def open_stream(*args: object, **kwargs: object) -> trio.abc.Stream:
    raise NotImplementedError


async def other(text: str, format: AudioFormat) -> AsyncIterator[bytes]:  # noqa: A002 - what users may call it
    """A second source that a user brings."""
    yield bytes(format.sample_rate)


def brought() -> tuple[AudioCache, SharedAudioCache, Limiter, Limiter]:
    return MemoryCache(), MyCache(), MyLimiter(), ConcurrencyLimiter(5)


def configured(phrases: Phrases) -> TTSConfig:
    config = TTSConfig(
        api_key="key",
        voice_id="voice",
        voice_settings=VoiceSettings(stability=0.5),
        timeouts=Timeouts(connect=3, first_audio=None, stall=2.5),
        phrase_policy=PhrasePolicy.eager(),
        chunk_length_schedule=[120, 160],
        auto_mode=False,
        audio_cache=MyCache(),
        limiter=MyLimiter(),
        fallback=other,
    )
    assert_type(config.timeouts, Timeouts)
    assert_type(config.timeouts.first_audio, float | None)
    assert_type(config.chunk_length_schedule, tuple[int, ...] | None)
    assert_type(TTSConfig.from_env(output_format="ulaw_8000"), TTSConfig)
    return config.evolve(
        phrase_policy=lambda: phrases, audio_cache="memory", opening_cache=MyCache(), limiter=None, hedge=0.3
    )


async def speak(config: TTSConfig, tokens: AsyncIterator[str | None], line: trio.abc.SendChannel[bytes]) -> str:
    async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
        await connections.connect()
        assert_type(connections.statistics(), ConnectionStatistics)
        assert_type(tts.connections, WebSocketConnectionManager)
        await tts.prefetch(["Yes.", "No."], on_cached=print)
        await tts.prefetch_openings(["One moment."])
        async with tts.stream_static_text("Hello.", voice="other") as audio:
            assert_type(audio, AudioChannel)
            async for chunk in audio:
                assert_type(chunk, bytes)
                await line.send(chunk)
        tts.expect(voice="other", settings=VoiceSettings(speed=1.1), language_code="en", model="eleven_flash_v2_5")
        async with tts.speak(tokens, voice="other", filler=Filler("One second.", after=1, every=10.0)) as audio:
            frames = audio.paced(20, lead_ms=100)
            assert_type(frames, PacedFrames)
            assert_type(audio.frames(), Frames)
            async for frame in frames:
                await line.send(frame)
        assert_type(frames.played_ms, float)
        assert_type(audio.words, tuple[Word, ...])
        assert_type([word.text for word in audio.words if word.filler], list[str])
        assert_type(audio.characters, tuple[Word, ...])
        assert_type([word async for word in audio.heard()], list[Word])
        assert_type(audio.outcome, Outcome | None)
        assert_type(audio.timeline, Timeline)
        assert_type(audio.usage, Usage)
        frames.pause()
        frames.resume()
        await frames.wait_played()
        assert_type(audio.paced(silence=True), PacedFrames)
        with Line(config.format) as whole_call:
            assert_type(whole_call.play(audio), PacedFrames)
            async for frame in whole_call:
                assert_type(frame, bytes)
        return audio.spoken(frames.played_ms)


async def primitive(config: TTSConfig, deltas: Iterable[str | None]) -> TTSError | None:
    try:
        async with open_tts(config) as tts, tts.start_llm_stream(filler=Filler("One second.")) as (text, audio):
            assert_type(text, TextChannel)
            with text:
                for delta in deltas:
                    await text.send(delta)
            assert_type(await audio.receive(), bytes)
            assert_type(audio.receive_nowait(), bytes)
    except TTSConnectionError as error:
        assert_type(error.retry_after, float | None)
        return error
    except ConfigurationError as error:
        assert_type(error.field, str | None)
        return error
    return None


def without_async(config: TTSConfig, tokens: Iterable[str]) -> bytes:
    sound = b""
    with sync.open_tts(config) as tts:
        with tts.speak(tokens) as audio:
            assert_type(audio.characters, tuple[Word, ...])
            assert_type(list(audio.heard()), list[Word])
            for frame in audio.paced():
                assert_type(frame, bytes)
                sound += frame
            with sync.Line(config.format) as line:
                line.play(audio).wait_played()
                assert_type(list(line), list[bytes])
        with tts.stream_static_text("Да.", previous_text="Вы готовы?") as audio:
            sound += b"".join(audio)
        with tts.start_llm_stream() as (text, audio):
            text.send("Hello. ")
            text.close()
            sound += audio.receive()
    return sound


async def tested(stream: OpenStream) -> None:
    async with open_local_server(Behavior(faults=(Fault("reset", "audio", frame=3),)), voice=ToneVoice()) as server:
        assert_type(server, LocalServer)
        assert_type(server.base_url, str)
    async with trio.open_nursery() as nursery:
        started: LocalServer = await nursery.start(serve_local_server, Behavior())
        assert_type(started.behavior, Behavior)
        nursery.cancel_scope.cancel()
    config = TTSConfig(api_key="any", voice_id="any", base_url=server.base_url)
    async with WebSocketConnectionManager(config, open_stream=stream):
        pass


async def test_of_an_agent(tts_service: Service) -> None:
    assert_type(tts_service.texts(), list[tuple[float, str]])
    tts_service.server.behavior = Behavior(quota=0)
    tts_service.freeze()
    async with memory_service(dial_time=0.1) as service:
        assert_type(service, Service)
        with service.answer_every_dial():
            assert_type(heard(b"", "ulaw_8000"), str)
    with server_in_a_thread() as server:
        assert_type(server, LocalServer)
