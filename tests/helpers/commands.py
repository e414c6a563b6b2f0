"""The command line in a process of its own, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import attrs

from tests.helpers import VOICE_ID
from tests.helpers.terminal import Seen, run_on_a_terminal

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ELEVENLABS_")}
HERE = ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[2])}
"""The same, for a process that runs in another folder."""


@attrs.frozen
class Done:
    """What became of a command: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


RunHere: TypeAlias = Callable[..., Done]


def run(*arguments: str, cwd: Path, input: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
    return subprocess.run(
        [sys.executable, "-m", "tts_trio", *arguments],
        cwd=cwd,
        input=input,
        capture_output=True,
        env=HERE | environment,
        timeout=60,
        check=False,
    )


def see(*arguments: str, cwd: Path, columns: int = 80, **environment: str) -> Seen:
    """The same on a terminal."""
    plain = {name: value for name, value in ENVIRONMENT.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    return run_on_a_terminal(["tts_trio", *arguments], cwd=cwd, environment=plain | environment, columns=columns)


@contextmanager
def serving() -> Generator[dict[str, str]]:
    """Run `tts-trio serve`; gives the environment of those who speak with it."""
    command = [sys.executable, "-m", "tts_trio", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as server:
        assert server.stdout is not None
        said = server.stdout.readline().decode()
        base_url = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
        try:
            yield {"ELEVENLABS_API_KEY": "any", "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": base_url}
        finally:
            server.terminate()
    assert server.returncode == 128 + signal.SIGTERM
