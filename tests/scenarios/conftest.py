"""A Redis, a heap without others' objects, and commands: in this process, which starts no Python, and its server."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers.commands import Done, RunHere, serving
from tests.helpers.redis import Redis
from tts_trio.cli import main


@pytest.fixture
def redis(tmp_path: Path) -> Generator[Redis]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    redis = Redis(tmp_path, port)
    redis.start()
    yield redis
    redis.kill()
    gc.collect()  # what coredis left, before its warnings count


@pytest.fixture
def collected() -> None:
    """Have the garbage collector pass over what all tests before have left: one look at that takes 20 to 500 ms."""
    gc.collect()
    gc.freeze()


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
