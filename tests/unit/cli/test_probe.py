"""`tts-trio probe`: what it measures, in virtual time; what it prints, at 80 columns."""

from __future__ import annotations

import io
import itertools

import pytest
import trio
from rich.console import Console, RenderableType

from tests.helpers import TEXTS, make_config, memory_service
from tts_trio import EmptyAudioError, TTSConfig, TTSConnectionError
from tts_trio.cli.measure import Passed, Sample, measure_http, measure_websocket
from tts_trio.cli.probe_report import Series, percentile, report
from tts_trio.local_server import Behavior, Fault, ToneVoice, open_local_server
from tts_trio.transport.streams import open_stream

MEASURES = {"WebSocket": measure_websocket, "HTTP": measure_http}


@pytest.mark.parametrize("way", MEASURES)
@pytest.mark.parametrize("language", TEXTS)
async def test_each_part_takes_what_it_took(autojump_clock: trio.testing.MockClock, way: str, language: str) -> None:
    async with memory_service(Behavior(model_latency=0.1)) as service:

        async def dial(config: TTSConfig, passed: Passed) -> trio.abc.Stream:
            for step, seconds in (("DNS", 0.01), ("TCP", 0.02), ("TLS", 0.04)):
                await trio.sleep(seconds)
                passed(step)
            return await service.open_stream(config)

        sample = await MEASURES[way](make_config(), TEXTS[language], dial)
        expected = {"DNS": 0.01, "TCP": 0.02, "TLS": 0.04, "upgrade": 0.0, "audio": 0.1}
        if way == "HTTP":
            del expected["upgrade"]
        assert sample.steps == pytest.approx(expected, abs=1e-6)
        assert (sample.cold, sample.hot) == pytest.approx((0.17, 0.1), abs=1e-6)
        assert sample.region == ("us-central1" if way == "HTTP" else None)


@pytest.mark.parametrize("way", MEASURES)
async def test_failures_are_the_librarys(autojump_clock: trio.testing.MockClock, way: str) -> None:
    async def refuse(config: TTSConfig, passed: Passed) -> trio.abc.Stream:
        raise ConnectionRefusedError("refused")

    with pytest.raises(TTSConnectionError, match="refused"):
        await MEASURES[way](make_config(), "Hello.", refuse)
    async with memory_service(Behavior(faults=(Fault("skip", "audio", frame=None),))) as service:
        with pytest.raises(EmptyAudioError):
            await MEASURES[way](make_config(), "Hello.", lambda config, _passed: service.open_stream(config))


async def test_the_steps_of_a_real_dial() -> None:
    """A name is looked up, and no TLS is spoken."""
    passed: list[str] = []
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        port = listener.socket.getsockname()[1]
        stream = await open_stream(make_config(base_url=f"http://localhost:{port}"), passed.append)
        await stream.aclose()
    assert passed == ["TCP"]


@pytest.mark.parametrize("way", MEASURES)
async def test_each_round_looks_the_name_up(way: str) -> None:
    """A dial goes to the address that another one reached a moment ago; the one that is measured does not."""
    async with open_local_server(Behavior(model_latency=0.0), voice=ToneVoice()) as server:
        config = make_config(base_url=server.base_url.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            measured = await MEASURES[way](config, "Да, да. Yes.", open_stream)
            assert {"DNS", "TCP", "audio"} <= measured.steps.keys()


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 11)]
    assert [percentile(values, percent) for percent in (1, 50, 90, 99)] == [1.0, 5.0, 9.0, 10.0]
    assert percentile([7.0], 50) == 7.0


def sample(scale: float, *, region: str | None = None) -> Sample:
    steps = {"DNS": 0.005, "TCP": 0.02, "TLS": 0.04, "upgrade": 0.06, "audio": 0.25}
    if region:
        del steps["upgrade"]
    scaled = {step: seconds * scale for step, seconds in steps.items()}
    return Sample(scaled, sum(scaled.values()), scaled["audio"], region)


def printed(parts: list[RenderableType], columns: int) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, markup=False)
    for part in parts:
        console.print(part)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_report() -> None:
    far, near = "https://api.in.residency.elevenlabs.io", "https://api.elevenlabs.io"
    parts = report(
        [
            Series(far, "stream-input", [sample(2.0)]),
            Series(far, "HTTP", failure=TTSConnectionError("no connection to [here] " + 99 * "x")),
            Series(near, "stream-input", [sample(scale) for scale in (1.0, 1.2, 1.1)]),
            Series(near, "HTTP", [sample(1.1, region="europe-west4"), sample(3.0, region="europe-west4")]),
        ]
    )
    lines = printed(parts, 80)
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert ["stream-input", "412.5", "450.0", "450.0", "275.0", "300.0", "300.0", "3"] in rows
    assert ["HTTP", "346.5", "945.0", "945.0", "275.0", "750.0", "750.0", "2"] in rows
    assert "HTTP: no connection to [here]" in lines
    assert "region: europe-west4" in lines
    assert f"Fastest for replies: {near} (stream-input)" in lines
    assert "  hot, the first audio comes after 275 ms; a hot connection saves 138 ms." in lines
    assert f"Fastest for static texts: {near} (HTTP)" in lines


def test_the_waterfall_begins_each_part_where_the_one_before_ends() -> None:
    lines = printed(report([Series("https://x", "stream-input", [sample(1.0)])]), 80)
    bars = [line[22:] for line in lines if line.startswith("cold")]
    assert [line.split()[1:3] for line in lines if line.startswith("cold")][-1] == ["audio", "250.0"]
    edges = [(len(drawn) - len(drawn.lstrip()), len(drawn)) for drawn in bars]
    assert edges[0][0] == 0
    for (_, ends), (begins, _) in itertools.pairwise(edges):
        assert abs(begins - ends) <= 1
