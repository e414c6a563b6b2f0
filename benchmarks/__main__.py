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
_OURS = ("benchmarks", "tests", "tts_trio")


def main() -> None:
    """Run a script; say in one line what it lacks, or what the service says."""
    if len(sys.argv) < 2 or sys.argv[1] not in _SCRIPTS:
        sys.exit(f"usage: python -m benchmarks NAME [OPTION ...], where NAME is one of: {', '.join(_SCRIPTS)}")
    del sys.argv[0]
    try:
        from tts_trio import TTSError

        try:
            runpy.run_module(f"benchmarks.{sys.argv[0]}", run_name="__main__", alter_sys=True)
        except TTSError as error:
            sys.exit(f"benchmarks: error: {error}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(_OURS):
            raise
        sys.exit(f"benchmarks: error: {error.name} is missing; install it with: pip install -e '.[bench]'")
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseExceptionGroup as group:  # it struck in a task
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(130)


if __name__ == "__main__":
    main()
