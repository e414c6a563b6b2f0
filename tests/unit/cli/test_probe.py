"""`tts-trio probe`: what it measures, in virtual time; what it prints, at 80 columns, on a terminal and without one."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
import trio
from rich.console import Console, RenderableType

from tests.helpers import API_KEY, TEXTS, VOICE_ID, make_config, memory_service
from tests.helpers.commands import run, see
from tests.unit.cli.conftest import RunHere
from tts_trio import EmptyAudioError, TTSConfig, TTSConnectionError
from tts_trio.cli import main
from tts_trio.cli.measure import Passed, Sample, measure_http, measure_websocket
from tts_trio.cli.probe_report import Series, percentile, report
from tts_trio.local_server import Behaviour, Fault, Requested, ToneVoice, open_local_server
from tts_trio.transport.streams import open_stream

MEASURES = {"WebSocket": measure_websocket, "HTTP": measure_http}


@pytest.mark.parametrize("way", MEASURES)
@pytest.mark.parametrize("language", TEXTS)
async def test_each_part_takes_what_it_took(autojump_clock: trio.testing.MockClock, way: str, language: str) -> None:
    async with memory_service(Behaviour(model_latency=0.1)) as service:

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
    async with memory_service(Behaviour(faults=(Fault("skip", "audio", frame=None),))) as service:
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
    assert "  hot, the first audio comes after 275 ms; being hot saves 138 ms each time." in lines
    assert f"Fastest for static texts: {near} (HTTP)" in lines


def test_the_waterfall_begins_each_part_where_the_one_before_ends() -> None:
    lines = printed(report([Series("https://x", "stream-input", [sample(1.0)])]), 80)
    bars = [line[22:] for line in lines if line.startswith("cold")]
    assert [line.split()[1:3] for line in lines if line.startswith("cold")][-1] == ["audio", "250.0"]
    edges = [(len(drawn) - len(drawn.lstrip()), len(drawn)) for drawn in bars]
    assert edges[0][0] == 0
    for (_, ends), (begins, _) in itertools.pairwise(edges):
        assert abs(begins - ends) <= 1


def test_without_a_terminal(tmp_path: Path) -> None:
    done = run("probe", "--rounds", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert max(map(len, said.splitlines())) <= 80
    for expected in (
        "stream-input",
        "HTTP",
        "cold upgrade",
        "hot  audio",
        "Fastest for replies",
        "region: us-central1",
    ):
        assert expected in said
    assert done.stderr.decode().splitlines() == ["no ELEVENLABS_API_KEY: speaking with the local voice (eSpeak NG)"]


@pytest.mark.parametrize("columns", [80, 50])
def test_on_a_terminal(tmp_path: Path, columns: int) -> None:
    seen = see("probe", "--rounds", "2", cwd=tmp_path, columns=columns)
    assert (seen.code, seen.cursor) == (0, True)
    assert "2/4" in seen.sent
    assert "127.0.0.1 HTTP" in seen.sent
    text = " ".join(seen.lines)
    assert "Fastest for static texts" in text
    assert "2/4" not in text  # the bar is gone
    assert not [line for line in seen.lines if line.endswith("…")]  # and no number was cut


async def test_a_host_that_refuses_is_a_line_of_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_local_server(voice=ToneVoice()) as good, open_local_server(Behaviour(api_keys=("other",))) as bad:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        for urls, code in (([bad.base_url, good.base_url], 0), ([bad.base_url], 1)):
            assert await trio.to_thread.run_sync(main, ["probe", *urls, "--rounds", "2"]) == code
            said, complaint = capsys.readouterr()
            assert said.count("invalid_api_key") == 2
            assert (f"Fastest for replies: {good.base_url}" in said) == (code == 0)
            assert complaint.startswith("tts-trio: error: Invalid API key") == (code == 1)
            assert API_KEY not in said + complaint
        assert len([record for record in bad.records if isinstance(record, Requested)]) == 2 * 2  # P26: not again


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--rounds", "0"], "--rounds"), (["http://127.0.0.1:9"], "voice_id: missing"), (["--voice", "../x"], "voice_id")],
)
def test_bad_usage_is_one_line(run_here: RunHere, arguments: list[str], says: str) -> None:
    done = run_here("probe", *arguments)
    assert done.code == 2
    assert says in done.err.splitlines()[-1]
