"""The script of many calls: what it counts, and in small over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from benchmarks import calls, field
from benchmarks.calls import Cell, Load, percentile, rows, targets
from benchmarks.children import Service, open_contestant, open_service

CELL = Cell(cpu=0.5, median=1.0, p99=2.0, opening=4.0, memory=100.0, speaking=120.0, passes=1, failures=0)
FLOOR, OURS = field.FLOOR_ASYNCIO, field.OURS
ENGLISH = "Hello there."
RUSSIAN = "Добрый день, это такси."


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with open_service() as service:
        yield service


def test_percentiles() -> None:
    assert percentile([7.0], 99) == 7.0
    assert percentile(list(range(101)), 99) == 99
    assert percentile(list(range(101)), 50) == 50


def test_the_targets_are_of_the_floor() -> None:
    ours = attrs.evolve(CELL, cpu=1.1, p99=5.0, opening=8.0, speaking=150.0)
    found = [target.row() for target in targets(Load(200, 250, ENGLISH), [{FLOOR: CELL, OURS: ours}])]
    assert [row["measured"] for row in found] == [pytest.approx(2.2), pytest.approx(2.5), 2.0, 150.0]
    assert [row[""] for row in found] == ["missed", "met", "missed", "met"]


@pytest.mark.parametrize(("calls", "says"), [(200, "missed"), (400, "met")])
def test_many_calls_may_wait_longer_for_each_other(calls: int, says: str) -> None:
    found = [
        target.row()
        for target in targets(Load(calls, 250, RUSSIAN), [{FLOOR: CELL, OURS: attrs.evolve(CELL, p99=9.0)}])
    ]
    assert [row[""] for row in found if "99th" in str(row)] == [says]


def test_full_passes_of_the_collector_are_those_while_the_calls_speak(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes when they are opened delays nothing that is heard."""
    with open_contestant(OURS, field.commands([OURS], [])[OURS], service.environment) as contestant:
        do = contestant.do

        def answering(deed: str, **command: Any) -> dict[str, Any]:
            done = do(deed, **command)
            if "note_after" in command:
                assert done["passes"] >= done["answer"]["notes"][0]["passes"]
                done["passes"], done["answer"]["notes"][0]["passes"] = 7, 5
            return done

        monkeypatch.setattr(contestant, "do", answering)
        cell = calls.measure(service, contestant, Load(2, 250, ENGLISH))
    (row,) = rows([{OURS: cell}])
    assert (cell.passes, row["full passes"]) == (2, 2)
    (row,) = rows([{OURS: cell}, {OURS: cell}])
    assert row["full passes"] == 4


def test_of_several_rounds_the_medians_count_and_of_the_ratios_within_each() -> None:
    """A round on a busy machine is dear for the floor as well: its ratio is worth as much as another's."""
    rounds = [
        {FLOOR: attrs.evolve(CELL, cpu=floor), OURS: attrs.evolve(CELL, cpu=cpu, p99=p99, failures=1)}
        for floor, cpu, p99 in ((1.0, 3.0, None), (4.0, 8.0, 9.0), (0.5, 2.0, 5.0))
    ]
    (_, ours) = rows(rounds)
    assert (ours["cpu"], ours["cpu, of the floor"], ours["p99"], ours["failures"]) == (3.0, 3.0, 7.0, 3)


def test_a_client_that_failed_in_a_round_has_its_other_rounds() -> None:
    (floor, ours) = rows([{FLOOR: CELL}, {FLOOR: CELL, OURS: CELL}])
    assert (floor["client"], ours["client"], ours["cpu, of the floor"]) == (FLOOR, OURS, 1.0)


def test_no_reply_is_begun_before_the_cpu_of_speaking_is_counted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client dials the socket of the next reply when one is begun, and that is to count."""
    commands: list[dict[str, Any]] = []
    with open_contestant(OURS, field.commands([OURS], [])[OURS], service.environment) as contestant:
        do = contestant.do

        def noting(deed: str, **command: Any) -> dict[str, Any]:
            commands.append(command)
            return do(deed, **command)

        monkeypatch.setattr(contestant, "do", noting)
        calls.measure(service, contestant, Load(3, 250, ENGLISH))
    (speak,) = [command for command in commands if "note_after" in command]
    steady, all_speak = speak["note_after"]
    begins = [turn["rest"] for (turn,) in speak["rows"]]
    assert len(begins) == 3
    assert steady < min(begins)
    assert max(begin + turn["begins_in"] for begin, (turn,) in zip(begins, speak["rows"], strict=True)) < all_speak


def test_memory_is_what_the_process_grew_by_for_each_call(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of given figures: a process grows by whole pages, and two calls may find all they need in what it has."""
    with open_contestant(OURS, field.commands([OURS], [])[OURS], service.environment) as contestant:
        do = contestant.do

        def answering(deed: str, **command: Any) -> dict[str, Any]:
            done = do(deed, **command)
            if deed == "close":
                done["memory"] = 1_000_000
            elif "note_after" in command:
                steady, speaking = done["answer"]["notes"]
                steady["memory"], speaking["memory"] = 1_240_000, 1_300_000
            return done

        monkeypatch.setattr(contestant, "do", answering)
        cell = calls.measure(service, contestant, Load(2, 250, RUSSIAN))
    assert (cell.memory, cell.speaking) == (120.0, 150.0)


def _measure(service: Service, name: str, load: Load) -> Cell:
    environment = service.environment | {"ELEVENLABS_OUTPUT_FORMAT": load.output_format}
    with open_contestant(name, field.commands([name], [])[name], environment) as contestant:
        return calls.measure(service, contestant, load)


@pytest.mark.parametrize(
    ("name", "load"),
    [
        (field.OURS, Load(2, 250, ENGLISH)),
        (field.OURS_MULTI, Load(2, 20, RUSSIAN)),
        (field.FLOOR_ASYNCIO, Load(2, 250, RUSSIAN)),
        (field.FLOOR_TRIO, Load(2, 20, ENGLISH)),
    ],
)
def test_every_call_hears_its_whole_reply(service: Service, name: str, load: Load) -> None:
    cell = _measure(service, name, load)
    assert cell.failures == 0
    assert 0 < cell.cpu < 1000
    assert cell.median is not None
    assert cell.p99 is not None
    assert 0 < cell.median <= cell.p99 < 500
    assert cell.opening > 0


def test_a_call_that_hears_less_than_it_said_is_a_failure(service: Service) -> None:
    cell = _measure(service, field.FLOOR_ASYNCIO, Load(1, 250, "…" + " " * 20))
    assert cell.failures == 1
