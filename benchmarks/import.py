"""How long `import tts_trio` takes, beside `import trio`, which it needs, and what else one might import.

Each is imported by an interpreter of its own, in turns; medians, with the bytecode compiled before.

    python -m benchmarks import [--quick] [--peers [PEER …]]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks import field, peers, pictures
from benchmarks.script import Report, Target, add_peers, options_of, peers_of
from tts_trio.cli.console import progress

_ROUNDS = 20
_LIMIT = 1.6


def seconds(python: str, statement: str) -> float:
    """Import once."""
    program = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def measure(others: list[str], rounds: int) -> dict[str, list[float]]:
    """Import each in turns."""
    statements = {
        "trio": (sys.executable, "import trio"),
        field.OURS: (sys.executable, "import tts_trio"),
    } | {name: (peers.interpreter(name), peers.PEERS[name].statement) for name in others}
    times: dict[str, list[float]] = {name: [] for name in statements}
    with progress("import", rounds) as advance:
        for number in range(rounds + 1):  # the first one compiles, and fills the disk's cache
            for name in field.rotated(list(statements), number):
                took = seconds(*statements[name])
                if number:
                    times[name].append(took)
            if number:
                advance()
    return times


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    add_peers(parser)
    options = parser.parse_args()
    result = Report("import", options)
    times = measure(peers_of(options), 3 if options.quick else _ROUNDS)
    medians = {name: statistics.median(found) for name, found in times.items()}
    result.add(
        "Import, ms",
        (
            {
                "module": name,
                "median": 1000 * medians[name],
                "fastest": 1000 * min(times[name]),
                "of import trio": medians[name] / medians["trio"],
            }
            for name in times
        ),
    )
    target = Target("import, of import trio, ms", 1000 * medians[field.OURS], 1000 * medians["trio"], _LIMIT)
    result.add("Targets", [target.row()])
    pictures.bars(result.picture(), "Import, medians", "ms", {name: 1000 * median for name, median in medians.items()})
    result.write()


if __name__ == "__main__":
    main()
