"""What calls that are ready to speak hold, by kind; `benchmarks calls` prints it.

Of each client a process of its own opens the calls with `tracemalloc` on, from after its warm-up: that gives the Python
objects, by the module whose line allocated them. What RSS grew by in the rounds, where nothing is traced, less these
objects, is outside Python: OpenSSL's connections, and what the allocators keep or lose between objects. The kernel's
buffers of the sockets are in neither. The objects by type are those that the garbage collector knows, without what they
refer to; `bytes` and numbers are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.children import Contestant

_LEAST_KB = 1.0  # a call: what is less is summed up
_TYPES = 15


@attrs.frozen
class Held:
    """What the calls of one client hold, for each of them.

    Attributes:
        modules: Kilobytes of Python objects, by the module that allocated them.
        types: How many objects there are of a type, and their kilobytes.
        sockets: How many there are.
    """

    modules: Mapping[str, float]
    types: Mapping[str, tuple[float, float]]
    sockets: float

    @property
    def objects(self) -> float:
        """How many objects the garbage collector has to look at."""
        return sum(count for count, _ in self.types.values())


def held(contestant: Contestant, base_url: str, voices: Sequence[str], settle: float) -> Held:
    """Open calls and leave them alone; the process is warmed up, and not measured otherwise.

    Args:
        contestant: The client's process.
        base_url: Where the service is.
        voices: One for each call.
        settle: Seconds until all that is opened in the background is open.
    """
    before = contestant.do("memory")["answer"]
    contestant.do("open", base_url=base_url, voices=voices)
    contestant.do("prepare")
    contestant.do("speak", rows=[[] for _ in voices], note_after=[settle])
    after = contestant.do("memory")["answer"]
    calls = len(voices)
    types: dict[str, tuple[float, float]] = {}
    for name, (count, size) in after["types"].items():
        count_before, size_before = before["types"].get(name, (0, 0))
        types[name] = (count - count_before) / calls, (size - size_before) / calls / 1000
    return Held(
        modules={name: size / calls / 1000 for name, size in after["modules"].items()},
        types=types,
        sockets=(after["sockets"] - before["sockets"]) / calls,
    )


def by_module(found: Mapping[str, Held], rss: Mapping[str, float | None]) -> Iterator[dict[str, Any]]:
    """Make the rows of a table of kilobytes a call, with a column for each client.

    Args:
        found: What the calls of each client hold.
        rss: What the process of each grew by, in kilobytes a call.
    """
    sizes = {
        name: max(each.modules.get(name, 0.0) for each in found.values())
        for each in found.values()
        for name in each.modules
    }
    shown = sorted((name for name in sizes if sizes[name] >= _LEAST_KB), key=sizes.__getitem__, reverse=True)
    for name in shown:
        yield {"kind": name} | {client: each.modules.get(name, 0.0) for client, each in found.items()}
    python = {client: sum(each.modules.values()) for client, each in found.items()}
    known = {client: sum(each.modules.get(name, 0.0) for name in shown) for client, each in found.items()}
    yield {"kind": "other modules"} | {client: python[client] - known[client] for client in found}
    yield {"kind": "Python objects, all"} | python
    outside = {client: None if (grown := rss.get(client)) is None else grown - python[client] for client in found}
    yield {"kind": "outside Python (OpenSSL, allocators)"} | outside
    yield {"kind": "RSS, all"} | {client: rss.get(client) for client in found}
    yield {"kind": "objects of the collector, number"} | {client: each.objects for client, each in found.items()}
    yield {"kind": "sockets, number"} | {client: each.sockets for client, each in found.items()}


def by_type(each: Held) -> Iterator[dict[str, Any]]:
    """Make the rows of a table of the types that hold most."""
    for name in sorted(each.types, key=lambda name: each.types[name][1], reverse=True)[:_TYPES]:
        count, size = each.types[name]
        yield {"type": name, "objects a call": count, "kB a call": size}
