"""The pictures: matplotlib, without a display."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.script import shown

if importlib.util.find_spec("matplotlib") is None:  # before anything is measured
    raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

# Of parts, in their order; of clients, ours stands out.
_PARTS = ("#b5453b", "#4c78a8", "#f2b134", "#c3c9d0", "#8f9bab", "#6aa56e")
_OURS = ("#b5453b", "#d98a5f", "#e8b49a")
_OTHERS = ("#5f7186", "#8f9bab", "#b4bdc8", "#6f8f9b", "#a7b8a9", "#c3c9d0")
_DPI = 110


def waterfall(path: Path, title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Draw what the time of each client is made of, part after part.

    Args:
        path: Where to.
        title: Above it; it says which statistic is drawn.
        rows: For each client its parts in milliseconds, in order.
    """
    figure, axes = _pyplot().subplots(figsize=(9, 1 + 0.42 * len(rows)))
    names = list(rows)
    left = [0.0] * len(names)
    for color, part in zip(_PARTS, next(iter(rows.values())), strict=False):
        widths = [max(0.0, rows[name][part]) for name in names]
        axes.barh(names, widths, left=left, color=color, label=part)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    for name, total in zip(names, left, strict=True):
        axes.text(total + max(left) / 100, name, f"{total:.0f}", va="center", weight=_weight(name))
    axes.invert_yaxis()
    axes.set(title=title, xlabel="ms", xlim=(0, 1.08 * max(left)))
    axes.legend(ncol=len(_PARTS), loc="upper center", bbox_to_anchor=(0.5, -0.55 / (1 + 0.42 * len(rows)) - 0.1))
    _finish(figure, path)


def bars(path: Path, title: str, unit: str, values: Mapping[str, float]) -> None:
    """Draw one number for each client.

    Args:
        path: Where to.
        title: Above it; it says which statistic is drawn.
        unit: Below the axis.
        values: The numbers.
    """
    several_bars(path, [(title, unit, values)])


def several_bars(path: Path, panels: Sequence[tuple[str, str, Mapping[str, float]]]) -> None:
    """Draw some numbers for each client, side by side.

    Args:
        path: Where to.
        panels: For each what `bars` has as its title, unit and values; the clients are the same.
    """
    size = (9 if len(panels) == 1 else 4.6 * len(panels), 1 + 0.42 * len(panels[0][2]))
    figure, row = _pyplot().subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, (title, unit, values) in zip(row[0], panels, strict=True):
        axes.barh(
            list(values), list(values.values()), color=[_OURS[0] if _is_ours(name) else _OTHERS[1] for name in values]
        )
        for name, value in values.items():
            axes.text(value, name, f" {shown(value)}", va="center", weight=_weight(name))
        axes.set(title=title, xlabel=unit, xlim=(0, 1.2 * max(values.values())))
    row[0][0].invert_yaxis()
    _finish(figure, path)


def curves(path: Path, panels: Sequence[tuple[str, Mapping[str, Mapping[float, float | None]]]], across: str) -> None:
    """Draw lines, a panel for each measure.

    Args:
        path: Where to.
        panels: For each its title, with the statistic and the unit, and for each client, its points.
        across: What is on the horizontal axes.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, row = _pyplot().subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False)
    for axes, (title, lines) in zip(row[0], panels, strict=True):
        ours, others = itertools.cycle(_OURS), itertools.cycle(_OTHERS)
        for name, points in lines.items():
            axes.plot(
                list(points),
                [math.nan if value is None else value for value in points.values()],
                marker="o",
                markersize=4 if _is_ours(name) else 3,
                linewidth=2.5 if _is_ours(name) else 1.2,
                color=next(ours if _is_ours(name) else others),
                zorder=3 if _is_ours(name) else 2,
                label=name,
            )
        axes.set(title=title, xlabel=across, xscale="log", yscale="log")
        axes.set_xticks(sorted({x for points in lines.values() for x in points}))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        for axis in (axes.xaxis, axes.yaxis):  # 200, and not 2 x 10²
            axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, alpha=0.3)
    row[0][0].legend(fontsize="small")
    _finish(figure, path)


def distributions(path: Path, panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]]) -> None:
    """Draw which share of the replies was heard by when, a panel for each world.

    Args:
        path: Where to.
        panels: For each its title, and for each client, the times in milliseconds.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, row = _pyplot().subplots(1, len(panels), figsize=(5.6 * len(panels), 3.8), squeeze=False)
    for axes, (title, clients) in zip(row[0], panels, strict=True):
        ours, others = itertools.cycle(_OURS), itertools.cycle(_OTHERS)
        for name, times in clients.items():
            axes.step(
                [0.0, *sorted(times)],
                [100 * number / len(times) for number in range(len(times) + 1)],
                where="post",
                linewidth=2.5 if _is_ours(name) else 1.2,
                color=next(ours if _is_ours(name) else others),
                zorder=3 if _is_ours(name) else 2,
                label=name,
            )
        soonest = min(time for times in clients.values() for time in times)
        latest = max(time for times in clients.values() for time in times)
        axes.set(title=title, xlabel="ms to the first audio", ylabel="% of the replies", xscale="log", ylim=(0, 100))
        axes.set_xlim(0.8 * soonest, 1.1 * latest)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small", loc="lower right")
    _finish(figure, path)


def _pyplot() -> Any:
    """Load matplotlib, which takes longer than the rest of a script, when a picture is drawn."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _is_ours(name: str) -> bool:
    return name.startswith("tts_trio")


def _weight(name: str) -> str:
    return "bold" if _is_ours(name) else "normal"


def _finish(figure: Any, path: Path) -> None:
    for axes in figure.axes:
        for label in axes.get_yticklabels():
            label.set_fontweight(_weight(label.get_text()))
    figure.savefig(path, dpi=_DPI, bbox_inches="tight")
    _pyplot().close(figure)
