"""No utterance breaks the rules, whatever the server does: over real sockets and TLS, seeded."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from tests.hostile.run import run_many

SHARDS = 2
SEEDS = 45  # each; 450 with --exhaustive, and any number by `python -m tests.hostile`


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_hostile_server_breaks_no_rule(shard: int, exhaustive: bool) -> None:
    """P1 to P38: each ends once and in time, with all of its own words and no others or a `TTSError`."""
    seeds = SEEDS * (10 if exhaustive else 1)
    reports = run_many(range(shard * seeds, (shard + 1) * seeds))
    gc.collect()  # what was not closed is a warning, and a warning is an error
    failed = [report for report in reports if report.faults]
    assert not failed, "\n\n".join(f"seed {report.seed} failed:\n{report}" for report in failed[:3])
    ends = Counter(end.partition(" ")[2] for report in reports for end in report.ends)
    assert len(reports) == seeds
    assert min(ends["finished"], ends["interrupted"], ends["failed"]) > seeds / 4
