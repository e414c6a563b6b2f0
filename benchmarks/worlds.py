"""Two worlds in which the first audio does not always take the same time, and what a client can do about it.

**Openings**: half of the replies begin with one of twelve openings, English and Russian, which two conversations have
said before. **A tail**: the service is slow for 8 % of the phrases, by 0.9 to 2.6 s.

A percentile needs many replies. So many conversations of a client go on at once, the clients one after another, in
blocks that take turns. In each block the service draws the same slow phrases anew.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from benchmarks import field, pictures, timing
from benchmarks.children import Contestant, Service, open_contestant
from benchmarks.script import Report, Target
from tests.corpus import LANGUAGES, Reply, replies
from tts_trio.cli.console import Advance

SAID = {
    "en": (
        "Sure, let me check that for you.",
        "One moment, please.",
        "Of course, I can help you with that.",
        "Thank you for waiting.",
        "Let me see what I can do.",
        "All right, I have found your booking.",
    ),
    "ru": (
        "Конечно, сейчас посмотрю.",
        "Одну минуту, пожалуйста.",
        "Да, с этим я могу помочь.",
        "Спасибо за ожидание.",
        "Хорошо, давайте проверим.",
        "Так, я вижу вашу запись.",
    ),
}
"""The openings."""

SLOW = {"model_latency": 0.08, "slow_share": 0.08, "slow_by": 2.6}
PEER = "livekit"
"""Whom the openings are compared with."""

_STAGGERED = 0.05  # seconds between the first turns of two conversations
_SHORTEST, _LONGEST = 60, 160  # characters of a reply, or of what follows its opening


@attrs.frozen
class World:
    """A world.

    Attributes:
        title: Of its table and its curves.
        round_trip: Of the link, in seconds.
        behavior: Of the service.
        own: Which of ours speak in it.
    """

    title: str
    round_trip: float
    behavior: Mapping[str, float]
    own: Sequence[str]


OPENINGS = World(
    "Half of the replies begin alike, round trip 100 ms",
    0.1,
    {},
    (field.OURS, field.OURS_OPENINGS, field.OURS_EAGER_OPENINGS),
)
TAIL = World("A service with a tail, round trip 40 ms", 0.04, SLOW, (field.OURS, field.OURS_HEDGING))
OWN = tuple(dict.fromkeys((*OPENINGS.own, *TAIL.own)))


@attrs.frozen
class Plan:
    """How much is measured.

    Attributes:
        conversations: At once, of each client.
        openings: Replies of each conversation in the world of openings.
        tail: Replies of each conversation in the world with a tail.
        blocks: Into how many these are divided.
    """

    conversations: int
    openings: int
    tail: int
    blocks: int

    def steps(self) -> int:
        """How many steps of the progress bar it has."""
        return 2 * self.blocks


QUICK = Plan(24, 1, 1, 1)
FULL = Plan(40, 4, 6, 2)


@attrs.frozen
class Written:
    """A reply, and whether it begins with one of the openings."""

    reply: Reply
    opening: bool


@attrs.define
class Measured:
    """What was measured in a world, for each client.

    Attributes:
        every: Seconds to the first audio, of each reply.
        opened: The same of those with an opening.
        written: Characters of the replies, without blanks.
        sent: Characters that came to the service, without blanks.
    """

    every: defaultdict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))
    opened: defaultdict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))
    written: defaultdict[str, int] = attrs.field(factory=lambda: defaultdict(int))
    sent: defaultdict[str, int] = attrs.field(factory=lambda: defaultdict(int))

    def take(self, name: str, one: Written, seconds: float) -> None:
        """Take how soon a reply was heard."""
        self.every[name].append(seconds)
        if one.opening:
            self.opened[name].append(seconds)
        self.written[name] += _letters(one.reply.text)

    def sent_twice(self, name: str) -> float:
        """Return which part of the characters came to the service once more."""
        return self.sent[name] / self.written[name] - 1


def corpus(count: int, seed: int, *, opened: bool | None = None) -> list[Written]:
    """Return replies in turns of the languages.

    Args:
        count: How many.
        seed: Of the draw.
        opened: Whether they begin with an opening, each of them equally often; None: every other one of a language.
    """
    draw = random.Random(seed)
    middling = {
        language: [one for one in replies(language) if not one.pauses and _SHORTEST <= len(one.text) <= _LONGEST]
        for language in LANGUAGES
    }
    written: list[Written] = []
    for number in range(count):
        language = LANGUAGES[number % 2]
        reply = draw.choice(middling[language])
        with_opening = number // 2 % 2 == 0 if opened is None else opened
        if with_opening:
            opening = SAID[language][number // (2 if opened else 4) % len(SAID[language])]
            reply = Reply(language, f"{opening} {reply.text}", frozenset(), frozenset())
        written.append(Written(reply, with_opening))
    return written


def percentile(seconds: Sequence[float], part: int) -> float:
    """Return a percentile, in milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[part - 1]


