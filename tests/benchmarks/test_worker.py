"""The process of a client in the benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SCRIPT = """
import gc, sys
from benchmarks.clients.on_trio import run_on_trio
run_on_trio(None)
print(gc.get_threshold()[2], gc.get_freeze_count() > 10_000, file=sys.stderr)
"""


@pytest.mark.parametrize(("asked", "says"), [("", "10 False"), ("1", "100 True")], ids=["default", "--spare-collector"])
def test_the_collector_is_spared_where_that_is_asked_for(asked: str, says: str) -> None:
    """As the production checklist advises; every client's process has it, or none."""
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "SPARE_COLLECTOR": asked},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert ended.stderr.splitlines()[-1] == says
