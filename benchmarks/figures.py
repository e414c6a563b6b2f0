"""The tables of the pages, made of the results that are kept in `benchmarks/results`.

`python -m benchmarks figures` prints the table of the first page, and the section of `benchmarks/README.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.script import shown

RESULTS = Path(__file__).parent / "results"

Rows = Sequence[Mapping[str, Any]]


def headline(directory: Path) -> str:
    """Return the table of the first page as Markdown: four figures, each beside the best peer's."""
    runs = _runs(directory)
    rows: list[dict[str, object]] = []
    for script, begins, column, unit, what, ours in _HEADLINES:
        kept = runs[script]["tables"]
        of = {row["client"]: row for row in next(kept[title] for title in kept if title.startswith(begins))}
        measured = of["tts_trio"][ours]
        peers = {name: of[name][column] for name in _PEERS if name in of and of[name].get(column) is not None}
        best = min(peers, key=peers.__getitem__)
        rows.append(
            {
                "": what,
                "tts_trio": f"{shown(measured)} {unit}",
                "the best of the others": f"{shown(peers[best])} {unit}, {_PEERS[best]}",
                "measured by": f"`{runs[script]['command']}`",
            }
        )
    return markdown(rows)


def section(directory: Path) -> str:
    """Return the section of `benchmarks/README.md` as Markdown."""
    runs = _runs(directory)
    parts = [_header(runs)]
    for name, tables in _SCRIPTS.items():
        kept = runs[name]["tables"]
        for begins, explained in tables.items():
            titles = [title for title in kept if title.startswith(begins)]
            parts.extend(f"{title}{explained}:\n\n{markdown(kept[title])}" for title in titles)
        parts.extend(
            f"![{says}](results/{picture}.png)"
            for picture, says in _PICTURES.items()
            if picture.partition("-")[0] == name and (directory / f"{picture}.png").exists()
        )
    met = [row for run in runs.values() for row in run["tables"]["Targets"]]
    parts.append(f"What was aimed at:\n\n{markdown(met)}")
    return "\n\n".join(parts)


def _runs(directory: Path) -> dict[str, Any]:
    return {name: json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in _SCRIPTS}


_PEERS = {"elevenlabs": "official SDK", "livekit": "LiveKit", "pipecat": "Pipecat"}
# Of each figure: the script, how its table's title begins, the peers' column, the unit, what it is, our column.
_HEADLINES = (
    ("latency", "First token to first audio, round trip 100", "median", "ms", "first token to first audio", "median"),
    ("bargein", "An interruption, round trip 100", "next turn's audio", "ms",
     "barge-in to the next reply's first audio", "next turn's audio"),
    ("latency", "A static text", "after 0 s", "ms", "a static text that was said before", "cached"),
    ("calls", "200 calls", "cpu", "ms", "CPU for a second of audio, 200 calls at once", "cpu"),
)  # fmt: skip

# Of each script, how the titles begin of the tables that are shown, and what is to be said about them.
_SCRIPTS = {
    "latency": {
        "First token to first audio, round trip 100": "",
        "What a client adds": "",
        "A static text": "",
        "A client that is made": "",
        "Half of the replies begin alike": "",
        "A service with a tail": "",
    },
    "bargein": {"An interruption, round trip 100": ""},
    "calls": {
        "200 calls": " (CPU in ms a second of audio, and in ms for opening a call; delay in ms; memory in kB a call)",
        "50 calls, a message every 20 ms": "",
        "Memory by kind, 200 calls": "",
    },
    "import": {"Import": ""},
}
_PICTURES = {
    "latency": "What the time from the first token to the first audio is made of, for each client",
    "latency-worlds": "Which share of the replies was heard by when, for each client",
    "calls": "CPU, delay and memory of many calls, for each client",
}


def _header(runs: Mapping[str, Any]) -> str:
    lines = (
        f"- `{run['command']}`: {run['date']}, {run['python']}, {run['machine']}, load {run['load_before'][0]} before"
        f" and {run['load_after'][0]} after"
        for run in runs.values()
    )
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """Return rows as a table of Markdown, under the names of their fields."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([shown(row.get(name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(headline(RESULTS), section(RESULTS), sep="\n\n")
