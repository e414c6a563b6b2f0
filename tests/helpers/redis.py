"""A Redis of a test's own, of `redis-server` (Debian: `apt-get install redis-server`)."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import attrs
import pytest

REDIS = shutil.which("redis-server")

needs_redis = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed: apt-get install redis-server"),
    # coredis leaves the two ends of its buffers open when it cannot connect.
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


@attrs.define
class Redis:
    """A Redis of this test's."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        assert REDIS is not None
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 10
        while self.say("PING") != b"+PONG\r\n":
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def say(self, *words: str | bytes) -> bytes:
        """Give a command, and return the beginning of the answer, unread."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        command = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(command)
            return connection.recv(65536)
        return b""

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
