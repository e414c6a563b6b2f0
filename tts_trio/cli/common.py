"""What the commands share: their options, the error for bad usage, and the choice of the service."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any, TextIO, TypeAlias

from tts_trio.cli.console import note
from tts_trio.config.config import TTSConfig

AddCommand: TypeAlias = Callable[..., argparse.ArgumentParser]
"""`add_parser` of the command line. Each command sets `run`, an async function of the parsed options."""

_LOCAL: dict[str, Any] = {"api_key": "local", "voice_id": "espeak"}


_OPTIONS = {
    "voice_id": ("--voice", "ID", "voice id (default: ELEVENLABS_VOICE_ID)"),
    "model_id": ("--model", "ID", "model id (default: eleven_flash_v2_5)"),
    "language_code": ("--language", "CODE", "ISO 639-1, such as ru"),
}
"""The options that several commands share, by the field of the configuration that each sets: flag, metavar, help."""


def add_options(parser: argparse.ArgumentParser, *fields: str) -> None:
    """Add the options for these fields of the configuration to a command."""
    for field in fields:
        flag, metavar, says = _OPTIONS[field]
        parser.add_argument(flag, dest=field, metavar=metavar, help=says)


def given_in(options: argparse.Namespace, *fields: str) -> dict[str, Any]:
    """Return the values of these fields of the configuration, as far as the command line gives them."""
    return {field: value for field in fields if (value := getattr(options, field)) is not None}


class UsageError(Exception):
    """The command line asks for something that is not possible. The message says what is."""


def check_open(stream: TextIO | None, name: str) -> None:
    """Check that a standard stream is open. The number of a closed one may belong to a socket by now.

    Raises:
        UsageError: It is closed.
    """
    if stream is None:
        raise UsageError(f"{name} is closed; open it, or give a file")


@asynccontextmanager
async def configured(given: dict[str, Any]) -> AsyncGenerator[TTSConfig]:
    """Give the configuration of the environment; with no API key there, run a local server until the block ends.

    Raises:
        UsageError: The environment has a base URL and no API key, or the local server is not installed.
        ConfigurationError: A value is not allowed; the message names the field and what is allowed.
    """
    if os.environ.get("ELEVENLABS_API_KEY"):
        yield TTSConfig.from_env(**given)
        return
    if url := os.environ.get("ELEVENLABS_BASE_URL"):
        raise UsageError(
            f"ELEVENLABS_API_KEY is not set, but ELEVENLABS_BASE_URL is {url}; set the key (any one for `tts-trio "
            "serve`), or unset the URL to use the local voice"
        )
    local_server = import_local_server()
    with voice_needed():
        voice = local_server.EspeakVoice()
    note("no ELEVENLABS_API_KEY: speaking with the local voice (eSpeak NG)")
    async with local_server.open_local_server(voice=voice) as server:
        yield TTSConfig.from_env(**(_LOCAL | given), base_url=server.base_url)


def import_local_server() -> ModuleType:
    """Return the package of the local server.

    Raises:
        UsageError: It is not installed; the message says how to install it.
    """
    try:
        from tts_trio import local_server
    except ImportError as error:
        raise UsageError(
            f"the local server needs {error.name}; install it with: pip install 'tts_trio[local]'"
        ) from None
    return local_server


@contextmanager
def voice_needed() -> Generator[None]:
    """Turn an ImportError of the local server's voice into bad usage.

    Raises:
        UsageError: The voice is not installed; the message says how to install it.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(str(error)) from None
