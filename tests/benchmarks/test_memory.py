"""What calls hold, by kind: whose the objects are, and what is outside Python."""

from __future__ import annotations

import gc

import pytest

from benchmarks import calls, field
from benchmarks.calls import Load
from benchmarks.children import open_contestant, open_service
from benchmarks.clients.worker import module_of, usage
from benchmarks.memory import Held, by_module, by_type


@pytest.mark.parametrize(
    ("filename", "owner"),
    [
        ("/venv/lib/python3.11/site-packages/trio/_core/_run.py", "trio"),
        ("/somewhere/tts_trio/transport/websocket.py", "tts_trio/transport"),
        ("/somewhere/tts_trio/manager.py", "tts_trio/manager"),
        ("<attrs generated methods tts_trio.wire.context.Context>", "tts_trio/wire"),
        ("<attrs generated methods trio._core._run.Task>", "trio"),
        ("/usr/lib/python3.11/ssl.py", "ssl"),
        ("/usr/lib/python3.11/asyncio/events.py", "asyncio"),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
    ],
)
def test_whose_a_file_is(filename: str, owner: str) -> None:
    assert module_of(filename) == owner


def test_the_kinds_add_up_to_the_memory_of_a_call() -> None:
    found = {
        "tts_trio": Held(
            {"trio": 20.0, "ssl": 2.0, "re": 0.5, "abc": 0.25}, {"set": (3.0, 0.6), "dict": (1.0, 0.1)}, 2.0
        ),
        "floor": Held({"ssl": 1.5, "asyncio": 3.0}, {"dict": (1.0, 0.1)}, 1.0),
    }
    rows = {row.pop("kind"): row for row in by_module(found, {"tts_trio": 100.0, "floor": None})}
    assert list(rows)[:4] == ["trio", "asyncio", "ssl", "other modules"]
    assert rows["trio"] == {"tts_trio": 20.0, "floor": 0.0}
    assert rows["other modules"] == {"tts_trio": 0.75, "floor": 0.0}
    assert rows["Python objects, all"] == {"tts_trio": 22.75, "floor": 4.5}
    assert rows["outside Python (OpenSSL, allocators)"] == {"tts_trio": 77.25, "floor": None}
    assert rows["RSS, all"] == {"tts_trio": 100.0, "floor": None}
    assert rows["objects of the collector, number"] == {"tts_trio": 4.0, "floor": 1.0}
    assert rows["sockets, number"] == {"tts_trio": 2.0, "floor": 1.0}


def test_the_memory_of_a_process_grows_with_what_it_holds() -> None:
    before = usage()["memory"]
    held = b"x" * 64_000_000  # so much that nothing that was freed before holds it
    assert usage()["memory"] - before > 0.9 * len(held)


def test_a_full_pass_of_the_collector_is_counted() -> None:
    before = usage()["passes"]
    gc.collect()
    assert usage()["passes"] == before + 1


def test_the_types_that_hold_most_come_first() -> None:
    (first, second) = by_type(Held({}, {"set": (1.0, 0.2), "dict": (2.0, 3.0)}, 1.0))
    assert (first["type"], first["objects a call"], first["kB a call"]) == ("dict", 2.0, 3.0)
    assert second["type"] == "set"


def test_what_two_calls_of_the_floor_hold() -> None:
    """Two sockets each: the one of the next reply, and a spare."""
    name = field.FLOOR_ASYNCIO
    with (
        open_service() as service,
        open_contestant(name, field.commands([name], [])[name], service.environment) as contestant,
    ):
        held = calls.hold(service, contestant, Load(2, 250, "Yes."))
    assert held.sockets == 2
    assert held.types["ssl.SSLSocket"][0] == 2
    assert 1 < sum(held.modules.values()) < 200
    assert held.modules["ssl"] > 0


def test_an_open_call_is_few_objects() -> None:
    """A full pass of the garbage collector comes every 85,000 of them, and holds up all calls: 400 have 66,000."""
    name, load = field.OURS, Load(8, 250, "Да.")
    with (
        open_service() as service,
        open_contestant(name, field.commands([name], [])[name], service.environment) as contestant,
    ):
        held = calls.hold(service, contestant, load)
    assert 100 < held.objects <= 180
