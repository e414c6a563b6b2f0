"""The README's figures are those of the results that are kept."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.figures import RESULTS, markdown, section

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_figures_of_the_results() -> None:
    assert section(RESULTS) in README


def test_the_pictures_are_there_and_small() -> None:
    for path in RESULTS.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["command"].startswith("python -m benchmarks ")
        assert 1000 < path.with_suffix(".png").stat().st_size < 200_000


def test_a_table_of_markdown() -> None:
    rows = [{"client": "tts_trio", "ms": 1.234}, {"client": "floor", "ms": None, "": "met"}]
    assert markdown(rows).splitlines() == [
        "| client | ms |  |",
        "| --- | --- | --- |",
        "| tts_trio | 1.23 |  |",
        "| floor |  | met |",
    ]
