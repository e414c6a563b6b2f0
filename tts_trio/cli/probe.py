"""`tts-trio probe`: measures each step to the service from this machine, and what a hot connection saves."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tts_trio.cli.common import AddCommand, UsageError, add_options, configured, given_in
from tts_trio.cli.console import progress, show
from tts_trio.cli.measure import Dial, Sample, measure_http, measure_websocket
from tts_trio.cli.probe_report import Series, report
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.errors import TTSError
from tts_trio.transport.streams import open_stream

_TEXT = "One moment, please."
_Measure: TypeAlias = Callable[[TTSConfig, str, Dial], Awaitable[Sample]]


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    probe = add_command(
        "probe",
        help="measure the time to the first audio",
        description="Measure the time to the first audio in its steps (DNS, TCP, TLS, upgrade, audio), over the "
        "WebSocket and over HTTP, with a new connection (cold) and with one that is open (hot). The service is "
        "ElevenLabs, with the key in ELEVENLABS_API_KEY and the voice in ELEVENLABS_VOICE_ID; with no key, a local "
        "server. Each round speaks a short text four times for each URL, which costs credits.",
    )
    probe.add_argument(
        "urls", nargs="*", metavar="URL",
        help="base URLs to compare, such as https://api.elevenlabs.io https://api.us.elevenlabs.io "
        "(default: ELEVENLABS_BASE_URL)",
    )  # fmt: skip
    probe.add_argument("--rounds", type=int, default=10, metavar="N", help="number of rounds (default: %(default)s)")
    add_options(probe, "voice_id", "model_id")
    probe.add_argument("--endpoint", metavar="NAME", help="WebSocket endpoint (default: stream-input)")
    probe.add_argument("--text", default=_TEXT, help="text to speak (default: %(default)s)")
    probe.set_defaults(run=_probe)


async def _probe(options: argparse.Namespace) -> None:
    if options.rounds < 1:
        raise UsageError("--rounds: it must be at least 1")
    given = given_in(options, "voice_id", "model_id", "endpoint")
    async with _configurations(options.urls, given) as configs:
        ways: list[tuple[TTSConfig, _Measure, Series]] = []
        for config in configs:
            ways.append((config, measure_websocket, Series(config.base_url, websocket_endpoint(config))))
            ways.append((config, measure_http, Series(config.base_url, "HTTP")))
        with progress("probing", options.rounds * len(ways)) as advance:
            for _ in range(options.rounds):  # all series in each round, so that a change of the network affects all
                for config, measure, series in ways:
                    advance(0, f"{urlsplit(series.base_url).hostname} {series.way}")
                    if series.failure is None:
                        try:
                            series.samples.append(await measure(config, options.text, open_stream))
                        except TTSError as error:
                            series.failure = error
                    advance()
    all_series = [series for _, _, series in ways]
    for part in report(all_series):
        show(part)
    if not any(series.samples for series in all_series):
        raise next(series.failure for series in all_series if series.failure is not None)


@asynccontextmanager
async def _configurations(urls: Sequence[str], given: dict[str, Any]) -> AsyncGenerator[list[TTSConfig]]:
    if urls:
        yield [TTSConfig.from_env(base_url=url, **given) for url in urls]
    else:
        async with configured(given) as config:
            yield [config]
