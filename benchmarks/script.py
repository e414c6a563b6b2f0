"""What every script has: its options, tables, and a file of JSON that says where it was measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from benchmarks.peers import PEERS
from tts_trio.cli.console import note, show, table


def options_of(doc: str) -> argparse.ArgumentParser:
    """Make the parser of a script, whose docstring is its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="in about a minute: fewer rounds, and no peers unless they are asked for"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("benchmark-results"),
        help="where the JSON and the pictures go (default: %(default)s)",
    )  # fmt: skip
    return parser


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Add the option to measure others, too."""
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="PEER",
        help=f"measure these beside ours, in virtual environments that are made if they are not there: "
        f"{', '.join(PEERS)}; without a name all of them",
    )  # fmt: skip


def peers_of(options: argparse.Namespace) -> list[str]:
    """Return the names of the peers that were asked for."""
    return list(PEERS) if options.peers == [] else options.peers or []


def shown(value: object) -> str:
    """Return a value as the tables have it: numbers to three digits or so."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)


@attrs.frozen
class Target:
    """What a measure is to be, as a part of something measured in the same run.

    Attributes:
        measure: What is measured.
        value: Ours.
        reference: What it is compared with, or None where the limit is absolute.
        limit: The largest ratio, or the largest value.
    """

    measure: str
    value: float
    reference: float | None
    limit: float

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        ratio = self.value if self.reference is None else self.value / self.reference
        return {
            "target": self.measure,
            "measured": self.value,
            "against": self.reference,
            "ratio": None if self.reference is None else ratio,
            "at most": self.limit,
            "": "met" if ratio <= self.limit else "missed",
        }


class Report:
    """The result of one run of a script."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        """Begin one: how busy the machine is now goes into it.

        Args:
            name: Of the script.
            options: Of the script.
        """
        self._name = name
        self._out: Path = options.out
        self._load = os.getloadavg()
        self._tables: dict[str, list[dict[str, object]]] = {}

    def add(self, title: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Print a table, and keep it."""
        kept = [dict(row) for row in rows]
        if kept:
            names = dict.fromkeys(name for row in kept for name in row)
            show("")
            show(title, style="bold")
            show(table({name: shown(row.get(name)) for name in names} for row in kept))
            self._tables[title] = kept

    def picture(self, suffix: str = "") -> Path:
        """Return where a picture goes."""
        self._out.mkdir(parents=True, exist_ok=True)
        return self._out / f"{self._name}{suffix}.png"

    def write(self) -> None:
        """Write all of it as JSON."""
        self._out.mkdir(parents=True, exist_ok=True)
        path = self._out / f"{self._name}.json"
        path.write_text(json.dumps(self._content(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        note(f"written: {path}")

    def _content(self) -> dict[str, Any]:
        return {
            "command": f"python -m benchmarks {self._name} {' '.join(_without_out(sys.argv[1:]))}".strip(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "load_before": [round(load, 2) for load in self._load],
            "load_after": [round(load, 2) for load in os.getloadavg()],
            "tables": self._tables,
        }


def _without_out(arguments: Sequence[str]) -> list[str]:
    """Leave out where the results went: that changes nothing of them."""
    kept = list(arguments)
    if "--out" in kept:
        at = kept.index("--out")
        del kept[at : at + 2]
    return kept
