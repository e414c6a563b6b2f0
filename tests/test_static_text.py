"""Fixed phrases over HTTP, on MockClock: whole samples, typed errors, and an answer that is never asked for twice."""

from __future__ import annotations

import pytest
import trio

from tests.helpers import API_KEY, TEXTS, VOICE_ID, heard, listen, make_config, memory_service, speaking, tokens
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    ProtocolError,
    ServiceUnavailable,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Answered, Behaviour, Fault, Requested


@pytest.mark.parametrize("language", TEXTS)
async def test_a_phrase_is_spoken_whole_in_whole_samples(autojump_clock: trio.testing.MockClock, language: str) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS[language]) as audio:
            chunks = [chunk async for chunk in audio]
        assert len(chunks) > 5
        assert all(len(chunk) % 2 == 0 for chunk in chunks)  # P21: HTTP chunks have odd sizes
        assert heard(b"".join(chunks), tts.config) == TEXTS[language]
        outcome = audio.outcome
        assert outcome is not None
        assert (outcome.end, outcome.spoken_text, outcome.unspoken_text) == ("finished", TEXTS[language], "")
        request = next(r for r in service.server.records if isinstance(r, Requested) and r.method == "POST")
        assert request.path == f"/v1/text-to-speech/{VOICE_ID}/stream"
        assert request.query["optimize_streaming_latency"] == "4"
        assert request.body["text"] == TEXTS[language]
        assert audio.usage.characters == len(TEXTS[language])
        assert audio.usage.request_id
        assert audio.usage.trace_id
        assert audio.usage.credits


async def test_leaving_early_drops_the_request_and_the_next_one_works(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for language in ("ru", "en"):
            async with tts.stream_static_text(TEXTS[language]) as audio:
                await audio.receive()
                before = trio.current_time()
            assert trio.current_time() == before
            with pytest.raises(trio.ClosedResourceError):
                await audio.receive()
            assert audio.outcome is not None
            assert audio.outcome.end == "interrupted"
        async with tts.stream_static_text("Да.") as audio:
            assert heard(await listen(audio), tts.config) == "Да."


async def test_a_phrase_and_a_reply_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS["ru"]) as phrase, tts.speak(tokens(TEXTS["en"])) as reply:
            assert heard(await listen(reply), tts.config) == TEXTS["en"]
            assert heard(await listen(phrase), tts.config) == TEXTS["ru"]


REFUSALS: list[tuple[Behaviour, type[TTSError], str | None, int]] = [
    (Behaviour(api_keys=("other",)), AuthenticationError, None, 1),
    (Behaviour(voices=("other",)), ConfigurationError, "voice_not_found", 1),
    (Behaviour(forbidden_formats=("pcm_16000",)), ConfigurationError, "output_format_not_allowed", 1),
    (Behaviour(faults=(Fault("status", "answer", 429, path="/stream"),)), ServiceUnavailable, "system_busy", 3),
    (Behaviour(faults=(Fault("status", "answer", 500, path="/stream"),)), ServiceUnavailable, None, 3),
    (Behaviour(faults=(Fault("status", "answer", 503, path="/stream"),)), ServiceUnavailable, None, 3),
    (Behaviour(faults=(Fault("content_type", "answer", "text/html", path="/stream"),)), ProtocolError, None, 1),
    (Behaviour(faults=(Fault("error_200", "answer", path="/stream"),)), ServiceUnavailable, None, 3),
]


@pytest.mark.parametrize(("behaviour", "kind", "code", "attempts"), REFUSALS)
async def test_refusals_are_typed_and_retried_where_that_can_help(
    autojump_clock: trio.testing.MockClock, behaviour: Behaviour, kind: type[TTSError], code: str | None, attempts: int
) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        service.server.behaviour = behaviour
        with pytest.raises(kind) as caught:
            async with tts.stream_static_text("Здравствуйте!") as audio:
                await listen(audio)
        assert code in {None, caught.value.code}
        assert API_KEY not in repr(caught.value) + str(caught.value)
        assert caught.value.unspoken_text == "Здравствуйте!"
        assert caught.value.trace_id or kind is ProtocolError
        posts = [r for r in service.server.records if isinstance(r, Requested) and r.method == "POST"]
        assert len(posts) == attempts
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.error) == ("failed", caught.value)


