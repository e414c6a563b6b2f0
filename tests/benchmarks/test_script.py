"""What the scripts print and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.script import Report, Target, options_of


@pytest.mark.parametrize(("value", "reference", "verdict"), [(8.0, 10.0, "met"), (9.0, 10.0, "missed")])
def test_a_target_is_a_ratio(value: float, reference: float, verdict: str) -> None:
    assert Target("x", value, reference, 0.85).row()[""] == verdict


def test_a_target_can_be_absolute() -> None:
    assert Target("stale bytes", 0.0, None, 0.0).row()[""] == "met"
    assert Target("stale bytes", 1.0, None, 0.0).row()[""] == "missed"


def test_a_report_says_where_and_when(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--out", str(tmp_path / "new"), "--quick"]
    monkeypatch.setattr("sys.argv", ["latency", *arguments])
    report = Report("latency", options_of("").parse_args(arguments))
    report.add("Times", [{"client": "наш", "ms": 1.5, "n": 12}, {"client": "floor", "ms": 123.4}])
    report.add("Wide", [{"client": 99 * "x ", "ms": 1.5}])
    report.add("Nothing", [])
    report.write()
    written = json.loads((tmp_path / "new" / "latency.json").read_text(encoding="utf-8"))
    assert written["tables"] == {
        "Times": [{"client": "наш", "ms": 1.5, "n": 12}, {"client": "floor", "ms": 123.4}],
        "Wide": [{"client": 99 * "x ", "ms": 1.5}],
    }
    assert written["command"] == "python -m benchmarks latency --quick"
    assert len(written["load_before"]) == len(written["load_after"]) == 3
    assert {"date", "python", "machine"} < written.keys()
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    times, wide = said.index("Times"), said.index("Wide")
    assert said[times : wide - 1] == ["Times", "client    ms   n", "наш     1.50  12", "floor    123"]
    assert said[wide + 2] == 99 * "x " + "  1.50"  # no line of a pipe is broken
