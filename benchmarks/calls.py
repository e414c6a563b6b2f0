"""Many calls in one process on one core: what everything that a call needs in service costs, in CPU, delay and memory.

Each call has a client of its own, which is made ready before it is measured, and speaks one reply of 10 s; 40 replies
begin each second. Every message of the service has the times of its characters and comes in real time:

- every 250 ms, with 8,000 bytes of PCM at 16 kHz, which are 11 KB of JSON;
- every 20 ms, as telephony has it, with 160 bytes of µ-law at 8 kHz: a quarter of the calls.

The service is a process on another core, whose messages are made before, and which notes when it sends each. "CPU" is
that of the client's process from the moment when all are ready until all have spoken, in ms for each second of audio,
with the dials for the next replies, the pings and whatever else it does in that time; the "opening" is all it spent
until then, in ms a call. A reply is begun half a second before its first token, as when an LLM is asked. "Delay" is
from the service's sending to the first of the message being in the caller's hands, in ms; "memory" is what the process
grew by until all were ready, and "speaking" until all spoke, in kB a call; "full passes" are those of the garbage
collector while they speak, in all rounds. The floor is the least code on asyncio that does the same. "floor, trio" is
the least code on trio, over our TLS stream and frames; "no spare" is `spares=0`. The clients take turns, round by
round, each time in a fresh process; the medians of the rounds count, and "of the floor" is the median of the ratios to
that of asyncio within a round. `memory.py` says how the memory by kind is found.

    python -m benchmarks calls [--quick] [--calls N …] [--messages MS …] [--rounds N] [--peers [PEER …]]
                               [--spare-collector]
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from benchmarks import field, memory, pictures, timing
from benchmarks.children import ChildFailed, Contestant, Service, open_contestant, open_service
from benchmarks.script import Report, Target, add_peers, options_of, peers_of
from benchmarks.service.replay import CHARACTERS_A_SECOND, SHAPES
from tts_trio.cli.console import Advance, progress, warn

_OURS = (field.OURS, field.OURS_MULTI, field.OURS_MULTI_ALONE)
_OWN = (*_OURS, field.FLOOR_ASYNCIO, field.FLOOR_TRIO)
_TEXT = (
    "Your order left our warehouse this morning, and it should be with you by Friday at the latest. "
    "Would you like to have a message when the driver is near your house?"
)
_SHORT_TEXT = "Your order left our warehouse. Is Friday fine?"
_FORMATS = {shape.message_ms: output_format for output_format, shape in SHAPES.items()}
_TELEPHONY_MS = 20
_FEWER = {
    250: 1,
    _TELEPHONY_MS: 4,
}  # where messages are that frequent, so many calls alone would be more than a core can do
_NO_TELEPHONY = ("livekit", "pipecat")  # which have no µ-law
_BEGINNINGS_A_SECOND = 40
_SECONDS_A_DIAL = 0.015  # at most, of one process: until then the connections behind those in use are open, too
_NOTICE = 0.5  # seconds before its first token a reply is begun, as an orchestrator does when it asks its LLM


@attrs.frozen
class Load:
    """What the calls of a run have to do.

    Attributes:
        calls: How many there are.
        message_ms: Milliseconds of sound in each of the service's messages.
        text: What each call says.
    """

    calls: int
    message_ms: int
    text: str

    @property
    def output_format(self) -> str:
        """The format that comes so."""
        return _FORMATS[self.message_ms]

    @property
    def seconds(self) -> float:
        """How long the text sounds."""
        return len(self.text) / CHARACTERS_A_SECOND

    @property
    def lead(self) -> float:
        """Seconds until all connections are open, those in the background too."""
        return 0.5 + self.calls * _SECONDS_A_DIAL

    def voices(self) -> list[str]:
        """Give a voice to each call, by which the service's events are told apart."""
        return [f"call{number}" for number in range(self.calls)]

    def title(self) -> str:
        """What it is called in the tables."""
        return f"{self.calls} calls, a message every {self.message_ms} ms"


@attrs.frozen
class Cell:
    """What a load costs one client.

    Attributes:
        cpu: Milliseconds for each second of audio.
        median: Delay, in milliseconds; None: there was no audio.
        p99: The same at the 99th percentile.
        opening: Milliseconds of CPU for each call, until all are ready.
        memory: Kilobytes a call, when all are ready.
        speaking: Kilobytes a call, when all speak.
        passes: Full passes of the garbage collector, from when all are ready until all have spoken.
        failures: Calls that failed, or whose audio did not come whole.
    """

    cpu: float
    median: float | None
    p99: float | None
    opening: float
    memory: float
    speaking: float
    passes: int
    failures: int


Round = dict[str, Cell]
"""The cells of one round, by client."""


