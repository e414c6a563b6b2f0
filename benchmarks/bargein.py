"""The caller interrupts: when is his task free, when is the service told, when is the next turn heard, what was stale.

A Russian reply is interrupted while it is spoken, and an English one begins at once. The service speaks in tones that
say which text they voice, three times as fast as it sounds, so that more is always on the way: what is Cyrillic in the
sound of the second turn, and what is heard of the first after the interruption, is stale. Medians.

    python -m benchmarks bargein [--quick] [--peers [PEER …]]
"""

from __future__ import annotations

import base64
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from benchmarks import field, pictures, timing
from benchmarks.children import Contestant, Service, open_field
from benchmarks.script import Report, Target, add_peers, options_of, peers_of
from tests.corpus import Reply
from tts_trio.cli.console import Advance, progress
from tts_trio.local_server import read_tones

_OWN = (field.OURS, field.FLOOR)
_SPEED = 3.0
_CUT_AFTER = 1.2  # seconds from the first token
_ROUND_TRIPS = (0.0, 0.1)
_SAMPLE_RATE = 16000
_BYTES_A_CHARACTER = 1920  # of tones: 60 ms
_ROUNDS = 5


@attrs.frozen
class Interruption:
    """What one interruption led to, in seconds from it.

    Attributes:
        free: The caller's task goes on.
        told: The service, at its end of the link, hears of it; None: it never did.
        next_audio: The first audio of the next turn is in the caller's hands.
        stale: Bytes that were delivered and belonged to what had been interrupted.
    """

    free: float
    told: float | None
    next_audio: float
    stale: int


def interruption(first: timing.Record, second: timing.Record, events: Iterable[timing.Event]) -> Interruption:
    """Say what became of a turn that was cut, and of the one after it."""
    cut = first["cut"]
    sound = read_tones(base64.b64decode(second["sound"]), f"pcm_{_SAMPLE_RATE}")
    late = sum(size for at, size in first["audio"] if at > cut)
    told = [event["at"] for event in events if event["at"] > cut and _tells(event)]
    return Interruption(
        free=first["free"] - cut,
        told=told[0] - cut if told else None,
        next_audio=second["audio"][0][0] - cut,
        stale=late + _BYTES_A_CHARACTER * sum("а" <= character.lower() <= "я" for character in sound),
    )


def _tells(event: timing.Event) -> bool:
    message = event.get("message")
    return event["kind"] in {"close", "ended"} or (isinstance(message, dict) and "close_context" in message)


def measure(
    service: Service,
    contestants: Sequence[Contestant],
    replies: Sequence[Reply],
    round_trips: Sequence[float],
    advance: Advance,
) -> dict[tuple[str, float], list[Interruption]]:
    """Interrupt each client in each reply, Russian ones and English ones in turns."""
    service.behave(speed=_SPEED)
    measured: defaultdict[tuple[str, float], list[Interruption]] = defaultdict(list)
    for round_trip in round_trips:
        for contestant in contestants:
            contestant.do("open", base_url=service.base_url(round_trip), voices=[field.VOICE])
        for number in range(0, len(replies), 2):
            russian, english = replies[number : number + 2]
            first: dict[str, Any] = field.written(russian) | {"cut_after": _CUT_AFTER}
            second: dict[str, Any] = field.written(english) | {"keep_sound": True}
            for contestant in field.rotated(contestants, number // 2):
                contestant.do("prepare")
                time.sleep(0.1 + 5 * round_trip)
                service.events()
                records = field.speak(contestant, first, second)
                measured[contestant.name, round_trip].append(interruption(*records, service.events()))
            advance()
        for contestant in contestants:
            contestant.do("close")
    return measured


def rows(measured: dict[tuple[str, float], list[Interruption]], round_trip: float) -> list[dict[str, object]]:
    """Return the medians of a round trip, and the sum of what was stale."""
    return [
        {
            "client": name,
            "caller free": 1000 * statistics.median(each.free for each in found),
            "longest": 1000 * max(each.free for each in found),
            "service told": 1000 * statistics.median(told) if (told := [e.told for e in found if e.told]) else None,
            "next turn's audio": 1000 * statistics.median(each.next_audio for each in found),
            "stale bytes": sum(each.stale for each in found),
        }
        for (name, link), found in measured.items()
        if link == round_trip
    ]


def targets(measured: dict[tuple[str, float], list[Interruption]], link: float) -> list[Target]:
    """Compare with what it is to be; without peers the row about them is left out."""
    ours = [each for (name, _), found in measured.items() for each in found if name == field.OURS]
    free = 1000 * statistics.median(each.free for each in ours)
    found = [
        Target("interruption to the caller's task free, ms", free, None, 1.0),
        Target("stale bytes", sum(each.stale for each in ours), None, 0),
    ]
    next_audio = {
        name: 1000 * statistics.median(each.next_audio for each in interruptions)
        for (name, round_trip), interruptions in measured.items()
        if round_trip == link
    }
    if others := [value for name, value in next_audio.items() if name not in _OWN]:
        found.append(Target("the next turn, of the best peer, ms", next_audio[field.OURS], min(others), 0.8))
    return found


def corpus(rounds: int) -> list[Reply]:
    """Return replies long enough to be interrupted: a Russian one and an English one for each round."""
    chosen = field.corpus(2 * rounds, 150, 300)
    return [reply for pair in zip(chosen[1::2], chosen[::2], strict=True) for reply in pair]


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    add_peers(parser)
    options = parser.parse_args()
    replies = corpus(2 if options.quick else _ROUNDS)
    round_trips = _ROUND_TRIPS[-1:] if options.quick else _ROUND_TRIPS
    result = Report("bargein", options)
    with (
        open_field(field.commands(_OWN, peers_of(options))) as (service, contestants),
        progress("bargein", len(round_trips) * len(replies) // 2) as advance,
    ):
        measured = measure(service, contestants, replies, round_trips, advance)
    for round_trip in round_trips:
        result.add(f"An interruption, round trip {1000 * round_trip:.0f} ms; ms from it", rows(measured, round_trip))
    link = round_trips[-1]
    result.add("Targets", (target.row() for target in targets(measured, link)))
    pictures.bars(
        result.picture(),
        f"Interruption to the first audio of the next turn, medians (50 tokens/s, round trip {1000 * link:.0f} ms)",
        "ms",
        {str(row["client"]): float(str(row["next turn's audio"])) for row in rows(measured, link)},
    )
    result.write()


if __name__ == "__main__":
    main()
