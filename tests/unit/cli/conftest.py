"""Commands in this process, which starts no Python, and the server that they speak with."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

from tests.helpers.commands import serving
from tts_trio.cli import main


@attrs.frozen
class Done:
    """What became of a command: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


RunHere: TypeAlias = Callable[..., Done]


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run `tts-trio` with these arguments and this environment, in the test's folder."""

    def call(*arguments: str, **environment: str) -> Done:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith(("ELEVENLABS_", "TTS_TRIO_"))]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:  # as argparse does
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def service() -> Generator[dict[str, str]]:
    """The environment of those who speak with `tts-trio serve`."""
    with serving() as environment:
        yield environment
