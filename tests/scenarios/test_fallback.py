"""What speaks the rest of a reply when the service does not: a second source of the user's, or HTTP."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import (
    TEXTS,
    Sample,
    heard,
    listen,
    make_config,
    memory_service,
    posts,
    speaking,
    tokens,
    websocket_path,
    whole_words,
)
from tts_trio import (
    AudioChannel,
    AudioFormat,
    AuthenticationError,
    ConcurrencyError,
    ConcurrencyLimiter,
    ConfigurationError,
    EmptyAudioError,
    QuotaError,
    ServiceTimeoutError,
    Timeouts,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault, Injected, ToneVoice

every_language = pytest.mark.parametrize("language", TEXTS)


@attrs.define(eq=False)
class Other:
    """A second source, which speaks higher and faster, and gives its audio in pieces of any size."""

    error: Exception | None = None
    after: int = 10**9  # pieces, before the error
    asked: list[str] = attrs.field(factory=list)
    closed: int = 0

    async def __call__(self, text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
        self.asked.append(text)
        sizes = itertools.cycle([1, 2, 3, 333, 4097, 0])
        try:
            sound = (
                ToneVoice()
                .speak(f" {text}", language_code=None, speed=1.2, sample_rate=audio_format.sample_rate)
                .samples
            )
            for number in itertools.count():
                if number == self.after and self.error is not None:
                    raise self.error
                size = next(sizes)
                piece, sound = sound[:size], sound[size:]
                yield piece
                await trio.sleep(size / 320_000)
                if not sound:
                    return
        finally:
            self.closed += 1


def no_websocket(endpoint: str | None = None, *, skip: int = 0) -> Fault:
    return Fault("status", "answer", 503, path=websocket_path(endpoint), skip=skip)


async def play(audio: AudioChannel, *, by_the_clock: bool) -> bytes:
    sound = b""
    async for chunk in audio:
        sound += chunk
        if by_the_clock:
            await trio.sleep(len(chunk) / 32_000)
    return sound


@every_language
async def test_a_second_source_says_the_rest(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, sample: Sample
) -> None:
    """P13: cut before every message, every word is heard once, in order; the rest begins with a whole word."""
    text, cases = TEXTS[language], 0
    for frame in sample(range(12), 3):
        fault = Fault("reset", "audio", frame=frame, count=1, path=websocket_path(endpoint))
        other = Other()
        config = make_config(endpoint, fallback=other, max_replays=0)
        async with memory_service(Behavior(faults=(fault,))) as service:
            async with speaking(config, service.open_stream) as tts, tts.speak(tokens(text)) as audio:
                sound = await play(audio, by_the_clock=bool(frame % 2))
            assert len(sound) % 2 == 0
            assert whole_words(heard(sound, config), text) == text.split()
            rest = "".join(other.asked)
            assert not rest or any(isinstance(record, Injected) for record in service.server.records)
            assert text.split()[len(text.split()) - len(rest.split()) :] == rest.split()
            assert [word.text for word in audio.words] == text.split()
            assert [word.estimated for word in audio.words].count(True) == len(rest.split())
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
            assert audio.usage.characters < len(text) + 2  # what the service was asked for
            assert other.closed == len(other.asked)
            cases += bool(rest)
    assert cases >= 1


async def test_it_says_the_whole_where_there_is_no_connection(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    text, other = TEXTS["ru"], Other()
    config = make_config(endpoint, fallback=other)
    async with memory_service(Behavior(faults=(no_websocket(endpoint),))) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, tts.speak(tokens(text)) as audio:
                assert heard(await listen(audio), config) == text
            assert "".join(other.asked) == text + " "
            assert audio.usage.characters == 0
            assert audio.timeline.connected is None


@pytest.mark.parametrize(
    ("behavior", "raised"),
    [
        (Behavior(api_keys=("another",)), AuthenticationError),
        (Behavior(quota=40), QuotaError),
    ],
)
async def test_it_speaks_where_a_retry_does_not_help(
    autojump_clock: trio.testing.MockClock, behavior: Behavior, raised: type[TTSError]
) -> None:
    """A wrong key, or an exhausted quota in mid reply, is no reason for silence."""
    text = TEXTS["ru"]
    for fallback in (None, Other()):
        config = make_config(fallback=fallback)
        async with memory_service(behavior) as service:
            async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
                async with TTSManager(config, connections) as tts:
                    if fallback is None:
                        with pytest.raises(raised):
                            async with tts.speak(tokens(text)) as audio:
                                await listen(audio)
                    else:
                        async with tts.speak(tokens(text)) as audio:
                            assert whole_words(heard(await listen(audio), config), text) == text.split()


turn: ContextVar[str] = ContextVar("turn")


async def test_it_runs_in_the_context_of_the_reply(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """What logs and traces are sorted by, though it is a task of the socket that notices the loss."""
    turns: list[str] = []

    async def other(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
        turns.append(turn.get("none"))
        async with aclosing(Other()(text, audio_format)) as pieces:
            async for piece in pieces:
                yield piece

    fault = Fault("reset", "audio", frame=2, path=websocket_path(endpoint), count=2)
    config = make_config(endpoint, fallback=other, max_replays=0)
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(config, service.open_stream) as tts:
            for name in ("первый", "second"):
                turn.set(name)
                async with tts.speak(tokens(TEXTS["ru"])) as audio:
                    await listen(audio)
    assert list(dict.fromkeys(turns)) == ["первый", "second"]  # it is asked once a phrase


async def test_after_some_audio_it_is_not_asked_with_raise(autojump_clock: trio.testing.MockClock) -> None:
    other = Other()
    config = make_config(fallback=other, max_replays=0, on_lost_connection="raise")
    async with memory_service(Behavior(faults=(Fault("reset", "audio", frame=2),))) as service:
        async with speaking(config, service.open_stream) as tts:
            with pytest.raises(TTSConnectionError):
                async with tts.speak([TEXTS["en"]]) as audio:
                    await listen(audio)
    assert other.asked == []


@pytest.mark.parametrize("after", [0, 40])
async def test_its_exception_fails_the_reply(autojump_clock: trio.testing.MockClock, after: int) -> None:
    """P25: as one error of the library, with the exception as its cause; all audio before it is heard."""
    text, other = TEXTS["en"], Other(OSError("the line is dead"), after)
    config = make_config(fallback=other)
    async with memory_service(Behavior(faults=(no_websocket(),))) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, tts.speak([text]) as audio:
                sound = b""
                with pytest.raises(TTSConnectionError, match="fallback") as caught:
                    async for chunk in audio:
                        sound += chunk
    assert caught.value.__cause__ is other.error
    assert caught.value.spoken_text + caught.value.unspoken_text == text
    assert bool(sound) == bool(after)
    assert len(other.asked) == 1  # nobody is asked again
    assert other.closed == 1


async def give_text(text: str, audio_format: AudioFormat) -> AsyncGenerator[Any, None]:
    yield text


async def give_nothing(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    for piece in ():
        yield piece


@pytest.mark.parametrize(("other", "error"), [(give_text, TTSConnectionError), (give_nothing, EmptyAudioError)])
async def test_what_is_no_audio_fails_the_reply(
    autojump_clock: trio.testing.MockClock, other: Any, error: type[TTSError]
) -> None:
    config = make_config(fallback=other)
    async with memory_service(Behavior(faults=(no_websocket(),))) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                with pytest.raises(error) as caught:
                    async with tts.speak(["Да, заказ 42."]) as audio:
                        await listen(audio)
    if other is give_text:
        assert "fallback must give bytes, not str" in str(caught.value.__cause__)


async def test_a_barge_in_ends_it_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """P6: it is cancelled where it waits, closed, and not asked for another phrase."""
    other, ends = Other(), list[float]()

    async def slow(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(other(text, audio_format)) as pieces:
                async for piece in pieces:
                    yield piece
                    await trio.sleep(0.5)
        finally:
            ends.append(trio.current_time())

    config = make_config(fallback=slow)
    async with memory_service(Behavior(faults=(no_websocket(),))) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                async with tts.speak([TEXTS["ru"]]) as audio:
                    await audio.receive()
                    await trio.sleep(0.1)
                left = trio.current_time()
                await trio.testing.wait_all_tasks_blocked()
                assert ends == [left]
                await trio.sleep(5)
                assert len(other.asked) == 1
                assert audio.outcome is not None
                assert audio.outcome.end == "interrupted"


@pytest.mark.parametrize("waits_for", ["audio", "a dial"])
async def test_it_speaks_when_there_was_no_audio_for_too_long(
    autojump_clock: trio.testing.MockClock, waits_for: str
) -> None:
    """P1: after `timeouts.reply`, over a connection that is silent, or while another is dialed."""
    text, other = "Да, заказ 42 готов.", Other()
    silent = Fault("freeze", "audio", count=1 if waits_for == "a dial" else None)
    dial = Fault("delay", "answer", 100.0, path="stream-input", skip=1)
    timeouts = Timeouts(first_audio=1.0 if waits_for == "a dial" else 60.0, reply=4.0)
    config = make_config(fallback=other, timeouts=timeouts, spares=0)
    async with memory_service(Behavior(faults=(silent, dial) if waits_for == "a dial" else (silent,))) as service:
        async with speaking(config, service.open_stream) as tts:
            await trio.sleep(1)
            began = trio.current_time()
            async with tts.speak([text]) as audio:
                first = await audio.receive()
                assert trio.current_time() - began == pytest.approx(4, abs=0.1)
                assert heard(first + await listen(audio), config) == text


async def test_it_may_be_slow_to_begin(autojump_clock: trio.testing.MockClock) -> None:
    """Only `timeouts.reply` counts for each of its pieces; then the reply fails."""

    async def slow(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
        await trio.sleep(waits)
        async with aclosing(Other()(text, audio_format)) as pieces:
            async for piece in pieces:
                yield piece

    config = make_config(fallback=slow)
    for waits in (9.0, 11.0):
        async with memory_service(Behavior(faults=(no_websocket(),))) as service:
            async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
                async with TTSManager(config, connections) as tts:
                    if waits < 10:
                        async with tts.speak(["Да, заказ 42."]) as audio:
                            assert heard(await listen(audio), config) == "Да, заказ 42."
                    else:
                        with pytest.raises(ServiceTimeoutError):
                            async with tts.speak(["Да, заказ 42."]) as audio:
                                await listen(audio)


async def test_it_needs_no_slot_of_the_plan(autojump_clock: trio.testing.MockClock) -> None:
    text, limiter, other = TEXTS["en"], ConcurrencyLimiter(1), Other()
    config = make_config(fallback=other, limiter=limiter, max_replays=0)
    async with memory_service(Behavior(faults=(Fault("reset", "audio", frame=2, count=1),))) as service:
        async with speaking(config, service.open_stream) as tts:
            async with tts.speak(tokens(text)) as audio:
                sound = b""
                async for chunk in audio:
                    sound += chunk
                    if other.asked:
                        break
                async with limiter.slot():  # it is free
                    sound += await listen(audio)
            assert whole_words(heard(sound, config), text) == text.split()


async def test_a_static_text_has_none(autojump_clock: trio.testing.MockClock) -> None:
    """P26: it is requested as often as without."""
    other = Other()
    refused = Fault("status", "answer", 503, path="/stream")
    for fallback in (None, other):
        async with memory_service(Behavior(faults=(refused,))) as service:
            async with speaking(make_config(fallback=fallback, audio_cache=None), service.open_stream) as tts:
                with pytest.raises(TTSConnectionError):
                    async with tts.stream_static_text("Да.") as audio:
                        await listen(audio)
            assert len(posts(service.server)) == 3
    assert other.asked == []


async def test_it_speaks_where_no_slot_of_the_plan_becomes_free(autojump_clock: trio.testing.MockClock) -> None:
    """Where it fails itself, its error is raised, and not that of the limiter."""
    text, limiter = TEXTS["ru"], ConcurrencyLimiter(1, timeout=1.0)
    async with memory_service() as service, limiter.slot():
        async with speaking(make_config(fallback=Other(), limiter=limiter), service.open_stream) as tts:
            began = trio.current_time()
            async with tts.speak([text]) as audio:
                assert heard(await listen(audio), tts.config) == text
            assert audio.timeline.first_received == pytest.approx(began + 1, abs=0.01)
        for other, cause in ((Other(OSError(), 0), OSError), (None, type(None))):
            async with speaking(make_config(fallback=other, limiter=limiter), service.open_stream) as tts:
                with pytest.raises(TTSConnectionError) as caught:
                    async with tts.speak([text]) as audio:
                        await listen(audio)
            assert isinstance(caught.value, ConcurrencyError) == (other is None)
            assert isinstance(caught.value.__cause__, cause)
        assert posts(service.server) == []


async def a_coroutine(text: str, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    return give_nothing(text, audio_format)


@pytest.mark.parametrize("value", ["ftp", True, Other, a_coroutine, lambda text: text, object()])
def test_what_is_no_source_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"fallback: .*async generator function"):
        make_config(fallback=value)


# Over HTTP.


@every_language
async def test_over_http_the_words_keep_their_times_and_what_was_said_before(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    text, config = TEXTS[language], make_config(fallback="http", max_replays=0)
    async with memory_service(Behavior(faults=(Fault("reset", "audio", frame=3, count=1),))) as service:
        async with speaking(config, service.open_stream) as tts, tts.speak(tokens(text)) as audio:
            sound = await listen(audio)
        assert whole_words(heard(sound, config), text) == text.split()
        assert [word.text for word in audio.words] == text.split()
        assert not any(word.estimated for word in audio.words)
        said = f"{text} "
        for request in reversed(posts(service.server)):
            said = said.removesuffix(request.body["text"])
            assert said == request.body["previous_text"]
        assert posts(service.server)


@pytest.mark.parametrize("model", ["eleven_v3", "eleven_v4_turbo"])
async def test_over_http_the_models_get_what_they_take(autojump_clock: trio.testing.MockClock, model: str) -> None:
    text = TEXTS["ru"]
    config = make_config(model_id=model, fallback="http", max_replays=0, spares=1, apply_text_normalization="off")
    fault = Fault("reset", "audio", frame=3, count=1, path="multi-stream-input")
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(config, service.open_stream) as tts, tts.speak(tokens(text)) as audio:
            sound = await listen(audio)
        assert whole_words(heard(sound, config), text) == text.split()
        assert [word.text for word in audio.words] == text.split()
        for request in posts(service.server):
            assert ("previous_text" in request.body) == (model == "eleven_v4_turbo")
            assert len(request.body.get("previous_text", "")) <= 100


@every_language
async def test_over_http_nothing_is_said_twice(
    autojump_clock: trio.testing.MockClock, language: str, sample: Sample
) -> None:
    """P13, P31: an answer that is cut is gone on with, from the first word that was not heard whole."""
    text, cases = TEXTS[language], 0
    for frame in sample(range(6), 3):
        fault = Fault("reset", "audio", frame=frame, count=1, path="/stream/with-timestamps")
        config = make_config(fallback="http")
        async with memory_service(Behavior(faults=(no_websocket(), fault))) as service:
            async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
                async with TTSManager(config, connections) as tts, tts.speak(tokens(text)) as audio:
                    sound = await play(audio, by_the_clock=bool(frame % 2))
            assert whole_words(heard(sound, config), text) == text.split()
            assert [word.text for word in audio.words] == text.split()
            cases += any(isinstance(r, Injected) and r.fault is fault for r in service.server.records)
    assert cases >= 2
