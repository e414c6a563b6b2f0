"""The record of an utterance, which `on_utterance` gets: each time to the millisecond, each outcome, each way to it."""

from __future__ import annotations

import json
import logging
from array import array
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import (
    API_KEY,
    ENGLISH,
    RUSSIAN,
    TEXTS,
    VOICE_ID,
    Service,
    listen,
    make_config,
    memory_service,
    speaking,
    tokens,
)
from tests.helpers.sound import decode
from tts_trio import (
    OUTPUT_FORMATS,
    ConfigurationError,
    MemoryCache,
    QuotaError,
    TTSConnectionError,
    TTSManager,
    UtteranceRecord,
    WebSocketConnectionManager,
    sync,
)
from tts_trio.local_server import Behavior, Fault, LocalServer, ToneVoice
from tts_trio.local_server.speech import Speech
from tts_trio.speech.leading_silence import LeadingSilence
from tts_trio.testing import server_in_a_thread

QUICK = Behavior(model_latency=0.1)
_BREATH_MS = 90


class Hesitant(ToneVoice):
    """A voice that begins with silence, which its times have as a part of the first character, as the service's do."""

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        spoken = super().speak(text, language_code=language_code, speed=speed, sample_rate=sample_rate)
        breath = _BREATH_MS * sample_rate // 1000
        borders = [0, *(border * sample_rate // 1000 + breath for border in spoken.borders_ms[1:])]
        return Speech.of(text, bytes(2 * breath) + spoken.samples, sample_rate, borders)


@pytest.fixture
def records() -> list[UtteranceRecord]:
    return []


def times(record: UtteranceRecord) -> dict[str, float | None]:
    """Its instants, to the microsecond."""
    names = ("started", "connected", "first_text", "first_sent", "first_received", "first_delivered", "first_audible")
    values = {name: getattr(record, f"{name}_ms") for name in (*names, "ended", "left")}
    return {name: None if value is None else round(value, 3) for name, value in values.items()}


@pytest.mark.parametrize(("language", "output_format", "sent_ms"), [("en", "pcm_16000", 120), ("ru", "ulaw_8000", 160)])
async def test_a_reply_that_waits_for_its_connection_and_its_llm(
    autojump_clock: trio.testing.MockClock,
    records: list[UtteranceRecord],
    language: str,
    output_format: str,
    sent_ms: float,
) -> None:
    """A dial of 300 ms, 500 ms until the first token, some tokens until a phrase is complete, 100 ms of model."""
    config = make_config(on_utterance=records.append, language_code=language, output_format=output_format)
    server = LocalServer(QUICK, voice=Hesitant())
    async with trio.open_nursery() as nursery:
        service = Service(server, nursery, dial_time=0.3)
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            async with tts.start_llm_stream() as (text, audio), trio.open_nursery() as own:
                own.start_soon(listen, audio)
                await trio.sleep(0.5)
                async with text:
                    async for token in tokens(TEXTS[language]):
                        await text.send(token)
            assert audio.timeline.ended is not None
            assert audio.timeline.first_text is not None
        nursery.cancel_scope.cancel()
    (record,) = records
    ended_ms = round(1000 * (audio.timeline.ended - audio.timeline.first_text), 3)
    assert times(record) == {
        "started": -800,
        "connected": -500,
        "first_text": 0,
        "first_sent": sent_ms,
        "first_received": sent_ms + 100,
        "first_delivered": sent_ms + 100,
        "first_audible": sent_ms + 100 + _BREATH_MS,
        "ended": ended_ms,
        "left": ended_ms,
    }
    assert (record.kind, record.end, record.error, record.connection) == ("reply", "finished", None, "dialed")
    assert (record.cached, record.replays, record.characters) == (False, 0, audio.usage.characters)
    assert record.trace_id == audio.usage.trace_id is not None
    assert record.audio_ms == audio.received_ms
    assert record.discarded_bytes == record.underruns == record.underrun_ms == 0


async def test_a_hot_connection_is_reused(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord], endpoint: str
) -> None:
    config = make_config(endpoint, on_utterance=records.append)
    async with memory_service(QUICK, dial_time=0.3) as service, speaking(config, service.open_stream) as tts:
        for text in TEXTS.values():
            async with tts.speak([text]) as audio:
                await listen(audio)
            await trio.sleep(2)
    assert [record.connection for record in records] == ["reused", "reused"]
    assert [record.started_ms for record in records] == [0, 0]
    assert [record.connected_ms for record in records] == [0, 0]


@pytest.mark.parametrize("language", TEXTS)
async def test_a_static_text_from_the_service_and_from_the_cache(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord], language: str
) -> None:
    config = make_config(on_utterance=records.append, audio_cache=MemoryCache())
    text = TEXTS[language]
    async with memory_service(QUICK, dial_time=0.3) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                for said in (text, text, f"{text} {text}"):
                    async with tts.stream_static_text(said) as audio:
                        await listen(audio)
    dialed, cached, reused = records
    assert [record.connection for record in records] == ["dialed", None, "reused"]
    assert [record.characters for record in records] == [len(text), 0, 2 * len(text) + 1]
    assert [record.cached for record in records] == [False, True, False]
    assert times(dialed) | {"ended": 0, "left": 0} == {
        "started": 0,
        "connected": None,
        "first_text": 0,
        "first_sent": 300,
        "first_received": 400,
        "first_delivered": 400,
        "first_audible": 400,
        "ended": 0,
        "left": 0,
    }
    assert set(times(cached).values()) == {0, None}
    assert (reused.first_received_ms, reused.kind) == (pytest.approx(100), "static text")
    assert dialed.credits is not None
    assert dialed.request_id is not None


