"""What the server may do wrong, and when it does: drawn for every connection, answer and utterance by the seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

Place: TypeAlias = Literal["accept", "upgrade", "idle", "speech", "answer"]


@attrs.frozen
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: What.
        part: After which part of the audio, 0 to 1.
        phrase: At which phrase of the utterance.
        delay: After how many seconds.
        how: In which way, where there are several.
    """

    name: str
    part: float
    phrase: int
    delay: float
    how: Any = None

    def __str__(self) -> str:
        return f"{self.name} {self.how or ''} (part {self.part:.2f}, phrase {self.phrase}, delay {self.delay:.3f})"


_ENDINGS = ("fin", "reset", "half a frame")
_REFUSALS = (
    (401, {}),
    (402, {}),
    (403, {}),
    (404, {}),
    (408, {}),
    (422, {}),
    (429, {}),
    (429, {"retry-after": "0"}),
    (429, {"retry-after": "0.05"}),
    (429, {"retry-after": "86400"}),
    (429, {"retry-after": "inf"}),
    (429, {"retry-after": "nan"}),
    (429, {"retry-after": "Wed, 21 Oct 2037 07:28:00 GMT"}),
    (500, {}),
    (503, {"retry-after": "0.1"}),
    (302, {"location": "/elsewhere"}),
    (307, {"location": "https://127.0.0.1:9/"}),
    (204, {}),
    (304, {}),
    (999, {}),
)

# Of each place: the faults, their weights, and their ways.
_FAULTS: Mapping[Place, Mapping[str, tuple[int, tuple[Any, ...]]]] = {
    "accept": {
        "hang up": (2, ("fin", "reset")),
        "say nothing": (2, ()),
        "garbage": (
            1,
            (b"\x15\x03\x03\x00\x02\x02\x28", b"\x15\x03\x03\x00\x02\x02\x30", b"HTTP/1.1 400 no\r\n\r\n", b"\0" * 50),
        ),
        "be slow": (3, ()),
    },
    "upgrade": {
        "refuse": (4, _REFUSALS),
        "say nothing": (2, ()),
        "end": (2, ("fin", "reset")),
        "wrong accept": (1, ()),
        "garbage": (1, (b"\0\1\2", b"HTTP/1.1 200 OK\r\n\r\nhello", b"HTTP/9.9 101 ?\r\n\r\n", b"SSH-2.0-x\r\n")),
        "head without end": (1, ()),
        "frames at once": (2, ("poison", "final", "error", "close", "junk")),
    },
    "idle": {
        "speak": (4, ()),
        "final": (1, ()),
        "error": (2, ("quota_exceeded", "invalid_api_key", "system_busy", "")),
        "close": (2, (1000, 1001, 1006, 1008, 1011, 1012, 1014, 3000, 4000, 65535)),
        "end": (3, ("fin", "reset")),
        "junk": (2, ()),
        "raw": (1, (b"\xff\xff\xff", b"\x00" * 40, b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")),
        "deaf": (1, ()),
    },
    "speech": {
        "early final": (5, ()),
        "final alone": (2, ()),
        "end": (5, _ENDINGS),
        "close": (3, (1000, 1001, 1002, 1007, 1008, 1009, 1011, 1014, 3000, 4000)),
        "stop": (3, ("stop", "deaf")),
        "endless": (4, ("flood", "byte", "sample", "little", "empty", "times", "junk", "pings")),
        "junk": (3, ()),
        "odd times": (3, tuple(range(9))),
        "no times": (1, ()),
        "others' context": (3, ()),
        "error": (4, ("quota_exceeded", "invalid_api_key", "system_busy", "voice_id_does_not_exist", "odd", "")),
        "behind": (3, ("audio", "final", "error", "both")),
        "lose a piece": (2, ("drop", "base64", "json")),
        "raw": (
            2,
            (
                b"\xff\xff\xff",
                b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
                b"\x89\x7e\x01\x00" + b"x" * 256,
                b"\x81\x02\xff\xfe",
                b"\x00" * 40,
            ),
        ),
        "be slow": (3, ()),
    },
    "answer": {
        "refuse": (5, _REFUSALS),
        "second answer": (5, ("at once", "later", "bytes", "blank")),
        "end": (5, ("fin", "reset")),
        "stop": (3, ()),
        "endless": (3, ("flood", "byte", "sample", "little")),
        "page": (3, ("<html><title>Log in</title>", '{"detail":"no"}', "<!doctype html>", "\xef\xbb\xbf <html>")),
        "headers": (4, tuple(range(8))),
        "length": (2, ("longer", "unknown", "both", "negative")),
        "nothing": (2, (b"", b"\0", b"ID3\x04\0\0\0\0\0\x23TSSE", b"\0\0\0")),
        "chunk": (2, (b"zz\r\n", b"-1\r\n\r\n", b"ffffffffffffffff\r\n", b"5\r\nabc")),
        "interim": (2, (100, 103, 102)),
        "garbage": (2, (b"\0\1\2\3", b"HTTP/1.1 20", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n\r\n")),
        "head without end": (1, ()),
        "early": (2, ()),
        "hang up behind": (2, ("fin", "reset", "close")),
        "be slow": (3, ()),
        "line": (2, ("json", "base64", "list", "detail", "times")),
    },
}


_BEFORE = 0.1  # as often as with an answer something goes wrong before there is one: connections are many


@attrs.define
class Faults:
    """What goes wrong in a seed: how often, and of which kinds.

    Attributes:
        over: Nothing goes wrong any more.
    """

    seed: int
    over: bool = False
    _often: float = attrs.field(init=False)
    _only: frozenset[str] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        rng = random.Random(f"faults {self.seed}")
        self._often = rng.choice((0.25, 0.5, 0.5, 0.8, 1.0))
        names = sorted({name for faults in _FAULTS.values() for name in faults})
        self._only = frozenset(rng.sample(names, rng.choice((3, 6)))) if rng.random() < 0.5 else None

    def thinks(self, *which: object) -> float:
        """Draw how many seconds pass before the first sound of an utterance: some are late."""
        rng = random.Random(f"thinks {self.seed} {which}")
        return rng.choice((0.0, 0.0, rng.uniform(0, 0.06)))

    def draw(self, place: Place, *which: object) -> tuple[Fault | None, random.Random]:
        """Draw what goes wrong at a place, and what else is to be drawn there.

        Args:
            place: Where.
            which: Which of these it is: the same one gives the same.
        """
        rng = random.Random(f"{place} {self.seed} {which}")
        often = self._often * (1.0 if place in {"speech", "answer"} else _BEFORE)
        kinds = {name: fault for name, fault in _FAULTS[place].items() if self._only is None or name in self._only}
        if self.over or not kinds or rng.random() >= often:
            return None, rng
        name = rng.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        ways = kinds[name][1]
        fault = Fault(
            name,
            part=rng.choice((0.0, 0.02, rng.random(), rng.random(), 1.0)),
            phrase=rng.choice((0, 0, 0, 1)),
            delay=rng.choice((0.0, 0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.2))),
            how=rng.choice(ways) if ways else None,
        )
        return fault, rng
