"""The pictures: matplotlib, without a display."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = ("#b5453b", "#4c78a8", "#f2b134", "#c3c9d0", "#8f9bab", "#6aa56e")
_DPI = 110


def waterfall(path: Path, title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Draw what the time of each client is made of, part after part.

    Args:
        path: Where to.
        title: Above it.
        rows: For each client its parts in milliseconds, in order.
    """
    figure, axes = plt.subplots(figsize=(9, 1 + 0.42 * len(rows)))
    names = list(rows)
    left = [0.0] * len(names)
    for colour, part in zip(_COLOURS, next(iter(rows.values())), strict=False):
        widths = [max(0.0, rows[name][part]) for name in names]
        axes.barh(names, widths, left=left, color=colour, label=part)
        left = [begin + width for begin, width in zip(left, widths, strict=True)]
    for name, total in zip(names, left, strict=True):
        axes.text(total + max(left) / 100, name, f"{total:.0f}", va="center")
    axes.invert_yaxis()
    axes.set(title=title, xlabel="ms", xlim=(0, 1.08 * max(left)))
    axes.legend(ncol=len(_COLOURS), loc="upper center", bbox_to_anchor=(0.5, -0.55 / (1 + 0.42 * len(rows)) - 0.1))
    _finish(figure, path)


def bars(path: Path, title: str, unit: str, values: Mapping[str, float]) -> None:
    """Draw one number for each client.

    Args:
        path: Where to.
        title: Above it.
        unit: Below the axis.
        values: The numbers.
    """
    figure, axes = plt.subplots(figsize=(9, 1 + 0.42 * len(values)))
    axes.barh(list(values), list(values.values()), color=_COLOURS[1])
    for name, value in values.items():
        axes.text(value, name, f" {value:.3g}", va="center")
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit, xlim=(0, 1.1 * max(values.values())))
    _finish(figure, path)


def curves(path: Path, panels: Sequence[tuple[str, Mapping[str, Mapping[float, float | None]]]], across: str) -> None:
    """Draw lines, a panel for each measure.

    Args:
        path: Where to.
        panels: For each its title and, for each client, its points.
        across: What is on the horizontal axes.
    """
    figure, row = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False)
    for axes, (title, lines) in zip(row[0], panels, strict=True):
        for name, points in lines.items():
            axes.plot(
                list(points),
                [math.nan if value is None else value for value in points.values()],
                marker="o",
                markersize=3,
                label=name,
            )
        axes.set(title=title, xlabel=across, xscale="log", yscale="log")
        axes.grid(visible=True, alpha=0.3)
    row[0][0].legend(fontsize="small")
    _finish(figure, path)


def _finish(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI, bbox_inches="tight")
    plt.close(figure)
