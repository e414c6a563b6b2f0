"""`python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys


def test_the_scripts_are_listed_and_have_help() -> None:
    listed = subprocess.run([sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=False).stderr
    names = listed.rpartition(":")[2].replace(",", " ").split()
    assert {"bargein", "calls", "import", "latency", "phrases", "server"} <= set(names)
    command = [sys.executable, "-m", "benchmarks", "latency", "--help"]
    assert "--peers" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
