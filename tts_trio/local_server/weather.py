"""Which faults strike here and now: counting and drawing, apart from what a fault does."""

from __future__ import annotations

import random

import attrs

from tts_trio.local_server.behaviour import Fault, Point


@attrs.define(eq=False)
class Scope:
    """One connection, request or utterance: what a fault is decided for, once.

    Attributes:
        path: The path of the request, "" before there is one.
    """

    path: str = ""
    _decisions: dict[Fault, bool] = attrs.field(factory=dict[Fault, bool])

    def decided(self, fault: Fault) -> bool | None:
        """Say what was decided, or None."""
        return self._decisions.get(fault)

    def decide(self, fault: Fault, *, struck: bool) -> None:
        """Keep the decision for the rest of this scope."""
        self._decisions[fault] = struck


class Weather:
    """The faults of one `Behaviour`, with their counters.

    Equal faults share a counter; say `seed=…` to tell them apart.
    """

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._passes = dict.fromkeys(faults, 0)
        self._draws = {fault: random.Random(fault.seed) for fault in faults}  # noqa: S311 - repeatable, not secret

    def strike(self, point: Point, scope: Scope, frame: int | None = None) -> list[Fault]:
        """Pass `point` in `scope`, and return the faults that strike there, in the order they were given."""
        return [
            fault
            for fault in self._faults
            if fault.at == point
            and _ends_with(scope.path, fault.path)
            and (point != "audio" or fault.frame is None or fault.frame == frame)
            and self._strikes(fault, scope)
        ]

    def _strikes(self, fault: Fault, scope: Scope) -> bool:
        decided = scope.decided(fault)
        if decided is None:
            passes = self._passes[fault]
            self._passes[fault] = passes + 1
            counted = passes >= fault.skip and (fault.count is None or passes < fault.skip + fault.count)
            decided = counted and self._draws[fault].random() < fault.probability
            scope.decide(fault, struck=decided)
        return decided


def _ends_with(path: str, segments: str) -> bool:
    return not segments or f"/{path}".endswith(f"/{segments.lstrip('/')}")
