"""The latency script, in small, over real sockets: what it says is what the link and the service are."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs
import pytest

from benchmarks import field, latency, worlds
from benchmarks.children import ChildFailed, open_field
from benchmarks.script import Report
from tests.corpus import Reply
from tts_trio.cli.console import progress

ROUND_TRIP = 0.04
MODEL = 0.075
NAMES = [field.OURS, field.FLOOR]
REPLY = Reply("ru", "Добрый день! Да.", frozenset(), frozenset())
PLAN = latency.Plan((0.0, ROUND_TRIP), ROUND_TRIP, [REPLY], 1, 1, (), worlds.Plan(2, 1, 1, 1))


def test_it_measures_the_link_and_the_model_and_little_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [worlds.Written(REPLY, opening=True), worlds.Written(REPLY, opening=False)]
    monkeypatch.setattr(worlds, "corpus", lambda _count, _seed, **_opened: said)
    slow = {"model_latency": MODEL, "slow_share": 1.0, "slow_by": 0.6}
    monkeypatch.setattr(worlds, "OPENINGS", attrs.evolve(worlds.OPENINGS, round_trip=0.0))
    monkeypatch.setattr(worlds, "TAIL", attrs.evolve(worlds.TAIL, round_trip=0.0, behavior=slow))
    with open_field(field.commands(NAMES, [])) as (service, contestants), progress("latency", PLAN.steps()) as advance:
        measured = latency.measure(service, contestants, PLAN, advance)
        in_worlds = worlds.measure(service, field.commands([field.OURS], []), PLAN.worlds, advance)
    openings, tail = in_worlds
    assert [len(openings.every[field.OURS]), len(openings.opened[field.OURS])] == [2, 1]
    assert all(MODEL <= seconds < MODEL + 1 for seconds in openings.every[field.OURS])
    assert all(MODEL + 0.2 <= seconds < MODEL + 1.6 for seconds in tail.every[field.OURS])
    assert tail.written[field.OURS] == tail.sent[field.OURS] == 2 * len("Добрыйдень!Да.")
    others = ((openings, field.OURS_OPENINGS), (openings, field.OURS_EAGER_OPENINGS), (tail, field.OURS_HEDGING))
    for found, name in others:
        for times in (found.every, found.opened):
            times[name] = times[field.OURS]
        found.written[name] = found.sent[name] = 28
    openings.opened = {name: [0.3, 0.4] for name in worlds.OPENINGS.own}
    for name in NAMES:
        (turn,) = measured.turns[name, ROUND_TRIP]
        assert turn["dial"] == 0
        assert turn["link"] == ROUND_TRIP
        assert MODEL <= turn["model"] < MODEL + 0.1
        assert turn["client out"] > 0
        assert turn["client in"] > 0
        assert 0 < measured.hands[name, 0.0][0] < 0.5
        assert measured.phrases[name, ROUND_TRIP, 0.0][0] >= ROUND_TRIP + MODEL
        # A round trip each for TCP, for TLS, for the upgrade, and for the text and its audio.
        assert measured.cold[name][0] >= 4 * ROUND_TRIP + MODEL
    latency.report(measured, in_worlds, NAMES, PLAN, Report("latency", argparse.Namespace(out=tmp_path)))
    assert (tmp_path / "latency.png").stat().st_size > 1000
    assert (tmp_path / "latency-worlds.png").stat().st_size > 1000
    rows = [target.row() for target in latency.targets(measured, NAMES, ROUND_TRIP)]
    assert len(rows) == 3


def test_the_parts_add_up_to_the_median() -> None:
    """What the table calls the median is as long as its parts, and as the bar of the picture."""
    measured = latency.Measured()
    for text, model in ((0.3, 0.1), (0.1, 0.08), (0.2, 0.09), (0.5, 0.01)):
        measured.turns["x", 0.1].append({"text": text, "model": model})
    assert measured.middle("x", 0.1) == {"text": 0.2, "model": 0.09}
    assert measured.first_audio("x", 0.1) == pytest.approx(0.29)


def test_a_process_that_ends_says_why() -> None:
    with pytest.raises(ChildFailed, match="KeyError: 'odd'"):
        with open_field({"odd": [*field.commands([field.OURS], [])[field.OURS][:-1], "odd"]}) as (service, [odd]):
            odd.do("open", base_url=service.base_url(0.0), voices=["any"])
