"""Decide by counting and by chance which faults strike; what a fault does is elsewhere."""

from __future__ import annotations

import random

import attrs

from tts_trio.local_server.behavior import Fault, Point


@attrs.define(eq=False)
class Scope:
    """One connection, request or utterance, for which it is decided once whether a fault strikes.

    Attributes:
        path: The path of the request; "": there is none yet.
        decisions: Whether it strikes, for each fault that was asked about here.
    """

    path: str = ""
    decisions: dict[Fault, bool] = attrs.field(factory=dict[Fault, bool], init=False)


class Weather:
    """The faults of one `Behavior`, with their counters.

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
            and (not fault.path or f"/{scope.path}".endswith(f"/{fault.path.lstrip('/')}"))
            and (point != "audio" or fault.frame is None or fault.frame == frame)
            and self._strikes(fault, scope)
        ]

    def _strikes(self, fault: Fault, scope: Scope) -> bool:
        if fault not in scope.decisions:
            passes = self._passes[fault]
            self._passes[fault] = passes + 1
            counted = passes >= fault.skip and (fault.count is None or passes < fault.skip + fault.count)
            scope.decisions[fault] = counted and self._draws[fault].random() < fault.probability
        return scope.decisions[fault]