@pytest.mark.parametrize("language", TEXTS)
async def test_a_reply_whose_opening_was_kept(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord], language: str
) -> None:
    opening = {"en": "One moment, please. ", "ru": "Одну минуту, пожалуйста. "}[language]
    config = make_config(opening_cache=MemoryCache(), language_code=language, on_utterance=records.append)
    async with memory_service(QUICK) as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch_openings([opening])
        assert records == []  # nobody listens to a prefetch
        async with tts.speak([opening + TEXTS[language]]) as audio:
            await listen(audio)
    (record,) = records
    assert (record.cached, record.connection, record.first_received_ms) == (True, "reused", 0)
    assert record.characters == audio.usage.characters > 0


async def test_what_was_lost_interrupted_late_or_refused(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord]
) -> None:
    config = make_config(on_utterance=records.append)
    lost_once = Behavior(faults=(Fault("reset", "audio", frame=2, count=1),))
    async with memory_service(lost_once) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
        async with tts.speak([RUSSIAN]) as audio:
            await audio.receive()
            await trio.sleep(0.25)
        service.server.behavior = Behavior(quota=10)
        with pytest.raises(QuotaError):
            async with tts.speak([RUSSIAN]) as audio:
                await listen(audio)
        async with tts.start_llm_stream():
            await trio.sleep(0.1)
    replayed, interrupted, failed, silent = records
    assert (replayed.end, replayed.replays) == ("finished", 1)
    assert (interrupted.end, interrupted.error) == ("interrupted", None)
    assert interrupted.discarded_bytes > 0
    assert interrupted.ended_ms is not None
    assert interrupted.ended_ms == interrupted.left_ms == pytest.approx((interrupted.first_delivered_ms or 0) + 250)
    assert (failed.end, type(failed.error), failed.first_audible_ms) == ("failed", QuotaError, None)
    assert times(silent) == dict.fromkeys(times(silent)) | {"started": 0, "connected": 0, "ended": 100, "left": 100}


async def test_underruns_are_those_of_the_pacer(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord]
) -> None:
    late = Behavior(faults=(Fault("delay", "audio", 2.5, frame=1),))
    async with memory_service(late) as service:
        async with speaking(make_config(on_utterance=records.append), service.open_stream) as tts:
            async with tts.speak([RUSSIAN]) as audio:
                frames = audio.paced()
                async for _ in frames:
                    pass
            async with tts.speak([RUSSIAN]) as audio:
                await listen(audio)
    paced, taken = records
    assert (paced.underruns, paced.underrun_ms) == (frames.underruns, frames.underrun_ms)
    assert paced.underruns > 0
    assert (taken.underruns, taken.underrun_ms) == (0, 0)


async def test_what_the_function_raises_ends_no_call(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_record: UtteranceRecord) -> None:
        raise OSError("the disk is full")

    async with memory_service() as service, speaking(make_config(on_utterance=fail), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
        async with tts.stream_static_text(RUSSIAN) as audio:
            await listen(audio)
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    assert caplog.text.count("on_utterance raised an exception") == 2
    assert "the disk is full" in caplog.text


async def test_an_error_of_the_body_is_raised_and_recorded(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord]
) -> None:
    config = make_config(on_utterance=records.append)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ZeroDivisionError):
            async with tts.speak([ENGLISH]) as audio:
                await audio.receive()
                raise ZeroDivisionError
        with trio.move_on_after(0.5):
            async with tts.speak([RUSSIAN]) as audio:
                await trio.sleep_forever()
    assert [(record.end, record.error) for record in records] == [("interrupted", None)] * 2


