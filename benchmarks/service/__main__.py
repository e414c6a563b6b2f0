"""`python -m benchmarks.service CA_FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from benchmarks.service import MeasuredService

trio.run(MeasuredService().run, Path(sys.argv[1]))
