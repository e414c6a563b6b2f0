"""What `tts-trio probe` prints: a table, waterfalls, a conclusion; 80 columns, on a terminal or not."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence

import attrs

from tts_trio.cli.measure import STEPS, Sample
from tts_trio.errors import TTSError

_BAR = 55  # columns


@attrs.define
class Series:
    """All rounds over one way to one host.

    Attributes:
        base_url: The host.
        way: The WebSocket's endpoint, or HTTP.
        samples: The rounds.
        failure: Why it was given up, or None.
    """

    base_url: str
    way: str
    samples: list[Sample] = attrs.field(factory=list[Sample])
    failure: TTSError | None = None

    def percentile(self, percent: float, part: Callable[[Sample], float | None]) -> float | None:
        """Return a percentile of something over the rounds that have it, in seconds; None if none has."""
        values = [value for sample in self.samples if (value := part(sample)) is not None]
        return percentile(values, percent) if values else None

    def step(self, name: str) -> float | None:
        """Return the median of a part of the cold way."""
        return self.percentile(50, lambda sample: sample.steps.get(name))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest of the values that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def report(series: Sequence[Series]) -> list[str]:
    """Return the lines of the whole report."""
    lines: list[str] = []
    for url in dict.fromkeys(each.base_url for each in series):
        here = [each for each in series if each.base_url == url]
        region = next((sample.region for each in here for sample in each.samples if sample.region), "not told")
        lines += [url, f"region: {region}", "", *_table(here), ""]
        for each in here:
            if each.samples:
                lines += [*_waterfall(each), ""]
    return lines + _conclusion(series)


def _ms(seconds: float | None) -> str:
    return f"{'-' if seconds is None else f'{seconds * 1000:.1f}':>8}"


def _table(series: Sequence[Series]) -> list[str]:
    lines = [
        f"{'first audio, ms':20}{'cold':>8}{'':16}{'hot':>8}{'':16}{'rounds':>8}",
        f"{'':20}" + 2 * f"{'p50':>8}{'p90':>8}{'p99':>8}",
    ]
    for each in series:
        if each.samples:
            cold = [each.percentile(percent, lambda sample: sample.cold) for percent in (50, 90, 99)]
            hot = [each.percentile(percent, lambda sample: sample.hot) for percent in (50, 90, 99)]
            lines.append(f"{each.way:20}{''.join(map(_ms, cold + hot))}{len(each.samples):>8}")
        if each.failure is not None:
            lines += textwrap.wrap(f"{each.way}: {each.failure}", 79, subsequent_indent="  ")
    return lines


def _waterfall(series: Series) -> list[str]:
    """The medians of the parts, each where it begins."""
    steps = [(step, seconds) for step in STEPS if (seconds := series.step(step)) is not None]
    hot = series.percentile(50, lambda sample: sample.hot) or 0.0
    scale = _BAR / max(sum(seconds for _, seconds in steps), hot)
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"

    def bar(begins: float, seconds: float) -> str:
        left, right = round(begins * scale), round((begins + seconds) * scale)
        return " " * min(left, _BAR - 1) + block * max(1, right - left)

    lines = [f"{series.way}, medians in ms"]
    begins = 0.0
    for step, seconds in steps:
        lines.append(f"  cold {step:8}{_ms(seconds)} {bar(begins, seconds)}")
        begins += seconds
    return [*lines, f"  hot  {'audio':8}{_ms(hot)} {bar(0.0, hot)}"]


def _conclusion(series: Sequence[Series]) -> list[str]:
    """Which is the fastest for a reply and for a fixed phrase, and what being hot is worth there."""
    lines: list[str] = []
    for kind, ways in (
        ("replies", [each for each in series if each.samples and each.way != "HTTP"]),
        ("fixed phrases", [each for each in series if each.samples and each.way == "HTTP"]),
    ):
        medians = [(each.percentile(50, lambda sample: sample.hot) or 0.0, each) for each in ways]
        if not medians:
            continue
        hot, best = min(medians, key=lambda pair: pair[0])
        saved = (best.percentile(50, lambda sample: sample.cold) or 0.0) - hot
        where = f"{best.base_url} ({best.way})"
        lines += [
            f"Fastest for {kind}: {where}",
            f"  hot, the first audio comes after {hot * 1000:.0f} ms; being hot saves {saved * 1000:.0f} ms each time.",
        ]
    return lines
