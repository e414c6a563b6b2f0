"""From the first token of an LLM's reply to the first audio, part by part; and how soon a static text is heard.

Every client speaks the same replies of the tests' corpus, English and Russian, at 50 tokens a second, over TLS to the
same local server (75 ms of model latency, 20 times real time) through links with a round trip, reply by reply in turns,
so that all have the same machine. Medians; the parts are those of the reply in the middle, so that they add up to the
median. "floor" is the least code that works on an open socket, with each token or
each sentence sent as it comes. A phrase that is "cached" was said before. Then come two worlds (`worlds.py`): replies
of which half begin alike, and a service with a tail.

    python -m benchmarks latency [--quick] [--peers [PEER …]]
    python -m benchmarks latency --live    # a few replies by ElevenLabs, with your key; it says first what that costs
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from benchmarks import field, pictures, timing, worlds
from benchmarks.children import Contestant, Service, open_contestant, open_field
from benchmarks.script import Report, Target, add_peers, options_of, peers_of
from tests.corpus import Reply
from tts_trio import TTSConfig, TTSError
from tts_trio.cli.console import Advance, note, progress

_OWN = (field.OURS, "tts_trio, eager", "tts_trio, sentence", field.FLOOR_TOKENS, field.FLOOR)
_QUICK = (field.OURS, field.FLOOR_TOKENS, field.FLOOR)
_FIXED = (field.OURS, field.FLOOR, "elevenlabs", "livekit")  # who asks for static texts over HTTP
_LIVE_REPLIES = 4


@attrs.frozen
class Plan:
    """What is measured.

    Attributes:
        round_trips: Of the links, in seconds.
        link: The round trip of the picture and the targets.
        replies: What is said in turns.
        texts: How many static texts are said in turns.
        rounds: Of cold starts.
        silences: Before static texts, in seconds.
        worlds: Of the two worlds.
    """

    round_trips: Sequence[float]
    link: float
    replies: Sequence[Reply]
    texts: int
    rounds: int
    silences: Sequence[float]
    worlds: worlds.Plan

    def steps(self) -> int:
        """How many steps of the progress bar it has."""
        at_each_link = len(self.replies) + self.texts
        return len(self.round_trips) * at_each_link + self.rounds + len(self.silences) + self.worlds.steps()


_WARM_UP: dict[str, Any] = {"pieces": ["Yes."]}

QUICK = Plan((0.0, 0.1), 0.1, field.corpus(2, 60, 90), 4, 2, (), worlds.QUICK)
FULL = Plan((0.0, 0.1), 0.1, field.corpus(6), 15, 3, (8.0, 8.0, 60.0), worlds.FULL)


@attrs.define
class Measured:
    """What was measured, in seconds: for each client and round trip, a number for each round.

    Attributes:
        turns: What each turn is made of (`timing.parts`).
        hands: From the service's saying something to its being in the caller's hands.
        ends: From its last audio to the end's being known.
        phrases: To the first audio of a static text, by the silence before it, too.
        requests: To a static text's request's leaving.
        cached: To the first audio of a static text that was said before; ours alone keeps them.
        cold: To the first audio where the client is made for it.
    """

    turns: defaultdict[tuple[str, float], list[dict[str, float]]] = attrs.field(factory=lambda: defaultdict(list))
    hands: defaultdict[tuple[str, float], list[float]] = attrs.field(factory=lambda: defaultdict(list))
    ends: defaultdict[tuple[str, float], list[float]] = attrs.field(factory=lambda: defaultdict(list))
    phrases: defaultdict[tuple[str, float, float], list[float]] = attrs.field(factory=lambda: defaultdict(list))
    requests: defaultdict[tuple[str, float], list[float]] = attrs.field(factory=lambda: defaultdict(list))
    cached: list[float] = attrs.field(factory=list)
    cold: defaultdict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))

    def take_turn(self, name: str, round_trip: float, turn: dict[str, Any], record: Any, events: Any) -> None:
        """Take the times of a turn."""
        key = (name, round_trip)
        pieces, rate = len(turn["pieces"]), turn["rate"]
        self.turns[key].append(timing.parts(record, events, pieces=pieces, rate=rate, round_trip=round_trip))
        self.hands[key] += timing.deliveries(record, events, round_trip=round_trip)
        self.ends[key].append(timing.end_known(record, events, round_trip=round_trip))

    def middle(self, name: str, round_trip: float) -> dict[str, float]:
        """Return the parts of the reply in the middle: they add up to the median, as medians of parts do not."""
        turns = sorted(self.turns[name, round_trip], key=lambda turn: sum(turn.values()))
        return turns[(len(turns) - 1) // 2]

    def first_audio(self, name: str, round_trip: float) -> float:
        """Return the median time from the first token to the first audio."""
        return sum(self.middle(name, round_trip).values())


def measure(service: Service, contestants: Sequence[Contestant], plan: Plan, advance: Advance) -> Measured:
    """Measure all there is to measure."""
    measured = Measured()
    phrases = map("One moment, please, I am looking for order number {}.".format, itertools.count(1))
    fixed = [contestant for contestant in contestants if contestant.name in _FIXED]
    for round_trip in plan.round_trips:
        base_url = service.base_url(round_trip)
        for contestant in contestants:
            contestant.do("open", base_url=base_url, voices=[field.VOICE])
            _one(service, contestant, _WARM_UP, round_trip)
        for number, reply in enumerate(plan.replies):
            turn = field.written(reply)
            for contestant in field.rotated(contestants, number):
                record, events = _one(service, contestant, turn, round_trip)
                measured.take_turn(contestant.name, round_trip, turn, record, events)
            advance()
        for contestant in fixed:
            _one(service, contestant, field.known(next(phrases)), round_trip)
        for number in range(plan.texts):
            phrase = field.known(next(phrases))
            for contestant in field.rotated(fixed, number):
                record, events = _one(service, contestant, phrase, round_trip)
                measured.phrases[contestant.name, round_trip, 0.0].append(timing.first_audio(record))
                out = timing.request_out(record, events, round_trip=round_trip)
                measured.requests[contestant.name, round_trip].append(out)
                if contestant.name == field.OURS and round_trip == plan.link:
                    measured.cached.append(timing.first_audio(_one(service, contestant, phrase, round_trip)[0]))
            advance()
        if round_trip == plan.link:
            for silence in plan.silences:
                time.sleep(silence)
                phrase = field.known(next(phrases))
                for contestant in fixed:
                    (record,) = field.speak(contestant, phrase)
                    measured.phrases[contestant.name, round_trip, silence].append(timing.first_audio(record))
                advance()
        for contestant in contestants:
            contestant.do("close")
    for number in range(plan.rounds):
        turn = field.written(plan.replies[number % len(plan.replies)])
        for contestant in field.rotated(contestants, number):
            answer = contestant.do("cold", base_url=service.base_url(plan.link), voice=field.VOICE, turn=turn)
            measured.cold[contestant.name].append(timing.first_audio(answer["answer"]))
        advance()
    return measured


def _one(service: Service, contestant: Contestant, turn: dict[str, Any], round_trip: float) -> tuple[Any, Any]:
    """Have a client that is ready say something, and return its record and the service's."""
    contestant.do("prepare")
    time.sleep(0.1 + 5 * round_trip)  # what others and earlier turns have left to do in the background is done then
    service.events()
    (record,) = field.speak(contestant, turn)
    return record, service.events()