def measure(service: Service, contestant: Contestant, load: Load) -> Cell:
    """Have the calls speak."""
    before = _warm_up(service, contestant)
    voices = load.voices()
    contestant.do("open", base_url=service.replay_url, voices=voices)
    contestant.do("prepare")
    service.events()
    lead = load.lead
    turn = {"pieces": _tokens(load.text), "rate": field.RATE, "begins_in": _NOTICE}
    rows = [[turn | {"rest": lead + number / _BEGINNINGS_A_SECOND}] for number in range(load.calls)]
    all_speak = lead + load.calls / _BEGINNINGS_A_SECOND + _NOTICE + 0.5
    spoken = contestant.do("speak", rows=rows, note_after=[lead - 0.1, all_speak])
    records = [record for (record,) in spoken["answer"]["records"]]
    steady, speaking = spoken["answer"]["notes"]
    delays = _delays(records, voices, service.events())
    bytes_a_second = SHAPES[load.output_format].bytes_a_second
    sizes = [sum(size for _, size in record["audio"]) for record in records]
    whole = load.seconds * bytes_a_second
    return Cell(
        cpu=1000 * (spoken["cpu"] - steady["cpu"]) / max(sum(sizes) / bytes_a_second, 1e-9),
        median=1000 * statistics.median(delays) if delays else None,
        p99=1000 * percentile(delays, 99) if delays else None,
        opening=1000 * (steady["cpu"] - before["cpu"]) / load.calls,
        memory=(steady["memory"] - before["memory"]) / load.calls / 1000,
        speaking=(speaking["memory"] - before["memory"]) / load.calls / 1000,
        passes=spoken["passes"] - steady["passes"],
        failures=sum("error" in record or size < whole for record, size in zip(records, sizes, strict=True)),
    )


def _warm_up(service: Service, contestant: Contestant) -> dict[str, Any]:
    """Speak once, so that everything is loaded; return what the process had used when that was over."""
    contestant.do("open", base_url=service.replay_url, voices=["warm-up"])
    contestant.do("prepare")
    field.speak(contestant, {"pieces": ["Yes."]})
    return contestant.do("close")


