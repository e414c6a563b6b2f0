"""`tts-trio prefetch`: fill a cache of static texts from a file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import trio

from tts_trio.cli.caches import add_cache_argument, chosen_cache
from tts_trio.cli.common import AddCommand, UsageError, add_options, check_open, given_in
from tts_trio.cli.console import note, progress
from tts_trio.config.config import TTSConfig
from tts_trio.config.timeouts import Timeouts
from tts_trio.errors import ConfigurationError
from tts_trio.manager import open_tts
from tts_trio.static_text.driver import LONGEST_CACHED, StaticTextRequest
from tts_trio.static_text.redis_cache import RedisCache
from tts_trio.static_text.sqlite_cache import SqliteCache

_STANDARD_INPUT = "-"
_CACHE_TIMEOUT = 5.0  # seconds: no caller waits


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command(
        "prefetch",
        help="fill a cache of static texts from a file",
        description="Request the audio of texts from the service and store it in a cache, so that they are spoken "
        "later without the service. A text is found again with the same voice, model, format, language and settings "
        "only.",
    )
    parser.add_argument("file", metavar="FILE", help="one text a line, in UTF-8; '-' is standard input")
    add_options(parser, "voice_id", "model_id", "language_code")
    parser.add_argument(
        "--format", dest="output_format", metavar="FORMAT", help="such as ulaw_8000 (default: pcm_16000)"
    )
    add_cache_argument(parser)
    parser.set_defaults(run=_prefetch)


async def _prefetch(options: argparse.Namespace) -> None:
    if not os.environ.get("ELEVENLABS_API_KEY"):
        raise UsageError(
            "ELEVENLABS_API_KEY is not set, and prefetch needs it; for the voice of `tts-trio serve` set "
            "ELEVENLABS_BASE_URL, and any key"
        )
    if options.file == _STANDARD_INPUT:
        check_open(sys.stdin, "standard input")
    texts = await trio.to_thread.run_sync(_texts, options.file, abandon_on_cancel=True)
    if not texts:
        raise UsageError(f"{options.file}: the file has no text; give one text a line")
    given = given_in(options, "voice_id", "model_id", "language_code", "output_format")
    async with chosen_cache(options.cache) as cache:
        config = TTSConfig.from_env(**given, audio_cache=cache, timeouts=Timeouts(cache=_CACHE_TIMEOUT))
        for text, line in texts.items():
            _check(text, config, f"{options.file}, line {line}")
        await cache.statistics()  # a cache that cannot be reached fails here, before any credits are used
        kept: set[str] = set()
        with progress("prefetching", len(texts)) as advance:

            def on_cached(text: str) -> None:
                advance(text not in kept)
                kept.add(text)

            async with open_tts(config) as tts:
                await tts.prefetch(texts, on_cached=on_cached)
        if missing := [f"line {line}" for text, line in texts.items() if text not in kept]:
            raise OSError(f"{options.file}, {', '.join(missing)}: {cache!r} did not store the audio")
        found = await cache.statistics()
    note(f"{len(texts)} static texts are in {cache!r}, of {found.entries} and {found.bytes} bytes")
    note(f"a program finds them with TTSConfig(..., audio_cache={_constructor(cache)})")


def _constructor(cache: RedisCache | SqliteCache) -> str:
    """Return the Python expression that makes this cache."""
    return f"SqliteCache({str(cache.path)!r})" if isinstance(cache, SqliteCache) else "RedisCache(...)"


def _texts(file: str) -> dict[str, int]:
    """Return the texts of a file, each with the number of the first line that has it."""
    texts: dict[str, int] = {}
    for number, line in enumerate(_read(file).split("\n"), 1):
        if text := line.strip():
            texts.setdefault(text, number)
    return texts


def _check(text: str, config: TTSConfig, where: str) -> None:
    """Check that a text can be spoken and cached."""
    try:
        request = StaticTextRequest.checked(config, text)
    except ConfigurationError as error:
        raise UsageError(f"{where}: {error}") from None
    if not request.cacheable:
        raise UsageError(f"{where}: a text may have at most {LONGEST_CACHED} characters to be cached; split it")


def _read(file: str) -> str:
    try:
        if file != _STANDARD_INPUT:
            return Path(file).read_text(encoding="utf-8")
        with open(0, encoding="utf-8", closefd=False) as standard_input:
            return standard_input.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: the file must be UTF-8: {error.reason}") from None