def report(
    measured: Measured,
    in_worlds: tuple[worlds.Measured, worlds.Measured],
    names: Sequence[str],
    plan: Plan,
    report: Report,
) -> None:
    """Print the tables, and draw the pictures."""
    for round_trip in plan.round_trips:
        report.add(
            f"First token to first audio, round trip {1000 * round_trip:.0f} ms; medians in ms, and their parts",
            (
                {"client": name, "median": 1000 * measured.first_audio(name, round_trip)}
                | {part: 1000 * seconds for part, seconds in measured.middle(name, round_trip).items()}
                for name in names
            ),
        )
    nearest = plan.round_trips[0]
    floor_hands = statistics.median(measured.hands[field.FLOOR, nearest])
    report.add(
        "What a client adds, without a link; ms",
        (
            {
                "client": name,
                "service's audio to hands": 1000 * statistics.median(measured.hands[name, nearest]),
                "of the floor": statistics.median(measured.hands[name, nearest]) / floor_hands,
                "last audio to the end": 1000 * statistics.median(measured.ends[name, nearest]),
                "static text's request out": _median_ms(measured.requests[name, nearest]),
            }
            for name in names
        ),
    )
    report.add(
        f"A static text to its first audio, round trip {1000 * plan.link:.0f} ms; ms",
        (
            {"client": name}
            | {
                f"after {silence:.0f} s": _median_ms(measured.phrases[name, plan.link, silence])
                for silence in (0.0, *plan.silences)
            }
            | {"cached": _median_ms(measured.cached) if name == field.OURS else None}
            for name in names
            if name in _FIXED
        ),
    )
    report.add(
        f"A client that is made for its first turn, round trip {1000 * plan.link:.0f} ms; ms to the first audio",
        (
            {
                "client": name,
                "cold": _median_ms(measured.cold[name]),
                "hot": 1000 * measured.first_audio(name, plan.link),
                "saved": 1000 * (statistics.median(measured.cold[name]) - measured.first_audio(name, plan.link)),
            }
            for name in names
        ),
    )
    worlds.report(in_worlds, [name for name in names if not field.is_own(name)], report)
    met = [*targets(measured, names, plan.link), *worlds.targets(in_worlds)]
    report.add("Targets", (target.row() for target in met))
    pictures.waterfall(
        report.picture(),
        f"First token to first audio, medians (50 tokens/s, round trip {1000 * plan.link:.0f} ms, TLS, hot)",
        {name: {part: 1000 * seconds for part, seconds in measured.middle(name, plan.link).items()} for name in names},
    )


