"""The script of many calls: what it counts, and in small over real sockets."""

from __future__ import annotations

import attrs
import pytest

from benchmarks import calls, field
from benchmarks.calls import Cell, medians, percentile, targets
from benchmarks.children import open_contestant, open_service

CELL = Cell(field.FLOOR, calls=200, cpu=0.5, median=1.0, p99=2.0, memory=100.0, dial=3.0, failures=0)


def test_percentiles() -> None:
    assert percentile([7.0], 99) == 7.0
    assert percentile(list(range(101)), 99) == 99
    assert percentile(list(range(101)), 50) == 50


def test_the_targets_are_of_the_floor() -> None:
    ours = attrs.evolve(CELL, client=field.OURS, cpu=1.1, p99=5.0, memory=240.0)
    few = attrs.evolve(ours, calls=1, cpu=100.0)
    rows = [target.row() for target in targets([few, CELL, ours], 200)]
    assert [row["ratio"] for row in rows] == [pytest.approx(2.2), pytest.approx(2.5), None]
    assert [row[""] for row in rows] == ["missed", "met", "met"]


def test_of_several_rounds_the_medians_count() -> None:
    rounds = [attrs.evolve(CELL, cpu=cpu, p99=p99, failures=1) for cpu, p99 in ((3.0, None), (1.0, 9.0), (2.0, 5.0))]
    alone = attrs.evolve(CELL, client=field.OURS)
    assert medians([*rounds, alone]) == [attrs.evolve(CELL, cpu=2.0, p99=7.0, failures=3), alone]


def test_two_calls_at_once() -> None:
    with open_service() as service:
        service.behave(speed=1.0)
        with open_contestant(
            field.OURS, field.commands([field.OURS], [])[field.OURS], service.environment
        ) as contestant:
            cell = calls.measure(service, contestant, 2, "Hello there.", 0.1)
            broken = calls.measure(service, contestant, 1, "…", 0.1)
    assert cell.failures == 0
    assert 0 < cell.cpu < 1000
    assert cell.median is not None
    assert cell.p99 is not None
    assert 0 < cell.median <= cell.p99 < 500
    assert cell.memory > 10
    assert cell.dial > 0
    assert broken.failures == 1  # a call without any audio is a failure
    assert broken.median is broken.p99 is None
