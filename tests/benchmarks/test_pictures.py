"""The pictures: what is drawn is what the tables say; ours stands out; ticks are plain numbers."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pictures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Generator[list[Any]]:
    """The axes of the last picture, which is not thrown away."""
    from matplotlib import pyplot as plt

    axes: list[Any] = []
    close = plt.close
    monkeypatch.setattr(plt, "close", lambda figure: axes.extend(figure.axes))
    yield axes
    close("all")


def test_curves_have_plain_ticks_and_ours_stands_out(tmp_path: Path, drawn: list[Any]) -> None:
    lines = {"tts_trio": {1: 0.2, 400: 1500.0}, "floor": {1: 0.1, 400: None}}
    pictures.curves(tmp_path / "a.png", [("Delay, medians in ms", lines)], "calls")
    (axes,) = drawn
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "400"]
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert {"0.2", "1", "10", "1000"} <= set(ticks)
    assert not [tick for tick in ticks if "^" in tick]
    ours, floor = axes.get_lines()
    assert ours.get_linewidth() > floor.get_linewidth()
    assert ours.get_color() != floor.get_color()


def test_a_distribution_ends_at_all_replies(tmp_path: Path, drawn: list[Any]) -> None:
    times = {"tts_trio": [300.0, 200.0, 250.0, 900.0], "livekit": [700.0, 800.0]}
    pictures.distributions(tmp_path / "a.png", [("Openings", times), ("A tail", times)])
    assert [axes.get_title() for axes in drawn] == ["Openings", "A tail"]
    ours, livekit = drawn[0].get_lines()
    assert list(ours.get_xdata()) == [0, 200, 250, 300, 900]
    assert list(ours.get_ydata()) == [0, 25, 50, 75, 100]
    assert list(livekit.get_ydata()) == [0, 50, 100]
    assert ours.get_linewidth() > livekit.get_linewidth()
    assert "500" in [label.get_text() for label in drawn[0].get_xticklabels()]


def test_bars_of_several_measures_have_the_same_clients(tmp_path: Path, drawn: list[Any]) -> None:
    pictures.several_bars(
        tmp_path / "a.png",
        [("CPU", "ms", {"floor": 0.39, "tts_trio": 1.18}), ("Memory", "kB", {"floor": 103.0, "tts_trio": 172.0})],
    )
    assert [axes.get_title() for axes in drawn] == ["CPU", "Memory"]
    assert [[text.get_text().strip() for text in axes.texts] for axes in drawn] == [["0.39", "1.18"], ["103", "172"]]
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == ["floor", "tts_trio"]


def test_bars_show_ours_in_another_color(tmp_path: Path, drawn: list[Any]) -> None:
    pictures.bars(
        tmp_path / "a.png", "First audio, medians", "ms", {"floor": 180.0, "tts_trio": 344.0, "livekit": 791.0}
    )
    from matplotlib.colors import to_hex

    (axes,) = drawn
    floor, ours, livekit = (to_hex(bar.get_facecolor()) for bar in axes.patches)
    assert floor == livekit != ours
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal", "bold", "normal"]
    assert [text.get_text().strip() for text in axes.texts] == ["180", "344", "791"]


def test_a_waterfall_is_as_long_as_its_parts(tmp_path: Path, drawn: list[Any]) -> None:
    pictures.waterfall(tmp_path / "a.png", "First audio, medians", {"tts_trio": {"text": 207.0, "link": 100.0}})
    (axes,) = drawn
    assert [text.get_text() for text in axes.texts] == ["307"]
