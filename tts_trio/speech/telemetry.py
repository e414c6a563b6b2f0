"""Who is told of an utterance's end: `on_utterance`, and OpenTelemetry, if the process has a provider of it.

Both get the same `UtteranceRecord`. OpenTelemetry makes metrics and a span of it. The instruments have the attributes
`gen_ai.request.model`, `server.address`, `tts.utterance.kind`, and where they apply `error.type`, `tts.utterance.end`,
`tts.cache.hit`. They contain no text and no API key.

    tts.client.time_to_first_audio    s            from the first text of an utterance to its first audio
    tts.client.delivery.duration      s            from its first audio to its delivery: what this library adds
    tts.client.utterance.duration     s            from the entry to the exit of the block of an utterance
    tts.client.connect.duration       s            from the beginning of a dial until the socket is hot or has failed
    tts.client.connection.losses      {connection} hot sockets that were lost
    tts.client.utterance.hedges       {hedge}      texts that were sent a second time, with `tts.hedge`: "won" or "lost"
    tts.client.utterance.replays      {replay}     parts of a text that were sent again over another connection
    tts.client.utterance.characters   {character}  characters that were sent to the service, which bills them
    tts.client.cache.hits             {phrase}     static texts, and openings of replies, that a cache had
    tts.client.audio.discarded        By           audio that was received and not delivered

A span is made when an utterance ends, with the utterance's own times, as a child of the span that is current then. It
has the ids that the service's support asks for.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.errors.redaction import guarded_logger
from tts_trio.transport.surroundings import SocketTelemetry

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

    from tts_trio.config.utterance_record import UtteranceRecord


logger = guarded_logger(__name__)

_SCOPE = "tts_trio"


class Telemetry(SocketTelemetry, Protocol):
    """Records the events of one conversation."""

    def utterance_ended(self, record: Callable[[], UtteranceRecord]) -> None:
        """Tell of an utterance whose block is left now; `record` makes its record, if anybody wants one."""
        ...


class _OnUtterance:
    """Calls `on_utterance`, and records nothing else: OpenTelemetry is not installed, or has no provider."""

    def __init__(self, config: TTSConfig) -> None:
        self._on_utterance = config.on_utterance

    def utterance_ended(self, record: Callable[[], UtteranceRecord]) -> None:
        if self._on_utterance is not None:
            _call(self._on_utterance, record())

    def dial_ended(self, seconds: float, error: TTSError | None = None) -> None:
        pass

    def socket_lost(self, error: TTSError) -> None:
        pass


def _call(on_utterance: Callable[[UtteranceRecord], object], record: UtteranceRecord) -> None:
    try:
        on_utterance(record)
    except Exception:
        logger.exception("on_utterance raised an exception")


@attrs.frozen
class _Instruments:
    """The instruments of OpenTelemetry, made once for each pair of providers."""

    tracer: Tracer
    first_audio: Histogram
    delivery: Histogram
    duration: Histogram
    connect: Histogram
    losses: Counter
    hedges: Counter
    replays: Counter
    characters: Counter
    hits: Counter
    discarded: Counter


@functools.lru_cache(maxsize=1)
def _instruments(tracers: TracerProvider, meters: MeterProvider) -> _Instruments:
    from importlib.metadata import version as version_of  # loaded late, as OpenTelemetry is

    version = version_of("tts_trio")

    meter = meters.get_meter(_SCOPE, version)
    histogram = functools.partial(meter.create_histogram, unit="s")
    return _Instruments(
        tracer=tracers.get_tracer(_SCOPE, version),
        first_audio=histogram("tts.client.time_to_first_audio", description="From the first text to the first audio"),
        delivery=histogram(
            "tts.client.delivery.duration", description="From the first audio to its delivery to the caller"
        ),
        duration=histogram("tts.client.utterance.duration", description="Duration of the block of an utterance"),
        connect=histogram("tts.client.connect.duration", description="Duration of a dial, successful or not"),
        losses=meter.create_counter("tts.client.connection.losses", "{connection}", "Hot sockets that were lost"),
        hedges=meter.create_counter("tts.client.utterance.hedges", "{hedge}", "Texts that were sent a second time"),
        replays=meter.create_counter("tts.client.utterance.replays", "{replay}", "Parts that were sent again"),
        characters=meter.create_counter("tts.client.utterance.characters", "{character}", "Sent to the service"),
        hits=meter.create_counter("tts.client.cache.hits", "{phrase}", "Texts and openings that a cache had"),
        discarded=meter.create_counter("tts.client.audio.discarded", "By", "Audio received and not delivered"),
    )


class _OpenTelemetry:
    """Records the events of a conversation by OpenTelemetry."""

    def __init__(self, config: TTSConfig, instruments: _Instruments) -> None:
        url = urlsplit(config.base_url)
        self._on_utterance = config.on_utterance
        self._instruments = instruments
        self._attributes: dict[str, str] = {
            "gen_ai.request.model": config.model_id,
            "server.address": url.hostname or "",
        }

    def utterance_ended(self, record: Callable[[], UtteranceRecord]) -> None:
        made = record()
        with _harmless("an utterance"):
            self._record(made)
        if self._on_utterance is not None:
            _call(self._on_utterance, made)

    def dial_ended(self, seconds: float, error: TTSError | None = None) -> None:
        with _harmless("a dial"):
            self._instruments.connect.record(seconds, self._attributes | _error_type(error))

    def socket_lost(self, error: TTSError) -> None:
        with _harmless("a lost socket"):
            self._instruments.losses.add(1, self._attributes | _error_type(error))

    def _record(self, utterance: UtteranceRecord) -> None:
        attributes = self._attributes | {
            "gen_ai.request.model": utterance.model_id,
            "tts.utterance.kind": utterance.kind,
        }
        to = self._instruments
        received, delivered = utterance.first_received_ms, utterance.first_delivered_ms
        if received is not None:
            to.first_audio.record(received / 1000, attributes | {"tts.cache.hit": utterance.cached})
            if delivered is not None:
                to.delivery.record((delivered - received) / 1000, attributes)
        ended = attributes | {"tts.utterance.end": utterance.end or ""} | _error_type(utterance.error)
        to.duration.record((utterance.left_ms - utterance.started_ms) / 1000, ended)
        for counter, number in (
            (to.replays, utterance.replays),
            (to.characters, utterance.characters),
            (to.hits, int(utterance.cached)),
            (to.discarded, utterance.discarded_bytes),
        ):
            if number:
                counter.add(number, attributes)
        details = ended | {"tts.cache.hit": utterance.cached}
        if utterance.hedge != "none":
            to.hedges.add(1, attributes | {"tts.hedge": utterance.hedge})
            details["tts.hedge"] = utterance.hedge
        self._make_span(utterance, details)

    def _make_span(self, utterance: UtteranceRecord, attributes: dict[str, str | bool]) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        now, error = time.time_ns(), utterance.error

        def wall(ms: float) -> int:
            return now + round((ms - utterance.left_ms) * 1e6)

        span = self._instruments.tracer.start_span(
            f"tts {utterance.kind}",
            kind=SpanKind.CLIENT,
            start_time=wall(utterance.started_ms),
            attributes=attributes,
        )
        if span.is_recording():
            parts = {
                "connected": utterance.connected_ms,
                "first_text": utterance.first_text_ms,
                "first_sent": utterance.first_sent_ms,
                "first_received": utterance.first_received_ms,
                "first_delivered": utterance.first_delivered_ms,
            }
            for part, ms in parts.items():
                if ms is not None:
                    span.add_event(part, timestamp=wall(ms))
            details: dict[str, str | float | None] = {
                "tts.characters": utterance.characters,
                "tts.replays": utterance.replays,
                "tts.audio.received": utterance.audio_ms / 1000,
                "elevenlabs.request_id": utterance.request_id,
                "elevenlabs.trace_id": utterance.trace_id,
                "http.response.status_code": error and error.status,
            }
            span.set_attributes({name: value for name, value in details.items() if value is not None})
            if error is not None:
                span.set_status(StatusCode.ERROR)  # without the error's message, which may quote a text
        span.end(now)


@contextmanager
def _harmless(what: str) -> Generator[None]:
    """Log an exception of OpenTelemetry, so that it does not end the call."""
    try:
        yield
    except Exception:
        logger.exception("OpenTelemetry did not record %s", what)


def _error_type(error: TTSError | None) -> dict[str, str]:
    return {} if error is None else {"error.type": type(error).__name__}


def telemetry_for(config: TTSConfig) -> Telemetry:
    """Return what records a conversation: OpenTelemetry by the providers that the process has now, or nothing."""
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        return _OnUtterance(config)
    providers = trace.get_tracer_provider(), metrics.get_meter_provider()
    if all(map(_records_nothing, providers)):
        return _OnUtterance(config)
    return _OpenTelemetry(config, _instruments(*providers))


def _records_nothing(provider: TracerProvider | MeterProvider) -> bool:
    """Whether a provider is one of the API's own, which stand in for those of an SDK that the process has not set."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