@pytest.mark.parametrize(("key", "status"), [("0123456789abcdef0123456789abcdef", 400), ("sk_wrong-key", 401)])
async def test_bad_keys_as_recorded(autojump_clock: trio.testing.MockClock, key: str, status: int) -> None:
    config = make_config(api_key=key)
    async with memory_service(Behaviour(api_keys=(API_KEY,))) as service:
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            with pytest.raises(AuthenticationError) as caught:
                async with tts.stream_static_text("Здравствуйте!") as audio:
                    await listen(audio)
            assert (caught.value.status, caught.value.code) == (status, "invalid_api_key")
            assert key not in str(caught.value) + repr(caught.value)
            with pytest.raises(AuthenticationError) as caught:
                async with tts.speak(["Здравствуйте!"]) as audio:
                    await listen(audio)
            assert (caught.value.close_code, caught.value.code) == (1008, "invalid_api_key")


async def test_too_many_at_once_for_the_plan(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        service.server.behaviour = Behaviour(concurrency=1, speed=1.0)
        async with tts.stream_static_text(TEXTS["ru"]) as first:
            await first.receive()
            with pytest.raises(ConcurrencyError) as caught:
                async with tts.stream_static_text("Да.") as second:
                    await listen(second)
        assert (caught.value.status, caught.value.code) == (429, "too_many_concurrent_requests")
        assert caught.value.retry_after is None


async def test_busy_and_then_good(autojump_clock: trio.testing.MockClock) -> None:
    busy = Behaviour(faults=(Fault("status", "answer", 429, path="/stream", count=1),))
    async with memory_service(busy) as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS["ru"]) as audio:
            assert heard(await listen(audio), tts.config) == TEXTS["ru"]
        assert [r.status for r in service.server.records if isinstance(r, Answered)].count(429) == 1


@pytest.mark.parametrize("fault", ["reset", "eof"])
async def test_an_answer_that_broke_is_not_asked_for_again(autojump_clock: trio.testing.MockClock, fault: str) -> None:
    """P31: what was delivered is never delivered twice."""
    broken = Behaviour(faults=(Fault(fault, "audio", frame=4, path="/stream"),))
    async with memory_service(broken) as service, speaking(make_config(), service.open_stream) as tts:
        sound = b""
        with pytest.raises(TTSConnectionError):
            async with tts.stream_static_text(TEXTS["en"]) as audio:
                async for chunk in audio:
                    sound += chunk
        assert sound
        assert TEXTS["en"].startswith(heard(sound, tts.config))
        posts = [r for r in service.server.records if isinstance(r, Requested) and r.method == "POST"]
        assert len(posts) == 1


async def test_the_headers_of_an_ogg_stream_are_not_given_twice(autojump_clock: trio.testing.MockClock) -> None:
    """P31: they last no time, but they were delivered."""
    config = make_config(output_format="opus_48000_32", on_lost_connection="raise")
    broken = Behaviour(faults=(Fault("reset", "audio", frame=1, path="/stream"),))
    async with memory_service(broken) as service, speaking(config, service.open_stream) as tts:
        sound = b""
        with pytest.raises(TTSConnectionError):
            async with tts.stream_static_text(TEXTS["en"]) as audio:
                async for chunk in audio:
                    sound += chunk
        assert sound.count(b"OpusHead") == 1
        posts = [r for r in service.server.records if isinstance(r, Requested) and r.method == "POST"]
        assert len(posts) == 1


async def test_an_answer_without_audio_is_no_success(autojump_clock: trio.testing.MockClock) -> None:
    """P3, over HTTP."""
    silent = Behaviour(faults=(Fault("skip", "audio", frame=None, path="/stream"),))
    async with memory_service(silent) as service, speaking(make_config(), service.open_stream) as tts:
        with pytest.raises(TTSConnectionError, match="no audio"):
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)


async def test_a_slow_consumer_bounds_what_is_held(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(max_lead=1.0)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(" ".join([TEXTS["ru"]] * 20)) as audio:  # more than three minutes
            await trio.sleep(100)
            held = audio.statistics().current_buffer_used
            assert held >= 1
            sound = b""
            for _ in range(held):
                sound += audio.receive_nowait()
            assert 1 <= len(sound) / 32000 < 5
            sound += await listen(audio)
        assert heard(sound, config) == " ".join([TEXTS["ru"]] * 20)
