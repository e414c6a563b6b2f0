"""What commands have in common: bad usage in one line, and with which service they speak."""

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
"""`add_parser` of the command line; a command's default `run` is an async function of the parsed options."""

_LOCAL: dict[str, Any] = {"api_key": "local", "voice_id": "espeak"}


_OPTIONS = {
    "voice_id": ("--voice", "ID", "voice id (default: ELEVENLABS_VOICE_ID)"),
    "model_id": ("--model", "ID", "model id (default: eleven_flash_v2_5)"),
    "language_code": ("--language", "CODE", "ISO 639-1, such as ru"),
}
"""By the fields of the configuration that they give; a command may have options of its own for others."""


def add_options(parser: argparse.ArgumentParser, *fields: str) -> None:
    """Add the options of a command for these fields of the configuration."""
    for field in fields:
        flag, metavar, says = _OPTIONS[field]
        parser.add_argument(flag, dest=field, metavar=metavar, help=says)


def given_in(options: argparse.Namespace, *fields: str) -> dict[str, Any]:
    """Return those of these fields of the configuration that were given on the command line."""
    return {field: value for field in fields if (value := getattr(options, field)) is not None}


class UsageError(Exception):
    """What was asked for on the command line cannot be done; the text says what can."""


def check_open(stream: TextIO | None, name: str) -> None:
    """Refuse a standard stream that is closed: its number may be a socket's by now.

    Raises:
        UsageError: It is closed.
    """
    if stream is None:
        raise UsageError(f"{name} is closed; give a file")


@asynccontextmanager
async def configured(given: dict[str, Any]) -> AsyncGenerator[TTSConfig]:
    """The service of the environment, or, with no key there, a local server for as long as the block runs.

    Raises:
        UsageError: There is no key for the service that the environment names, or no local server.
        ConfigurationError: A value is not allowed.
    """
    if os.environ.get("ELEVENLABS_API_KEY"):
        yield TTSConfig.from_env(**given)
        return
    if url := os.environ.get("ELEVENLABS_BASE_URL"):
        raise UsageError(
            f"ELEVENLABS_BASE_URL is {url}, and ELEVENLABS_API_KEY is not set: set the key (`tts-trio serve` takes "
            "any), or unset the URL to speak with the local voice"
        )
    local_server = import_local_server()
    with voice_needed():
        voice = local_server.EspeakVoice()
    note("no ELEVENLABS_API_KEY: speaking with the local voice (eSpeak NG)")
    async with local_server.open_local_server(voice=voice) as server:
        yield TTSConfig.from_env(**(_LOCAL | given), base_url=server.base_url)


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


@contextmanager
def voice_needed() -> Generator[None]:
    """Say in one line what the local server's voice needs, where it is not installed.

    Raises:
        UsageError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(str(error)) from None
