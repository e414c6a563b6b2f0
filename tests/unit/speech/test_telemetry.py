"""Spans and metrics, read back through the OpenTelemetry SDK's exporters in memory; and nothing where it is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.helpers import API_KEY, ENGLISH, RUSSIAN, TEXTS, listen, make_config, memory_service, speaking, tokens
from tts_trio import (
    MemoryCache,
    QuotaError,
    Timeouts,
    TTSConnectionError,
    TTSManager,
    UtteranceRecord,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault
from tts_trio.speech.telemetry import telemetry_for

BOUNDED = {
    *("gen_ai.request.model", "server.address", "tts.utterance.kind"),
    *("tts.utterance.end", "tts.cache.hit", "error.type"),
}


@attrs.define
class Told:
    """What OpenTelemetry was told."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracers: TracerProvider

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """By instrument: the attributes of each series, and its sum, or the values that it has, as (count, sum)."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "tts_trio"
                for metric in scope.metrics:
                    found[metric.name] = [
                        (dict(point.attributes), getattr(point, "value", None) or (point.count, point.sum))  # type: ignore[union-attr]
                        for point in metric.data.data_points
                    ]
        return found

    def value(self, name: str) -> Any:
        """Of an instrument that has one series."""
        ((_, value),) = self.metrics()[name]
        return value


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    yield Told(exporter, reader, tracers)
    meters.shutdown()
    tracers.shutdown()


def milliseconds(span: ReadableSpan) -> dict[str, float]:
    """When its events happened, and when it ended, after its beginning."""
    assert span.start_time is not None
    assert span.end_time is not None
    times = {event.name: event.timestamp for event in span.events} | {"end": span.end_time}
    return {name: (at - span.start_time) / 1e6 for name, at in times.items()}


@pytest.mark.parametrize("language", TEXTS)
async def test_a_good_turn(autojump_clock: trio.testing.MockClock, told: Told, language: str) -> None:
    text = TEXTS[language]
    began = time.time_ns()
    async with memory_service(Behavior(model_latency=0.1), dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            with told.tracers.get_tracer("the application's").start_as_current_span("the caller's turn") as turn:
                async with tts.speak([text]) as audio:
                    await trio.sleep(0.5)
                    await listen(audio)
    span, _ = told.spans()
    assert span.name == "tts reply"
    assert span.parent == turn.get_span_context()
    assert span.kind == trace.SpanKind.CLIENT
    assert span.status.status_code == StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["tts.utterance.end"] == "finished"
    assert span.attributes["tts.characters"] == audio.usage.characters
    assert span.attributes["elevenlabs.trace_id"] == audio.usage.trace_id
    assert span.end_time is not None
    assert began <= span.end_time <= time.time_ns()  # by people's clock, of which virtual time takes none
    times = milliseconds(span)
    assert times["first_sent"] == pytest.approx(0, abs=0.001)
    assert times["first_received"] == pytest.approx(100, abs=0.001)
    assert times["first_delivered"] == pytest.approx(500, abs=0.001)
    assert times["end"] > 500
    measured = told.metrics()
    assert told.value("tts.client.time_to_first_audio") == (1, pytest.approx(0.1))
    assert told.value("tts.client.delivery.duration") == (1, pytest.approx(0.4))
    assert told.value("tts.client.utterance.characters") == audio.usage.characters
    assert told.value("tts.client.connect.duration") == (2, pytest.approx(0.6))  # the one, and the spare behind it
    for name in ("connection.losses", "utterance.replays", "cache.hits", "audio.discarded"):
        assert f"tts.client.{name}" not in measured


def test_the_api_without_an_sdk_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its providers record nothing, so no utterance's record is made for them. One provider of an SDK is enough."""
    config = make_config()
    for provider in (trace.ProxyTracerProvider(), trace.NoOpTracerProvider()):
        monkeypatch.setattr(trace, "get_tracer_provider", lambda provider=provider: provider)
        monkeypatch.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)
        telemetry_for(config).utterance_ended(lambda: pytest.fail("a record was made"))
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    with pytest.raises(ZeroDivisionError):
        telemetry_for(config).utterance_ended(lambda: 1 // 0)  # type: ignore[arg-type, return-value]


async def test_a_span_has_the_times_of_the_record(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    """A reply that waits 300 ms for its connection and 200 ms for its text. The span begins with its block."""
    records: list[UtteranceRecord] = []
    async with memory_service(Behavior(model_latency=0.1), dial_time=0.3) as service:
        config = make_config(on_utterance=records.append)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, tts.start_llm_stream() as (text, audio):
                await trio.sleep(0.2)
                with text:
                    await text.send(RUSSIAN)
                await listen(audio)
    (span,), (record,) = told.spans(), records
    assert record.started_ms == pytest.approx(-500)
    expected = {"connected": 300, "first_text": 500, "first_sent": 500, "first_received": 600, "first_delivered": 600}
    assert milliseconds(span) == pytest.approx(expected | {"end": record.left_ms + 500}, abs=0.001)
    assert told.value("tts.client.time_to_first_audio") == (1, pytest.approx(0.1))
    assert told.value("tts.client.utterance.duration") == (1, pytest.approx((record.left_ms + 500) / 1000))


async def test_an_interrupted_turn(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(tokens(RUSSIAN)) as audio:
            delivered = len(await audio.receive())
            await trio.sleep(1)
            came = round(audio.received_ms * 32)
    (span,) = told.spans()
    assert span.attributes is not None
    assert span.attributes["tts.utterance.end"] == "interrupted"
    assert span.status.status_code == StatusCode.UNSET  # a barge-in is no error
    assert told.value("tts.client.audio.discarded") == came - delivered > 0


async def test_a_replayed_turn(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    broken_once = Behavior(faults=(Fault("reset", "audio", frame=2, count=1),))
    async with memory_service(broken_once) as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
    (span,) = told.spans()
    assert span.attributes is not None
    assert (span.attributes["tts.utterance.end"], span.attributes["tts.replays"]) == ("finished", 1)
    assert told.value("tts.client.utterance.replays") == 1
    ((attributes, losses),) = told.metrics()["tts.client.connection.losses"]
    assert (attributes["error.type"], losses) == ("TTSConnectionError", 1)


async def test_a_failed_turn(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    async with memory_service(Behavior(quota=10)) as service, speaking(make_config(), service.open_stream) as tts:
        for speech in (tts.speak([ENGLISH]), tts.stream_static_text(ENGLISH)):
            with pytest.raises(QuotaError):
                async with speech as audio:
                    await listen(audio)
    reply, phrase = told.spans()
    for span in (reply, phrase):
        assert span.attributes is not None
        assert span.status.status_code == StatusCode.ERROR
        assert (span.attributes["tts.utterance.end"], span.attributes["error.type"]) == ("failed", "QuotaError")
        assert not span.status.description
    assert phrase.attributes is not None
    assert phrase.attributes["http.response.status_code"] == 401


async def test_a_phrase_from_the_cache(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for _ in range(3):
            async with tts.stream_static_text(RUSSIAN) as audio:
                await listen(audio)
    assert told.value("tts.client.cache.hits") == 2
    counts = {attributes["tts.cache.hit"]: count for attributes, (count, _) in times(told)}
    assert counts == {True: 2, False: 1}
    assert told.value("tts.client.utterance.characters") == len(RUSSIAN)


def times(told: Told) -> list[tuple[dict[str, Any], Any]]:
    return told.metrics()["tts.client.time_to_first_audio"]


async def test_a_dial_that_fails(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    service_down = Behavior(faults=(Fault("reset", "accept"),))
    config = make_config(timeouts=Timeouts(connect=1))
    async with memory_service(service_down) as service:
        with pytest.raises(TTSConnectionError):
            async with speaking(config, service.open_stream):
                pytest.fail("there is no connection")
    ((attributes, (count, _)),) = told.metrics()["tts.client.connect.duration"]
    assert attributes["error.type"] == "TTSConnectionError"
    assert count >= 1
    assert told.spans() == []


async def test_no_text_no_key_and_bounded_attributes(autojump_clock: trio.testing.MockClock, told: Told) -> None:
    lost_once = (Fault("reset", "audio", frame=1, skip=1, count=1),)
    for behavior in (Behavior(), Behavior(faults=lost_once), Behavior(quota=3)):
        async with memory_service(behavior) as service, speaking(make_config(), service.open_stream) as tts:
            for text in TEXTS.values():
                for speech in (tts.speak([text]), tts.stream_static_text(text)):
                    with trio.move_on_after(2):
                        try:
                            async with speech as audio:
                                await listen(audio)
                        except (QuotaError, TTSConnectionError):
                            pass
    shown = " ".join(span.to_json() for span in told.spans()) + repr(told.metrics())
    assert len(told.spans()) == 12
    for secret in (API_KEY, "number", "Здравствуйте", "заказ"):
        assert secret not in shown
    for series in told.metrics().values():
        assert all(set(attributes) <= BOUNDED for attributes, _ in series)


async def test_an_exporter_that_fails_costs_no_call(
    autojump_clock: trio.testing.MockClock,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_self: object, _span: object) -> None:
        raise OSError("the exporter is broken")

    monkeypatch.setattr(SimpleSpanProcessor, "on_end", fail)
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    assert "OpenTelemetry did not record an utterance" in caplog.text


async def test_metrics_that_are_broken_end_no_call(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, _name: str) -> Any:
            def fail(*_arguments: object, **_named: object) -> None:
                raise OSError("the metrics are broken")

            return fail

    class Meters:
        def get_meter(self, *_arguments: object) -> Any:
            return self

        def create_histogram(self, *_arguments: object, **_named: object) -> Broken:
            return Broken()

        create_counter = create_histogram

    monkeypatch.setattr(metrics, "get_meter_provider", Meters)
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            sound = await audio.receive()
            for link in service.links:
                await link.aclose()
            sound += await listen(audio)
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    for what in ("a dial", "an utterance", "a lost socket"):
        assert f"OpenTelemetry did not record {what}" in caplog.text


@pytest.mark.parametrize("language", TEXTS)
async def test_a_reply_that_begins_from_memory_is_a_hit(
    autojump_clock: trio.testing.MockClock, told: Told, language: str
) -> None:
    """Its first sound was kept, and the rest was not: the characters are those of the rest."""
    opening = {"en": "One moment, please. ", "ru": "Одну минуту, пожалуйста. "}[language]
    text = TEXTS[language]
    config = make_config(opening_cache=MemoryCache(), language_code=language)
    async with memory_service(Behavior(model_latency=0.1)) as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch_openings([opening])
        for said in (text, opening + text):
            async with tts.start_llm_stream() as (channel, audio):
                await channel.send(said)
                channel.close()
                await listen(audio)
    spans = [dict(span.attributes or {}) for span in told.spans()]
    assert [span["tts.cache.hit"] for span in spans] == [False, True]
    assert spans[0]["tts.characters"] == spans[1]["tts.characters"] == audio.usage.characters
    assert told.value("tts.client.cache.hits") == 1
    first_audio = told.metrics()["tts.client.time_to_first_audio"]
    assert {attributes["tts.cache.hit"]: value for attributes, value in first_audio} == {
        False: (1, pytest.approx(0.1)),
        True: (1, pytest.approx(0)),
    }
