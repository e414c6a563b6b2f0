"""What telling OpenTelemetry of an utterance costs: `python -m benchmarks telemetry`.

An utterance is spoken once, in memory, and then told of many times: to nobody (OpenTelemetry is not installed), to the
API without an SDK, and to the SDK with exporters in memory. Beside it, the processor time of such an utterance itself.

    python -m benchmarks telemetry [--quick] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from unittest.mock import patch

import attrs
import trio
import trio.testing
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks import pictures
from benchmarks.script import Report, options_of
from tests.helpers import ENGLISH, listen, make_config, memory_service, speaking
from tts_trio import UtteranceRecord
from tts_trio.cli.console import progress
from tts_trio.manager import TTSManager
from tts_trio.speech.telemetry import Telemetry, telemetry_for

_TIMES = 5000
_UTTERANCES = 50


@attrs.define
class _Keeper:
    """Keeps the utterance that it is told of."""

    told: Callable[[], UtteranceRecord] | None = None

    def utterance_ended(self, record: Callable[[], UtteranceRecord]) -> None:
        """Keep it."""
        self.told = record


async def _speak(tts: TTSManager) -> None:
    async with tts.speak([ENGLISH]) as audio:
        await listen(audio)


def _microseconds(times: int, work: Callable[[], object]) -> float:
    """The processor time of one of so many, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            work()
        best = min(best, time.process_time() - began)
    return best / times * 1e6


def _tellers() -> dict[str, Telemetry]:
    config = make_config()
    with patch.dict(sys.modules, {"opentelemetry": None}):
        tellers = {"not installed": telemetry_for(config)}
    tellers["API only"] = telemetry_for(config)
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    with (
        patch.object(trace, "get_tracer_provider", lambda: tracers),
        patch.object(metrics, "get_meter_provider", lambda: meters),
    ):
        tellers["SDK"] = telemetry_for(config)
    return tellers


async def _main(options: argparse.Namespace) -> None:
    report = Report("telemetry", options)
    fewer = 10 if options.quick else 1
    keeper = _Keeper()
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with patch.object(tts, "_telemetry", keeper):
            await _speak(tts)
        began = time.process_time()
        for _ in range(_UTTERANCES // fewer):
            await _speak(tts)
        whole = (time.process_time() - began) / (_UTTERANCES // fewer) * 1e6
    told = keeper.told
    assert told is not None
    costs: dict[str, float] = {}
    tellers = _tellers()
    with progress("telemetry", len(tellers)) as advance:
        for name, teller in tellers.items():
            costs[name] = _microseconds(_TIMES // fewer, lambda teller=teller: teller.utterance_ended(told))
            advance()
    report.add(
        "Telling of an utterance, processor time in µs",
        (
            {"OpenTelemetry": name, "µs": cost, "of an utterance, both ends": cost / whole}
            for name, cost in costs.items()
        ),
    )
    pictures.bars(
        report.picture(),
        "Telling OpenTelemetry of an utterance, the best of five rounds",
        "µs of processor time",
        costs,
    )
    report.write()


if __name__ == "__main__":
    trio.run(_main, options_of(__doc__ or "").parse_args(), clock=trio.testing.MockClock(autojump_threshold=0))
