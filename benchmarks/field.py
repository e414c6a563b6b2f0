"""Who is measured, what they say, and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from benchmarks import peers
from benchmarks.children import Contestant
from tests.corpus import LANGUAGES, Reply, replies

OURS = "tts_trio"
OURS_OPENINGS = "tts_trio, openings"
OURS_EAGER_OPENINGS = "tts_trio, eager, openings"
OURS_HEDGING = "tts_trio, hedging"
OURS_MULTI = "tts_trio, multi-stream-input"
OURS_MULTI_ALONE = "tts_trio, multi-stream-input, no spare"
FLOOR_TOKENS = "floor, tokens"
FLOOR = "floor, sentences"
FLOOR_ASYNCIO = "floor, asyncio"
FLOOR_TRIO = "floor, trio"
RATE = 50.0  # pieces of text a second
VOICE = "any"

_OWN = {
    OURS: ("ours", "balanced"),
    OURS_OPENINGS: ("ours", "balanced", "opening_cache=memory"),
    OURS_EAGER_OPENINGS: ("ours", "eager", "opening_cache=memory"),
    OURS_HEDGING: ("ours", "balanced", "hedge=auto"),
    OURS_MULTI: ("ours", "balanced", "endpoint=multi-stream-input"),
    OURS_MULTI_ALONE: ("ours", "balanced", "endpoint=multi-stream-input", "spares=0"),
    "tts_trio, eager": ("ours", "eager"),
    "tts_trio, sentence": ("ours", "sentence"),
    FLOOR_TOKENS: ("floor", "tokens"),
    FLOOR: ("floor", "sentences"),
    FLOOR_ASYNCIO: ("asyncio_floor",),
    FLOOR_TRIO: ("trio_floor",),
}

_T = TypeVar("_T")


def commands(own: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """Return the commands of the clients' processes, by the names that the tables have."""
    modules = {name: [f"benchmarks.clients.{_OWN[name][0]}", *_OWN[name][1:]] for name in own}
    return {name: [sys.executable, "-m", *module] for name, module in modules.items()} | {
        name: peers.command(name) for name in others
    }


def is_own(name: str) -> bool:
    """Whether a client is one of ours, or a floor."""
    return name in _OWN


def corpus(count: int, shortest: int = 90, longest: int = 240) -> list[Reply]:
    """Return replies of middling length in turns of the languages, from all over the tests' corpus."""
    each = -(-count // len(LANGUAGES))
    chosen: list[list[Reply]] = []
    for language in LANGUAGES:
        fit = [reply for reply in replies(language) if not reply.pauses and shortest <= len(reply.text) <= longest]
        chosen.append(fit[:: max(1, len(fit) // each)])
    return [reply for together in zip(*chosen, strict=False) for reply in together][:count]


def written(reply: Reply) -> dict[str, Any]:
    """Return a turn in which an LLM writes this."""
    return {"pieces": reply.pieces(), "rate": RATE}


def known(text: str) -> dict[str, Any]:
    """Return a turn in which all of this is known at once."""
    return {"pieces": [text], "known": True}


def rotated(contestants: Sequence[_T], number: int) -> Iterator[_T]:
    """Give them in an order that changes from round to round, so that none always follows the same one."""
    for index in range(len(contestants)):
        yield contestants[(index + number) % len(contestants)]


def speak(contestant: Contestant, *turns: dict[str, Any]) -> list[dict[str, Any]]:
    """Have a client of one conversation speak, and return its records.

    Raises:
        RuntimeError: It failed.
    """
    records = contestant.do("speak", rows=[list(turns)])["answer"]["records"][0]
    for record in records:
        if "error" in record:
            raise RuntimeError(f"{contestant.name}: {record['error']}")
    return records
