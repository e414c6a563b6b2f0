"""`tts-trio probe` as a person runs it: on a terminal and without one, and against a host that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.helpers import API_KEY, VOICE_ID
from tests.helpers.commands import RunHere, run, see
from tts_trio.cli import main
from tts_trio.local_server import Behavior, Requested, ToneVoice, open_local_server


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
    async with open_local_server(voice=ToneVoice()) as good, open_local_server(Behavior(api_keys=("other",))) as bad:
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
    [
        (["--rounds", "0"], "--rounds"),
        (["http://127.0.0.1:9"], "voice_id: it is missing"),
        (["--voice", "../x"], "voice_id"),
    ],
)
def test_bad_usage_is_one_line(run_here: RunHere, arguments: list[str], says: str) -> None:
    done = run_here("probe", *arguments)
    assert done.code == 2
    assert says in done.err.splitlines()[-1]