@pytest.mark.parametrize("language", TEXTS)
async def test_one_line_without_the_text_and_the_key(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, language: str
) -> None:
    caplog.set_level(logging.INFO, "tts_trio.config.utterance_record")
    config = make_config(on_utterance=UtteranceRecord.log, language_code=language)
    lost = Behavior(model_latency=0.1, faults=(Fault("reset", "audio", frame=1, skip=1),))
    async with memory_service(lost) as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS[language]) as audio:
            await listen(audio)
        with pytest.raises(TTSConnectionError):
            async with tts.speak([TEXTS[language]]) as audio:
                await listen(audio)
    first, second = [record.getMessage() for record in caplog.records if record.name.endswith("utterance_record")]
    spoken_by = f"voice_id={VOICE_ID} model_id=eleven_flash_v2_5"
    assert first.startswith(
        f"static text: {spoken_by} end=finished connection=reused cached=False replays=0 hedge=none "
        "hedged_characters=0 characters="
    )
    assert " first_received_ms=100.0 " in first
    assert second.startswith(f"reply: {spoken_by} end=failed error=TTSConnectionError connection=reused ")
    for line in (first, second):
        assert "None" not in line
        for secret in (API_KEY, *TEXTS[language].split()[:3]):
            assert secret not in line


async def test_a_record_is_frozen_and_becomes_json(
    autojump_clock: trio.testing.MockClock, records: list[UtteranceRecord]
) -> None:
    config = make_config(on_utterance=records.append)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([RUSSIAN]) as audio:
            await listen(audio)
    (record,) = records
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        record.characters = 0  # type: ignore[misc]
    assert json.loads(json.dumps(attrs.asdict(record)))["characters"] == audio.usage.characters


async def _coroutine(_record: UtteranceRecord) -> None: ...


@pytest.mark.parametrize("value", [_coroutine, "log", lambda: None, lambda _one, _two: None, 1])
def test_what_is_no_such_function_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^on_utterance: .* an UtteranceRecord, .* no async def, or None$"):
        make_config(on_utterance=value)


def test_without_async_it_is_called_too(records: list[UtteranceRecord]) -> None:
    with server_in_a_thread(Behavior()) as server:
        config = make_config(on_utterance=records.append, base_url=server.base_url)
        with sync.open_tts(config) as tts:
            with tts.speak("Да.") as audio:
                assert b"".join(audio)
            with tts.stream_static_text("Yes.") as audio:
                assert b"".join(audio)
    assert [(record.kind, record.end) for record in records] == [("reply", "finished"), ("static text", "finished")]


@pytest.mark.parametrize("output_format", ["pcm_8000", "ulaw_8000", "alaw_8000"])
def test_what_is_below_half_a_percent_is_silent(output_format: str) -> None:
    """Of each sample that a format has, decoded by FFmpeg."""
    if output_format == "pcm_8000":
        sounds = [array("h", [level]).tobytes() for level in range(-400, 400, 7)]
    else:
        sounds = [bytes([code]) for code in range(256)]
    for sound, level in zip(sounds, decode(output_format, b"".join(sounds)), strict=True):
        silence = LeadingSilence(OUTPUT_FORMATS[output_format])
        silence.feed(sound * 80)
        assert (silence.seconds is None) == (abs(level) <= 164), (sound, level)


@pytest.mark.parametrize("cut", [2, 6, 80, 400])
def test_silence_is_measured_over_pieces(cut: int) -> None:
    sound = bytes(2 * 37) + b"\1\0" * 50 + b"\0\x40" * 9 + bytes(20)
    silence = LeadingSilence(OUTPUT_FORMATS["pcm_16000"])
    for start in range(0, len(sound), cut):
        silence.feed(sound[start : start + cut])
    assert silence.seconds == 87 / 16000


def test_mp3_is_not_decoded() -> None:
    silence = LeadingSilence(OUTPUT_FORMATS["mp3_44100_128"])
    silence.feed(b"\xff\xfb" * 100)
    assert silence.seconds is None
