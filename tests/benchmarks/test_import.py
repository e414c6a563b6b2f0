"""The script of imports."""

from __future__ import annotations

import importlib
import sys


def test_an_interpreter_of_its_own_is_timed() -> None:
    script = importlib.import_module("benchmarks.import")
    assert 0.2 <= script.seconds(sys.executable, "time.sleep(0.2)") < 2
