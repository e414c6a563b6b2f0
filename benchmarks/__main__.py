"""`python -m benchmarks NAME [OPTION ...]` runs one of the scripts; without a name it lists them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_SCRIPTS = {
    path.stem: path
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8").splitlines()
}


if len(sys.argv) > 1 and sys.argv[1] in _SCRIPTS:
    del sys.argv[0]
    runpy.run_module(f"benchmarks.{sys.argv[0]}", run_name="__main__", alter_sys=True)
else:
    sys.exit(f"usage: python -m benchmarks NAME [OPTION ...], where NAME is one of: {', '.join(_SCRIPTS)}")