def hold(service: Service, contestant: Contestant, load: Load) -> memory.Held:
    """Open the calls, and tell what they hold."""
    _warm_up(service, contestant)
    return memory.held(contestant, service.replay_url, load.voices(), load.lead)


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def _delays(records: Sequence[timing.Record], voices: Sequence[str], events: Sequence[timing.Event]) -> list[float]:
    by_voice: dict[str, list[timing.Event]] = {voice: [] for voice in voices}
    for event in events:
        by_voice[event["voice"]].append(event)
    return [
        delay
        for record, voice in zip(records, voices, strict=True)
        for delay in timing.deliveries(record, by_voice[voice])
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; of a single value, that one."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def rows(rounds: Sequence[Round]) -> Iterator[dict[str, object]]:
    """Make a row for each client: the medians of all rounds, and all full passes of the collector and failures."""
    for client in dict.fromkeys(client for cells in rounds for client in cells):
        yield {"client": client} | {
            "cpu": _median(rounds, client, "cpu"),
            "cpu, of the floor": _ratio(rounds, client, "cpu"),
            "median": _median(rounds, client, "median"),
            "p99": _median(rounds, client, "p99"),
            "p99, of the floor": _ratio(rounds, client, "p99"),
            "opening": _median(rounds, client, "opening"),
            "opening, of the floor": _ratio(rounds, client, "opening"),
            "memory": _median(rounds, client, "memory"),
            "memory, speaking": _median(rounds, client, "speaking"),
            "full passes": sum(cells[client].passes for cells in rounds if client in cells),
            "failures": sum(cells[client].failures for cells in rounds if client in cells),
        }


def _median(rounds: Sequence[Round], client: str, measure: str) -> float | None:
    known = [value for cells in rounds if client in cells and (value := getattr(cells[client], measure)) is not None]
    return statistics.median(known) if known else None


def _ratio(rounds: Sequence[Round], client: str, measure: str) -> float | None:
    pairs = [
        (getattr(cells[client], measure), getattr(cells[field.FLOOR_ASYNCIO], measure))
        for cells in rounds
        if client in cells and field.FLOOR_ASYNCIO in cells
    ]
    ratios = [own / floor for own, floor in pairs if own is not None and floor]
    return statistics.median(ratios) if ratios else None


def targets(load: Load, rounds: Sequence[Round]) -> Iterator[Target]:
    """Compare what a load costs us with what it is to cost."""
    for row in rows(rounds):
        for measure, column, limit in _limits(load):
            if row["client"] in _OURS and isinstance(value := row[column], float):
                yield Target(f"{row['client']}, {load.calls} calls: {measure}", value, None, limit)


def _limits(load: Load) -> Iterator[tuple[str, str, float]]:
    """Give what is to be reached: what it is, in which column it is, and the most it may be."""
    yield "CPU a second of audio, of the floor", "cpu, of the floor", 1.7
    yield "delay, 99th percentile, of the floor", "p99, of the floor", 3.0 if load.calls <= 200 else 5.0
    yield "CPU to open a call, of the floor", "opening, of the floor", 1.7
    yield "memory a call that speaks, kB", "memory, speaking", 200.0


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    add_peers(parser)
    parser.add_argument("--calls", type=int, nargs="+", metavar="N", help="how many (default: 200; quick: 20)")
    parser.add_argument(
        "--messages", type=int, nargs="+", choices=_FORMATS, metavar="MS", help="how frequent (default: 250 20)"
    )
    parser.add_argument(
        "--spare-collector", action="store_true",
        help="gc.freeze() and gc.set_threshold(700, 10, 100) in each client, as the production checklist says",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="how many (default: 5; quick: 1)")
    options = parser.parse_args()
    text = _SHORT_TEXT if options.quick else _TEXT
    numbers: list[int] = options.calls or [20 if options.quick else 200]
    loads = [
        Load(max(1, number // _FEWER[message_ms]), message_ms, text)
        for message_ms in options.messages or _FORMATS
        for number in numbers
    ]
    commands = field.commands(_OWN, peers_of(options))
    count: int = options.rounds or (1 if options.quick else 5)
    result = Report("calls", options)
    steps = count * sum(len(_able(commands, load)) for load in loads) + len(commands)
    with open_service() as service, progress("calls", steps) as advance:
        if options.spare_collector:
            service.environment["SPARE_COLLECTOR"] = "1"
        measured = run(service, loads, commands, count, advance)
        held = run_memory(service, loads[0], commands, advance)
    for load, rounds in measured.items():
        result.add(load.title(), rows(rounds))
    rss = {client: _median(measured[loads[0]], client, "memory") for client in held}
    result.add(f"Memory by kind, {loads[0].calls} calls, kB a call", memory.by_module(held, rss))
    if field.OURS in held:
        result.add(f"Objects of {loads[0].calls} calls, {field.OURS}", memory.by_type(held[field.OURS]))
    first = {load: rounds for load, rounds in measured.items() if load.message_ms == loads[0].message_ms}
    result.add("Targets", (target.row() for load, rounds in first.items() for target in targets(load, rounds)))
    _draw(result, {load.calls: rounds for load, rounds in first.items()})
    result.write()


def _draw(result: Report, measured: dict[int, list[Round]]) -> None:
    names = list(dict.fromkeys(name for rounds in measured.values() for cells in rounds for name in cells))
    panels = [
        (what, unit, {name: {calls: _median(measured[calls], name, key) for calls in measured} for name in names})
        for what, unit, key in (
            ("CPU", "ms a second of audio", "cpu"),
            ("Delay, 99th percentile", "ms", "p99"),
            ("Memory of a call that speaks", "kB", "speaking"),
        )
    ]
    if len(measured) > 1:
        pictures.curves(result.picture(), [(f"{what}, {unit}", lines) for what, unit, lines in panels], "calls")
        return
    (calls,) = measured
    pictures.several_bars(
        result.picture(),
        [
            (f"{what}, {calls} calls", unit, {name: points[calls] or 0.0 for name, points in lines.items()})
            for what, unit, lines in panels
        ],
    )


def _able(commands: dict[str, list[str]], load: Load) -> list[str]:
    """Return the clients that have the format of a load."""
    return [name for name in commands if load.message_ms != _TELEPHONY_MS or name not in _NO_TELEPHONY]


def run(
    service: Service, loads: Iterable[Load], commands: dict[str, list[str]], rounds: int, advance: Advance
) -> dict[Load, list[Round]]:
    """Measure every client with every load, round by round."""
    measured: dict[Load, list[Round]] = {load: [{} for _ in range(rounds)] for load in loads}
    for number in range(rounds):
        for load, cells in measured.items():
            environment = service.environment | {"ELEVENLABS_OUTPUT_FORMAT": load.output_format}
            for name in field.rotated(_able(commands, load), number):
                try:
                    with open_contestant(name, commands[name], environment) as contestant:
                        cells[number][name] = measure(service, contestant, load)
                except ChildFailed as failure:  # so many are too many for it: there is no cell
                    warn(f"{load.title()}, {name}: {failure}")
                advance()
    return measured


def run_memory(
    service: Service, load: Load, commands: dict[str, list[str]], advance: Advance
) -> dict[str, memory.Held]:
    """Have every client that has the format open the calls once more, and tell what they hold."""
    environment = service.environment | {"ELEVENLABS_OUTPUT_FORMAT": load.output_format}
    held: dict[str, memory.Held] = {}
    for name in _able(commands, load):
        try:
            with open_contestant(name, commands[name], environment) as contestant:
                held[name] = hold(service, contestant, load)
        except ChildFailed as failure:
            warn(f"{load.title()}, {name}: {failure}")
        advance()
    return held


if __name__ == "__main__":
    main()
