"""The report of `tts-trio probe`: a table, waterfalls and a conclusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import attrs
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from tts_trio.cli.console import bar, table
from tts_trio.cli.measure import STEPS, Sample
from tts_trio.errors import TTSError

_BAR = 55  # columns


@attrs.define
class Series:
    """All rounds to one host over the WebSocket or over HTTP.

    Attributes:
        base_url: The base URL of the host.
        way: The WebSocket's endpoint, or "HTTP".
        samples: The rounds that succeeded.
        failure: The error that ended the series, or None.
    """

    base_url: str
    way: str
    samples: list[Sample] = attrs.field(factory=list[Sample])
    failure: TTSError | None = None

    def percentile(self, percent: float, part: Callable[[Sample], float | None]) -> float | None:
        """Return a percentile over the rounds that have a value for this part, in seconds; None if none has."""
        values = [value for sample in self.samples if (value := part(sample)) is not None]
        return percentile(values, percent) if values else None

    def step(self, name: str) -> float | None:
        """Return the median of a step with a new connection, in seconds."""
        return self.percentile(50, lambda sample: sample.steps.get(name))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def report(series: Sequence[Series]) -> list[RenderableType]:
    """Return the parts of the report, to be printed one below the other."""
    parts: list[RenderableType] = []
    for url in dict.fromkeys(each.base_url for each in series):
        here = [each for each in series if each.base_url == url]
        region = next((sample.region for each in here for sample in each.samples if sample.region), "unknown")
        parts += [Text(url, style="bold"), f"region: {region}", ""]
        if measured := [each for each in here if each.samples]:
            parts += [table(map(_row, measured)), ""]
        for each in here:
            if each.failure is not None:
                parts += [f"{each.way}: {each.failure}", ""]
        for each in measured:
            parts += [f"{each.way}, medians in ms", _waterfall(each), ""]
    return parts + _conclusion(series)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def _row(series: Series) -> dict[str, str]:
    cold = {f"cold p{p}": series.percentile(p, lambda sample: sample.cold) for p in (50, 90, 99)}
    hot = {f"hot p{p}": series.percentile(p, lambda sample: sample.hot) for p in (50, 90, 99)}
    times = {name: _ms(seconds) for name, seconds in (cold | hot).items()}
    return {"first audio, ms": series.way, **times, "rounds": str(len(series.samples))}


def _waterfall(series: Series) -> Table:
    """Draw the medians of the steps, each from where it begins."""
    steps = [(step, seconds) for step in STEPS if (seconds := series.step(step)) is not None]
    hot = series.percentile(50, lambda sample: sample.hot) or 0.0
    scale = max(sum(seconds for _, seconds in steps), hot)
    grid = Table.grid("", "", Column(justify="right"), "", padding=(0, 1))
    begins = 0.0
    for step, seconds in steps:
        grid.add_row("cold", step, _ms(seconds), bar(scale, begins, begins + seconds, width=_BAR))
        begins += seconds
    grid.add_row("hot", "audio", _ms(hot), bar(scale, 0.0, hot, width=_BAR, style="green"))
    return grid


def _conclusion(series: Sequence[Series]) -> list[RenderableType]:
    """Say which series is the fastest for replies and for static texts, and what a hot connection saves there."""
    lines: list[RenderableType] = []
    for kind, ways in (
        ("replies", [each for each in series if each.samples and each.way != "HTTP"]),
        ("static texts", [each for each in series if each.samples and each.way == "HTTP"]),
    ):
        medians = [(each.percentile(50, lambda sample: sample.hot) or 0.0, each) for each in ways]
        if not medians:
            continue
        hot, best = min(medians, key=lambda pair: pair[0])
        saved = (best.percentile(50, lambda sample: sample.cold) or 0.0) - hot
        where = f"{best.base_url} ({best.way})"
        lines += [
            f"Fastest for {kind}: {where}",
            f"  hot, the first audio comes after {hot * 1000:.0f} ms; a hot connection saves {saved * 1000:.0f} ms.",
        ]
    return lines
