"""The figures of the pages are those of the results that are kept."""

from __future__ import annotations

import json

from benchmarks.figures import RESULTS, headline, markdown, section
from tests.helpers.pages import PAGES


def test_the_pages_have_the_figures_of_the_results() -> None:
    assert headline(RESULTS) in PAGES["README.md"]
    assert section(RESULTS) in PAGES["benchmarks/README.md"]


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
