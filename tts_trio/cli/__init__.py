"""The command line: `tts-trio`, with a module for each command."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after the program's name; None: those of the process.

    Returns:
        The exit code: 0, 1 for a failure, 2 for bad usage, or 128 plus the number of the signal that ended it.
    """
    try:
        from tts_trio.cli.command_line import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        print("tts-trio: error: the commands need rich; install it with: pip install 'tts_trio[cli]'", file=sys.stderr)
        return 2
    return run(arguments)
