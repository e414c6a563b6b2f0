"""Many calls in one process on one core: what a second of audio costs, what the load adds to its delay, and memory.

Each call has a client of its own, whose connections are open before it is measured. All speak the same text, beginning
one after the other, and the service generates it in real time; the service is a process on another core, and notes when
it says what. Every number of calls and every client gets a fresh process. "CPU" is that of the client's process from
the moment when all are ready to the end, for each second of audio; the dials are counted apart. "Delay" is from the
service's saying something to the first of it being in the caller's hands; "bare trio-websocket" is a loop on that
library, which tts_trio uses, and shows what of the delay and of the CPU is not ours.

    python -m benchmarks calls [--quick] [--calls N …] [--peers [PEER …]]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Sequence

import attrs

from benchmarks import field, pictures, timing
from benchmarks.children import ChildFailed, Contestant, Service, open_contestant, open_service
from benchmarks.script import Report, Target, add_peers, options_of, peers_of
from tts_trio.cli.console import Advance, progress, warn

_OWN = (field.OURS, field.FLOOR, "bare trio-websocket")
_TEXT = (
    "Your order left our warehouse this morning, and it should be with you by Friday at the latest. "
    "Would you like a message when the driver is near?"
)
_SHORT_TEXT = "Your order left our warehouse this morning. Is Friday fine?"
_BYTES_A_SECOND = 32000  # pcm_16000
_LEAST_SECONDS_A_CHARACTER = 0.05  # of tones, which are 60 ms: what is shorter is cut
_RAMP = 5.0  # seconds over which the calls begin to speak
_SECONDS_A_DIAL = 0.015  # at most, of one process: until then the connections behind those in use are open, too


@attrs.frozen
class Cell:
    """What so many calls of one client cost.

    Attributes:
        client: Its name.
        calls: How many.
        cpu: Milliseconds for each second of audio.
        median: Delay, in milliseconds; None: there was no audio.
        p99: The same at the 99th percentile.
        memory: Kilobytes a call, when all are ready to speak.
        dial: Milliseconds of CPU for making a client ready.
        failures: Calls that failed, or whose audio did not come whole.
    """

    client: str
    calls: int
    cpu: float
    median: float | None
    p99: float | None
    memory: float
    dial: float
    failures: int


def measure(service: Service, contestant: Contestant, calls: int, text: str, ramp: float) -> Cell:
    """Have so many calls speak at once."""
    base_url = service.base_url(0.0)
    _warm_up(contestant, base_url)
    before = contestant.do("close")
    voices = [f"call{number}" for number in range(calls)]
    service.events()
    contestant.do("open", base_url=base_url, voices=voices)
    ready = contestant.do("prepare")
    time.sleep(1.0)
    lead = 1.0 + calls * _SECONDS_A_DIAL
    turn = {"pieces": _tokens(text), "rate": field.RATE}
    rows = [[turn | {"begins_in": lead + ramp * number / calls}] for number in range(calls)]
    spoken = contestant.do("speak", rows=rows, steady_after=lead - 0.2)
    records = [record for (record,) in spoken["answer"]["records"]]
    steady = spoken["answer"]["steady"]
    events = service.events()
    delays = _delays(records, voices, events)
    whole = [record for record in records if _is_whole(record, text)]
    seconds = sum(size for record in records for _, size in record["audio"]) / _BYTES_A_SECOND
    return Cell(
        client=contestant.name,
        calls=calls,
        cpu=1000 * (spoken["cpu"] - steady["cpu"]) / max(seconds, 1e-9),
        median=1000 * statistics.median(delays) if delays else None,
        p99=1000 * percentile(delays, 99) if delays else None,
        memory=(steady["memory"] - before["memory"]) / calls / 1000,
        dial=1000 * (ready["cpu"] - before["cpu"]) / calls,
        failures=calls - len(whole),
    )


def _warm_up(contestant: Contestant, base_url: str) -> None:
    contestant.do("open", base_url=base_url, voices=["warm-up"])
    contestant.do("prepare")
    field.speak(contestant, {"pieces": ["Yes."]})


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def _delays(records: Sequence[timing.Record], voices: Sequence[str], events: Sequence[timing.Event]) -> list[float]:
    by_connection: dict[int, list[timing.Event]] = {}
    voice_of: dict[int, str] = {}
    for event in events:
        by_connection.setdefault(event["connection"], []).append(event)
        if event["kind"] == "request":
            voice_of[event["connection"]] = event["path"].split("/")[3]
    by_voice: dict[str, list[timing.Event]] = {}
    for connection, own in by_connection.items():
        by_voice.setdefault(voice_of.get(connection, ""), []).extend(own)
    return [
        delay
        for record, voice in zip(records, voices, strict=True)
        for delay in timing.deliveries(record, by_voice.get(voice, []))
    ]


def _is_whole(record: timing.Record, text: str) -> bool:
    size = sum(size for _, size in record["audio"])
    return "error" not in record and size >= _LEAST_SECONDS_A_CHARACTER * len(text) * _BYTES_A_SECOND


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; of a single value, that one."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def medians(cells: Sequence[Cell]) -> list[Cell]:
    """Make one cell of those of the same client and number of calls: medians, and all failures."""
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.client, cell.calls), []).append(cell)
    return [
        attrs.evolve(
            group[0],
            cpu=statistics.median(cell.cpu for cell in group),
            median=_median([cell.median for cell in group]),
            p99=_median([cell.p99 for cell in group]),
            memory=statistics.median(cell.memory for cell in group),
            dial=statistics.median(cell.dial for cell in group),
            failures=sum(cell.failures for cell in group),
        )
        for group in groups.values()
    ]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def targets(cells: Iterable[Cell], calls: int) -> list[Target]:
    """Compare so many calls with what they are to be."""
    by_client = {cell.client: cell for cell in cells if cell.calls == calls}
    ours, floor = by_client[field.OURS], by_client[field.FLOOR]
    assert ours.p99 is not None
    return [
        Target(f"CPU a second of audio, {calls} calls, of the floor, ms", ours.cpu, floor.cpu, 2.0),
        Target(f"delay, 99th percentile, {calls} calls, of the floor, ms", ours.p99, floor.p99, 3.0),
        Target("memory a call, kB", ours.memory, None, 250.0),
    ]


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    add_peers(parser)
    parser.add_argument(
        "--calls", type=int, nargs="+", metavar="N",
        help="how many (default: 1 10 50 100 200 400); of a number that is there several times the medians count",
    )  # fmt: skip
    options = parser.parse_args()
    numbers: list[int] = options.calls or ([1, 20] if options.quick else [1, 10, 50, 100, 200, 400])
    others = peers_of(options)
    result = Report("calls", options)
    with open_service() as service, progress("calls", len(numbers) * (len(_OWN) + len(others))) as advance:
        cells = medians(run(service, numbers, field.commands(_OWN, others), options, advance))
    for number in sorted(set(numbers)):
        result.add(f"{number} calls", (attrs.asdict(cell) for cell in cells if cell.calls == number))
    most = 200 if 200 in numbers else numbers[-1]
    result.add("Targets", (target.row() for target in targets(cells, most)))
    names = dict.fromkeys(cell.client for cell in cells)
    pictures.curves(
        result.picture(),
        [
            (title, {name: {cell.calls: getattr(cell, key) for cell in cells if cell.client == name} for name in names})
            for title, key in (
                ("CPU, ms a second of audio", "cpu"),
                ("Delay, 99th percentile, ms", "p99"),
                ("Memory, kB a call", "memory"),
            )
        ],
        "calls",
    )
    result.write()


def run(
    service: Service,
    numbers: Sequence[int],
    commands: dict[str, list[str]],
    options: argparse.Namespace,
    advance: Advance,
) -> list[Cell]:
    """Measure every client with every number of calls."""
    service.behave(speed=1.0)
    text, ramp = (_SHORT_TEXT, 1.0) if options.quick else (_TEXT, _RAMP)
    cells: list[Cell] = []
    for number in numbers:
        for name, command in commands.items():
            try:
                with open_contestant(name, command, service.environment) as contestant:
                    cells.append(measure(service, contestant, number, text, ramp))
            except ChildFailed as failure:  # so many are too many for it: there is no cell
                warn(f"{number} calls of {name}: {failure}")
            advance()
    return cells


if __name__ == "__main__":
    main()
