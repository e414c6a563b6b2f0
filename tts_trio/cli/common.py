"""What commands have in common: bad usage in one line, and with which service they speak."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, TypeAlias

from tts_trio.config import TTSConfig

AddCommand: TypeAlias = Callable[..., argparse.ArgumentParser]
"""`add_parser` of the command line; a command's default `run` is an async function of the parsed options."""

_LOCAL: dict[str, Any] = {"api_key": "local", "voice_id": "espeak"}


class UsageError(Exception):
    """What was asked for on the command line cannot be done; the text says what can."""


@asynccontextmanager
async def configured(given: dict[str, Any]) -> AsyncGenerator[TTSConfig]:
    """The service of the environment, or, with no key there, a local server for as long as the block runs."""
    if os.environ.get("ELEVENLABS_API_KEY"):
        yield TTSConfig.from_env(**given)
        return
    local_server = import_local_server()
    print("no ELEVENLABS_API_KEY: speaking with the local voice (eSpeak NG)", file=sys.stderr)
    async with local_server.open_local_server() as server:
        yield TTSConfig(**(_LOCAL | given), base_url=server.base_url)


def import_local_server() -> ModuleType:
    """Return the local server's package.

    Raises:
        UsageError: It is not installed.
    """
    try:
        from tts_trio import local_server
    except ImportError as error:
        raise UsageError(
            f"the local server needs {error.name}; install it with: pip install 'tts_trio[local]'"
        ) from None
    return local_server