def measure(
    service: Service, commands: Mapping[str, Sequence[str]], plan: Plan, advance: Advance
) -> tuple[Measured, Measured]:
    """Measure in both worlds: of openings, and with a tail.

    Args:
        service: The service.
        commands: Of the clients' processes; each world has processes of its own.
        plan: How much is measured. The first turn of each conversation is no part of it. If there are 24, two of them
            say each opening in it.
        advance: Of the progress bar.
    """
    return (
        _measure(OPENINGS, plan.openings, service, commands, plan, advance),
        _measure(TAIL, plan.tail, service, commands, plan, advance),
    )


def _measure(
    world: World,
    turns: int,
    service: Service,
    commands: Mapping[str, Sequence[str]],
    plan: Plan,
    advance: Advance,
) -> Measured:
    found = Measured()
    said = corpus(plan.conversations * turns, 1)
    with ExitStack() as stack:
        contestants = [
            stack.enter_context(open_contestant(name, command, service.environment))
            for name, command in commands.items()
            if name in world.own or not field.is_own(name)
        ]
        voices = [field.VOICE] * plan.conversations
        for contestant in contestants:
            contestant.do("open", base_url=service.base_url(world.round_trip), voices=voices, at_once=True)
            _speak(contestant, corpus(plan.conversations, 0, opened=True), plan, world)
        for block in range(plan.blocks):
            part = said[block * len(said) // plan.blocks : (block + 1) * len(said) // plan.blocks]
            for contestant in field.rotated(contestants, block):
                service.behave(**world.behavior, seed=1 + block)
                service.events()
                for one, record in _speak(contestant, part, plan, world):
                    found.take(contestant.name, one, timing.first_audio(record))
                found.sent[contestant.name] += sum(_letters(text) for text in timing.texts(service.events()))
            advance()
        for contestant in contestants:
            contestant.kill()
    service.behave()
    return found


def _speak(
    contestant: Contestant, said: Sequence[Written], plan: Plan, world: World
) -> list[tuple[Written, dict[str, Any]]]:
    """Have the conversations of a client say these in turns, each when the one before it was heard to its end."""
    rest = 0.1 + 5 * world.round_trip  # what earlier turns have left to do in the background is done then
    rows: list[list[dict[str, Any]]] = [[] for _ in range(plan.conversations)]
    for number, one in enumerate(said):
        row = number % plan.conversations
        rows[row].append(field.written(one.reply) | {"rest": rest + (0.0 if rows[row] else row * _STAGGERED)})
    records = contestant.do("speak", rows=rows)["answer"]["records"]
    spoken = [(one, records[n % plan.conversations][n // plan.conversations]) for n, one in enumerate(said)]
    for _, record in spoken:
        if "error" in record:
            raise RuntimeError(f"{contestant.name}: {record['error']}")
    return spoken


def _letters(text: str) -> int:
    return len("".join(text.split()))


def report(measured: tuple[Measured, Measured], peers: Sequence[str], report: Report) -> None:
    """Add the tables, and draw the curves of both worlds."""
    panels: list[tuple[str, Mapping[str, Sequence[float]]]] = []
    for world, found, row in zip((OPENINGS, TAIL), measured, (_of_openings, _of_tail), strict=True):
        names = [*world.own, *peers]
        report.add(f"{world.title}; ms to the first audio", [row(found, name) for name in names])
        panels.append((world.title, {name: [1000 * seconds for seconds in found.every[name]] for name in names}))
    pictures.distributions(report.picture("-worlds"), panels)


def _of_openings(measured: Measured, name: str) -> dict[str, object]:
    row: dict[str, object] = {"client": name}
    for what, of in (("with an opening", measured.opened), ("all", measured.every)):
        row |= {f"{part}th, {what}": percentile(of[name], part) for part in (50, 95, 99)}
        if PEER in of:
            row[f"of LiveKit, {what}"] = percentile(of[name], 50) / percentile(of[PEER], 50)
    return row


def _of_tail(measured: Measured, name: str) -> dict[str, object]:
    middle, *late = (percentile(measured.every[name], part) for part in (50, 95, 99))
    return {
        "client": name,
        "50th": middle,
        "95th": late[0],
        "99th": late[1],
        "95th, of the 50th": late[0] / middle,
        "99th, of the 50th": late[1] / middle,
        "characters sent twice, %": 100 * measured.sent_twice(name),
    }


def targets(measured: tuple[Measured, Measured]) -> list[Target]:
    """Compare with what it is to be; without LiveKit's plugin the rows about it are left out."""
    openings, tail = measured
    ours, hedging = field.OURS_OPENINGS, field.OURS_HEDGING
    found: list[Target] = []
    if PEER in openings.every:
        for what, of, limit in (("with an opening", openings.opened, 0.4), ("all replies", openings.every, 0.6)):
            medians = percentile(of[ours], 50), percentile(of[PEER], 50)
            found.append(Target(f"first audio with openings kept, {what}, of LiveKit, ms", *medians, limit))
    middle = percentile(tail.every[hedging], 50)
    for part, limit in ((95, 1.6), (99, 2.2)):
        late = percentile(tail.every[hedging], part)
        found.append(Target(f"first audio with hedging, {part}th percentile, of the median, ms", late, middle, limit))
    found.append(Target("characters sent twice with hedging, %", 100 * tail.sent_twice(hedging), None, 5.0))
    return found