def _median_ms(values: Sequence[float]) -> float | None:
    return 1000 * statistics.median(values) if values else None


def targets(measured: Measured, names: Sequence[str], link: float) -> list[Target]:
    """Compare with what it is to be; without peers the rows about them are left out."""
    others = [name for name in names if not name.startswith(("tts_trio", "floor"))]
    found: list[Target] = []
    if others:
        best = min(measured.first_audio(name, link) for name in others)
        for name, limit in ((field.OURS, 0.8), ("tts_trio, eager", 0.65), ("tts_trio, sentence", 0.97)):
            if name not in names:
                continue
            ours = 1000 * measured.first_audio(name, link)
            found.append(Target(f"first audio, {name}, of the best peer, ms", ours, 1000 * best, limit))

    def against_floor(what: str, values: Mapping[Any, Sequence[float]], key: tuple[float, ...], limit: float) -> None:
        ours, floor = (_median_ms(values[name, *key]) for name in (field.OURS, field.FLOOR))
        if ours is not None and floor is not None:
            found.append(Target(f"{what}, of the floor, ms", ours, floor, limit))

    against_floor("service's audio to hands", measured.hands, (0.0,), 1.5)
    against_floor("last audio to the end", measured.ends, (0.0,), 2.0)
    against_floor("static text's request out", measured.requests, (0.0,), 1.8)
    if measured.phrases[field.OURS, link, 8.0]:
        ours = 1000 * statistics.median(measured.phrases[field.OURS, link, 8.0])
        floor = 1000 * statistics.median(measured.phrases[field.FLOOR, link, 8.0])
        found.append(Target("static text after 8 s of silence, of the floor, ms", ours, floor, 1.02))
    return found


def live(config: TTSConfig) -> list[dict[str, object]]:
    """Have the service itself speak a few replies; return how soon the first of each was heard."""
    replies = field.corpus(_LIVE_REPLIES)
    phrase = "One moment, please."
    fixed = [name for name in _OWN if name in _FIXED]
    characters = len(_OWN) * sum(len(reply.text) for reply in replies) + len(fixed) * len(phrase)
    note(f"This has {config.base_url} speak {characters} characters, which the account is billed for.")
    times: defaultdict[str, list[float]] = defaultdict(list)
    said: dict[str, float] = {}
    with ExitStack() as stack, progress("latency", len(_OWN) * len(replies) + len(fixed)) as advance:
        environment = {"ELEVENLABS_API_KEY": config.api_key}
        contestants = [
            stack.enter_context(open_contestant(name, command, environment))
            for name, command in field.commands(_OWN, []).items()
        ]
        for contestant in contestants:
            contestant.do("open", base_url=config.base_url, voices=[config.voice_id])
        for number, reply in enumerate(replies):
            for contestant in field.rotated(contestants, number):
                contestant.do("prepare")
                time.sleep(1.0)
                times[contestant.name].append(timing.first_audio(field.speak(contestant, field.written(reply))[0]))
                advance()
        for contestant in contestants:
            if contestant.name in fixed:
                said[contestant.name] = 1000 * timing.first_audio(field.speak(contestant, field.known(phrase))[0])
                advance()
    return [
        {"client": name, "first token to first audio": _median_ms(times[name]), "static text": said.get(name)}
        for name in _OWN
    ]


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    add_peers(parser)
    parser.add_argument(
        "--live", action="store_true", help="against the service, with ELEVENLABS_API_KEY and _VOICE_ID"
    )
    options = parser.parse_args()
    result = Report("latency", options)
    if options.live:
        try:
            config = TTSConfig.from_env()
        except TTSError as error:
            parser.error(str(error))
        result.add("By the service itself; ms", live(config))
    else:
        plan = QUICK if options.quick else FULL
        own = _QUICK if options.quick else _OWN
        names = [*own, *peers_of(options)]
        commands = field.commands(own, peers_of(options))
        with open_field(commands) as (service, contestants), progress("latency", plan.steps()) as advance:
            measured = measure(service, contestants, plan, advance)
            in_worlds = worlds.measure(service, field.commands(worlds.OWN, peers_of(options)), plan.worlds, advance)
        report(measured, in_worlds, names, plan, result)
    result.write()


if __name__ == "__main__":
    main()
