"""The processes of a measurement: the service on one core, the clients on another, and how to talk to them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.service import ROUND_TRIPS

_ROOT = Path(__file__).parent.parent
_PATIENCE = 120.0  # seconds
_POLITE_SECONDS = 10.0
_QUOTED = 3000  # characters of what a child said before it failed


class ChildFailed(Exception):
    """A process ended, or was silent, where an answer was due; the message quotes what it said."""


class Child:
    """A process that takes a command a line and answers a line."""

    def __init__(self, command: Sequence[str], *, core: int, environment: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            command: As for `subprocess`; it runs at the top of the source tree.
            core: The processor that it is to keep to, where the system can do that and has so many.
            environment: Added to ours.
        """
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **(environment or {})},
        )
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
            os.sched_setaffinity(self._process.pid, {core})

    def ask(self, **command: Any) -> Any:
        """Give a command, and wait for its answer.

        Raises:
            ChildFailed: It is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # then there is no answer either
        return self.listen()

    def listen(self) -> Any:
        """Wait for a line.

        Raises:
            ChildFailed: It is gone, or says nothing.
        """
        assert self._process.stdout is not None
        answered, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        line = self._process.stdout.readline() if answered else ""
        if not line:
            if answered:  # it says why while it ends
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLITE_SECONDS)
            self._errors.seek(0)
            raise ChildFailed(f"{self._process.args}: {self._errors.read()[-_QUOTED:]}")
        return json.loads(line)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it: with its last command, or else by force."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(_POLITE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._errors.close()


class Service:
    """The service's process.

    Attributes:
        environment: Of those who are to trust it, and to tell it no secret.
    """

    def __init__(self, ca_file: Path) -> None:
        """Start it; the certificate of its authority is written to `ca_file`."""
        self.environment = {"SSL_CERT_FILE": str(ca_file), "ELEVENLABS_API_KEY": "any"}
        self._child = Child([sys.executable, "-m", "benchmarks.service", str(ca_file)], core=1)
        self._ports: list[int] = self._child.listen()["ports"]

    def base_url(self, round_trip: float) -> str:
        """Return where it is, over a link of a round trip in `ROUND_TRIPS`."""
        return f"https://127.0.0.1:{self._ports[ROUND_TRIPS.index(round_trip)]}"

    @property
    def replay_url(self) -> str:
        """Where the service for hundreds of calls is, without a link."""
        return f"https://127.0.0.1:{self._ports[-1]}"

    def behave(self, **behavior: Any) -> None:
        """Behave so from now on; the fields are those of `Behavior`."""
        self._child.ask(behavior=behavior)

    def events(self) -> list[dict[str, Any]]:
        """Return what happened since the last time."""
        return self._child.ask(events=True)

    def close(self) -> None:
        """End it."""
        self._child.close()


class Contestant:
    """A client's process.

    Attributes:
        name: What it is called in the tables.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; `environment` is added to ours."""
        self.name = name
        self._child = Child(command, core=0, environment=environment)

    def do(self, deed: str, **command: Any) -> dict[str, Any]:
        """Have something done, as `clients/worker.py` lists it; return the answer, the CPU and the memory used."""
        return self._child.ask(do=deed, **command)

    def kill(self) -> None:
        """End it at once, with all its conversations, for whose closing some clients take seconds each."""
        self._child.kill()

    def close(self) -> None:
        """End it."""
        self._child.close()


@contextmanager
def open_service() -> Iterator[Service]:
    """Start the service."""
    with tempfile.TemporaryDirectory() as directory:
        service = Service(Path(directory) / "ca.pem")
        try:
            yield service
        finally:
            service.close()


@contextmanager
def open_contestant(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Contestant]:
    """Start a client, with an `environment` such as `Service.environment`."""
    contestant = Contestant(name, command, environment)
    try:
        yield contestant
    finally:
        contestant.close()


@contextmanager
def open_field(commands: Mapping[str, Sequence[str]]) -> Iterator[tuple[Service, list[Contestant]]]:
    """Start the service and the clients, each named in `commands` with its command."""
    with open_service() as service, ExitStack() as stack:
        yield (
            service,
            [
                stack.enter_context(open_contestant(name, command, service.environment))
                for name, command in commands.items()
            ],
        )
