"""What else one might use: each in a virtual environment of its own, made when it is asked for."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import attrs

from tts_trio.cli.console import note


@attrs.frozen
class Peer:
    """A client that others make.

    Attributes:
        module: Its process, in `benchmarks.clients`.
        requirement: What pip is to install.
        statement: What a user imports.
    """

    module: str
    requirement: str
    statement: str


PEERS = {
    "elevenlabs": Peer("elevenlabs_sdk", "elevenlabs==2.78.0", "from elevenlabs.client import ElevenLabs"),
    "livekit": Peer("livekit_agents", "livekit-plugins-elevenlabs==1.8.9", "from livekit.plugins import elevenlabs"),
    "pipecat": Peer(
        "pipecat_ai",
        "pipecat-ai[elevenlabs]==1.14.0",
        "from pipecat.services.elevenlabs.tts import ElevenLabsTTSService",
    ),
}


def interpreter(name: str) -> str:
    """Return the Python of a peer's environment, which is made first if it is not there.

    Args:
        name: A name in `PEERS`.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    return environment(PEERS[name].requirement)


def environment(requirement: str) -> str:
    """Return the Python of an environment with one requirement of pip's, which is made first if it is not there.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    directory = cache / "tts_trio" / "benchmarks" / requirement.replace("[", "-").replace("]", "")
    python = directory / "bin" / "python"
    complete = directory / "complete"
    if not complete.exists():
        note(f"installing {requirement} in {directory}")
        venv.create(directory, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True)
        complete.touch()
    return str(python)


def command(name: str) -> list[str]:
    """Return the command that runs a peer's process."""
    return [interpreter(name), "-m", f"benchmarks.clients.{PEERS[name].module}"]
