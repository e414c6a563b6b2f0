"""Static texts over HTTP, on MockClock: whole samples, typed errors, and an answer that is never asked for twice."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.helpers import (
    API_KEY,
    TEXTS,
    VOICE_ID,
    heard,
    listen,
    make_config,
    memory_service,
    posts,
    speaking,
    tokens,
)
from tts_trio import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    ProtocolError,
    ServiceUnavailableError,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    VoiceSettings,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Answered, Behavior, Fault
from tts_trio.static_text.driver import RequestHistory, StaticText, StaticTextRequest
from tts_trio.static_text.source import OnEvent, RequestSent
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest


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
        [request] = posts(service.server)
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


REFUSALS: list[tuple[Behavior, type[TTSError], str | None, int]] = [
    (Behavior(api_keys=("other",)), AuthenticationError, None, 1),
    (Behavior(voices=("other",)), ConfigurationError, "voice_not_found", 1),
    (Behavior(forbidden_formats=("pcm_16000",)), ConfigurationError, "output_format_not_allowed", 1),
    (Behavior(faults=(Fault("status", "answer", 429, path="/stream"),)), ServiceUnavailableError, "system_busy", 3),
    (Behavior(faults=(Fault("status", "answer", 500, path="/stream"),)), ServiceUnavailableError, None, 3),
    (Behavior(faults=(Fault("status", "answer", 503, path="/stream"),)), ServiceUnavailableError, None, 3),
    (Behavior(faults=(Fault("content_type", "answer", "text/html", path="/stream"),)), ProtocolError, None, 1),
    (Behavior(faults=(Fault("error_200", "answer", path="/stream"),)), ServiceUnavailableError, None, 3),
]


@pytest.mark.parametrize(("behavior", "kind", "code", "attempts"), REFUSALS)
async def test_refusals_are_typed_and_retried_where_that_can_help(
    autojump_clock: trio.testing.MockClock, behavior: Behavior, kind: type[TTSError], code: str | None, attempts: int
) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        service.server.behavior = behavior
        with pytest.raises(kind) as caught:
            async with tts.stream_static_text("Здравствуйте!") as audio:
                await listen(audio)
        assert code in {None, caught.value.code}
        assert API_KEY not in repr(caught.value) + str(caught.value)
        assert caught.value.unspoken_text == "Здравствуйте!"
        assert caught.value.trace_id or kind is ProtocolError
        assert len(posts(service.server)) == attempts
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.error) == ("failed", caught.value)


@pytest.mark.parametrize(("key", "status"), [("0123456789abcdef0123456789abcdef", 400), ("sk_wrong-key", 401)])
async def test_bad_keys_as_recorded(autojump_clock: trio.testing.MockClock, key: str, status: int) -> None:
    config = make_config(api_key=key)
    async with memory_service(Behavior(api_keys=(API_KEY,))) as service:
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
        service.server.behavior = Behavior(concurrency=1, speed=1.0)
        async with tts.stream_static_text(TEXTS["ru"]) as first:
            await first.receive()
            with pytest.raises(ConcurrencyError) as caught:
                async with tts.stream_static_text("Да.") as second:
                    await listen(second)
        assert (caught.value.status, caught.value.code) == (429, "too_many_concurrent_requests")
        assert caught.value.retry_after is None


async def test_busy_and_then_good(autojump_clock: trio.testing.MockClock) -> None:
    busy = Behavior(faults=(Fault("status", "answer", 429, path="/stream", count=1),))
    async with memory_service(busy) as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS["ru"]) as audio:
            assert heard(await listen(audio), tts.config) == TEXTS["ru"]
        assert [r.status for r in service.server.records if isinstance(r, Answered)].count(429) == 1


@pytest.mark.parametrize("fault", ["reset", "eof"])
async def test_an_answer_that_broke_is_not_asked_for_again(autojump_clock: trio.testing.MockClock, fault: str) -> None:
    """P31: what was delivered is never delivered twice."""
    broken = Behavior(faults=(Fault(fault, "audio", frame=4, path="/stream"),))
    async with memory_service(broken) as service, speaking(make_config(), service.open_stream) as tts:
        sound = b""
        with pytest.raises(TTSConnectionError):
            async with tts.stream_static_text(TEXTS["en"]) as audio:
                async for chunk in audio:
                    sound += chunk
        assert sound
        assert TEXTS["en"].startswith(heard(sound, tts.config))
        assert len(posts(service.server)) == 1


async def test_the_headers_of_an_ogg_stream_are_not_given_twice(autojump_clock: trio.testing.MockClock) -> None:
    """P31: they last no time, but they were delivered."""
    config = make_config(output_format="opus_48000_32", on_lost_connection="raise")
    broken = Behavior(faults=(Fault("reset", "audio", frame=1, path="/stream"),))
    async with memory_service(broken) as service, speaking(config, service.open_stream) as tts:
        sound = b""
        with pytest.raises(TTSConnectionError):
            async with tts.stream_static_text(TEXTS["en"]) as audio:
                async for chunk in audio:
                    sound += chunk
        assert sound.count(b"OpusHead") == 1
        assert len(posts(service.server)) == 1


async def test_an_answer_without_audio_is_no_success(autojump_clock: trio.testing.MockClock) -> None:
    """P3, over HTTP."""
    silent = Behavior(faults=(Fault("skip", "audio", frame=None, path="/stream"),))
    async with memory_service(silent) as service, speaking(make_config(), service.open_stream) as tts:
        with pytest.raises(TTSConnectionError, match="no audio"):
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)


async def test_a_slow_consumer_bounds_what_is_held(autojump_clock: trio.testing.MockClock) -> None:
    long = " ".join([TEXTS["ru"]] * 8)  # 80 seconds
    config = make_config(max_lead=1.0)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(long) as audio:
            await trio.sleep(100)
            held = audio.statistics().current_buffer_used
            assert held >= 1
            sound = b""
            for _ in range(held):
                sound += audio.receive_nowait()
            assert 1 <= len(sound) / 32000 < 5
            sound += await listen(audio)
        assert heard(sound, config) == long


# --- what is said of one phrase


async def test_a_phrase_can_have_a_context_a_voice_and_settings_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = VoiceSettings(stability=0.3, speed=0.8)
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        other = tts.stream_static_text(
            "Да.", previous_text="Вы Анна?", next_text="Ждите.", voice="x", settings=settings
        )
        async with other as audio:
            slow = await listen(audio)
        async with tts.stream_static_text("Да.") as audio:
            assert len(slow) > len(await listen(audio))
        first, second = posts(service.server)
        assert first.path == "/v1/text-to-speech/x/stream"
        assert first.body["previous_text"] == "Вы Анна?"
        assert first.body["next_text"] == "Ждите."
        assert first.body["voice_settings"] == {"stability": 0.3, "speed": 0.8}
        assert second.path == f"/v1/text-to-speech/{VOICE_ID}/stream"
        assert not {"previous_text", "next_text", "voice_settings"} & set(second.body)


@pytest.mark.parametrize("context", ["previous_text", "next_text"])
async def test_a_context_that_the_model_does_not_take_is_refused_before_it_is_sent(
    autojump_clock: trio.testing.MockClock, context: str
) -> None:
    config = make_config(model_id="eleven_v3")
    async with memory_service() as service:
        connections = WebSocketConnectionManager(config, open_stream=service.open_stream)
        async with connections, TTSManager(config, connections) as tts:
            with pytest.raises(ConfigurationError, match=f"{context}: the model eleven_v3 does not support") as caught:
                tts.stream_static_text("Hello", **{context: "Anna"})
            assert caught.value.field == context
            async with tts.stream_static_text("Hello") as audio:
                assert heard(await listen(audio), config) == "Hello"
        assert len(posts(service.server)) == 1


async def test_a_phrase_is_stitched_to_those_that_were_answered_whole(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(request_stitching=True)
    ids: list[str | None] = []
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for _ in range(4):
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)
            ids.append(audio.usage.request_id)
        async with tts.stream_static_text(TEXTS["en"], previous_text="So") as audio:
            await audio.receive()  # left before its end
        async with tts.stream_static_text(TEXTS["en"], voice="another") as audio:
            await audio.receive()
        async with tts.stream_static_text("Yes.") as audio:
            await listen(audio)
        await trio.sleep(7200)
        async with tts.stream_static_text("Yes.") as audio:
            await listen(audio)
        stitched = [post.body.get("previous_request_ids") for post in posts(service.server)]
    assert None not in ids
    assert stitched == [None, ids[:1], ids[:2], ids[:3], None, None, ids[1:4], None]


@pytest.mark.parametrize("unfit", [{"model_id": "eleven_v3", "endpoint": None}, {"enable_logging": False}])
def test_stitching_is_refused_where_the_service_does_not_do_it(unfit: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="request_stitching"):
        make_config(request_stitching=True, **unfit)


# --- the times of the words


@pytest.mark.parametrize("output_format", ["pcm_16000", "mp3_44100_128"])
@pytest.mark.parametrize("language", TEXTS)
async def test_a_timed_phrase_knows_its_words(
    autojump_clock: trio.testing.MockClock, language: str, output_format: str
) -> None:
    text = TEXTS[language]
    config = make_config(static_timestamps=True, output_format=output_format)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(text) as audio:
            sound = await listen(audio)
        assert posts(service.server)[0].path.endswith("/stream/with-timestamps")
    assert [word.text for word in audio.words] == text.split()
    assert all(word.start_ms < word.end_ms for word in audio.words)
    assert all(word.end_ms <= later.start_ms for word, later in zip(audio.words, audio.words[1:], strict=False))
    middle = audio.words[len(audio.words) // 2]
    assert audio.spoken(middle.end_ms) == text[: middle.end]
    assert audio.spoken(middle.end_ms - 5) == text[: middle.start].rstrip()
    assert audio.usage.request_id
    if output_format == "pcm_16000":
        assert heard(sound, config) == text
        assert heard(sound[: round(middle.end_ms * 16) * 2], config) == text[: middle.end]


async def test_a_timed_phrase_that_was_left_tells_what_was_heard(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(static_timestamps=True)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS["ru"]) as audio:
            sound = b"".join([await audio.receive() for _ in range(3)])
    assert audio.outcome is not None
    assert audio.outcome.end == "interrupted"
    assert 0 < len(audio.outcome.spoken_text) < len(TEXTS["ru"])
    assert heard(sound, config).startswith(audio.outcome.spoken_text)
    assert audio.outcome.spoken_text + audio.outcome.unspoken_text == TEXTS["ru"]


async def test_an_error_in_place_of_a_timed_answer_is_typed(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(static_timestamps=True)
    refusing = Behavior(faults=(Fault("error_200", "answer", path="/with-timestamps"),))
    async with memory_service(refusing) as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ServiceUnavailableError):
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)
        assert len(posts(service.server)) == 3


# --- deadlines and retries


async def test_the_first_audio_is_due_from_when_the_connection_is_there(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config()
    async with memory_service(dial_time=4) as service:
        connections = WebSocketConnectionManager(config, open_stream=service.open_stream)
        async with connections, TTSManager(config, connections) as tts:
            async with tts.stream_static_text("Да.") as audio:
                assert heard(await listen(audio), config) == "Да."
        assert trio.current_time() > 4
        assert len(posts(service.server)) == 1


@pytest.mark.parametrize(("dial_time", "says", "within"), [(1000, "still connecting", 5.1), (0, "no route", 1.0)])
async def test_with_no_connection_the_error_is_the_dials(
    autojump_clock: trio.testing.MockClock, dial_time: float, says: str, within: float
) -> None:
    async def open_stream(_config: TTSConfig) -> trio.abc.Stream:
        await trio.sleep(dial_time)
        raise OSError("no route")

    config = make_config()
    connections = WebSocketConnectionManager(config, open_stream=open_stream)
    async with connections, TTSManager(config, connections) as tts:
        began = trio.current_time()
        with pytest.raises(TTSConnectionError, match=says) as caught:
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)
        assert type(caught.value) is TTSConnectionError
        assert trio.current_time() - began <= within
        assert audio.usage.characters == 0


@attrs.define
class Busy:
    """A source that asks to be left alone for some seconds, and then answers."""

    retry_after: float
    asked: list[float] = attrs.field(factory=list)

    async def ask(self, request: SpeechRequest, take: OnEvent) -> None:
        self.asked.append(trio.current_time())
        await take(RequestSent())
        if len(self.asked) == 1:
            raise ConcurrencyError("too many", retry_after=self.retry_after)
        await take(AudioReceived(bytes(3200)))


@attrs.define
class TooLate:
    """A source whose first request fails while it is given up because it is late, and whose second one is answered."""

    requests: int = 0

    async def ask(self, request: SpeechRequest, take: OnEvent) -> None:
        self.requests += 1
        await take(RequestSent())
        if self.requests == 1:
            try:
                await trio.sleep_forever()
            finally:
                raise TTSConnectionError("it broke in the same moment")
        await take(AudioReceived(bytes(3200)))


async def test_a_request_that_is_late_and_fails_is_one_loss(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """P12: a second request is allowed then. What fails may be a limiter's slot that is given back over the network."""
    late = TooLate()
    phrase = StaticText(StaticTextRequest.checked(make_config(max_replays=1), "Да."), late, RequestHistory())
    nursery.start_soon(phrase.run)
    audio = phrase.audio_channel()
    assert len(await listen(audio)) == 3200
    assert (late.requests, audio.usage.replays) == (2, 1)


async def test_a_retry_waits_as_long_as_the_service_asks_for(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy(retry_after=1.5)
    phrase = StaticText(StaticTextRequest.checked(make_config(), "Да."), busy, RequestHistory())
    nursery.start_soon(phrase.run)
    assert len(await listen(phrase.audio_channel())) == 3200
    assert busy.asked == [0, pytest.approx(1.5)]


async def test_a_retry_that_would_come_too_late_is_not_waited_for(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    busy = Busy(retry_after=60)
    phrase = StaticText(StaticTextRequest.checked(make_config(), "Да."), busy, RequestHistory())
    nursery.start_soon(phrase.run)
    with pytest.raises(ConcurrencyError) as caught:
        await listen(phrase.audio_channel())
    assert caught.value.retry_after == 60
    assert busy.asked == [0]
    assert trio.current_time() < 1
