"""A command on a terminal: what a person sees of it at the end, and what was sent to the terminal to get there."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pyte

_LINES = 200  # enough that nothing scrolls away


@attrs.frozen
class Seen:
    """What became of a command.

    Attributes:
        code: Its exit code.
        lines: What is on the screen when it has ended.
        sent: All that was written to the terminal.
        cursor: Whether the cursor can be seen again.
    """

    code: int
    lines: list[str]
    sent: str
    cursor: bool


def run_on_a_terminal(
    arguments: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    columns: int = 80,
    interrupt: Callable[[str], bool] | None = None,
) -> Seen:
    """Run `python -m` something.

    Args:
        arguments: After `python -m`.
        cwd: Where.
        environment: All of it.
        columns: Of the terminal.
        interrupt: Says by what was sent so far whether it is time to press Ctrl-C.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", _LINES, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        os.close(theirs)
        sent = b""
        while True:
            try:
                sent += os.read(ours, 65536)
            except OSError:  # Linux says so at the end
                break
            if interrupt is not None and interrupt(sent.decode(errors="replace")):
                process.send_signal(signal.SIGINT)
                interrupt = None
    os.close(ours)
    screen = pyte.Screen(columns, _LINES)
    pyte.ByteStream(screen).feed(sent)
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        del lines[-1]
    return Seen(process.returncode, lines, sent.decode(), not screen.cursor.hidden)
