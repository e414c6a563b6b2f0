"""`tts-trio cache`, which shows or empties a cache of static texts; and the option `--cache` of other commands."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tts_trio.cli.common import AddCommand, UsageError
from tts_trio.cli.console import show
from tts_trio.static_text.redis_cache import RedisCache
from tts_trio.static_text.sqlite_cache import SqliteCache

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # two letters or more, unlike the letter of a Windows drive


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--cache`."""
    parser.add_argument(
        "--cache",
        metavar="WHERE",
        default=os.environ.get("TTS_TRIO_CACHE") or None,
        help="a file, or redis://host:port/database (default: TTS_TRIO_CACHE)",
    )


def is_redis(where: str) -> bool:
    """Whether the value of `--cache` is a URL, and no file."""
    return _URL.match(where) is not None


@asynccontextmanager
async def chosen_cache(where: str | None) -> AsyncGenerator[RedisCache | SqliteCache]:
    """Open the cache of `--cache`: a `RedisCache` for a URL, else a `SqliteCache` for a file.

    Raises:
        UsageError: No cache was given.
        ConfigurationError: The URL is not one of Redis.
    """
    if not where:
        raise UsageError("--cache: it is missing; give a file or redis://host:port/database, or set TTS_TRIO_CACHE")
    if is_redis(where):
        async with RedisCache(where) as cache:
            yield cache
    else:
        yield SqliteCache(where)


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command("cache", help="see what is in a cache, or empty it")
    parser.add_argument("action", choices=("stats", "clear"))
    add_cache_argument(parser)
    parser.set_defaults(run=_cache)


async def _cache(options: argparse.Namespace) -> None:
    async with chosen_cache(options.cache) as cache:
        if isinstance(cache, SqliteCache) and not cache.path.is_file():
            raise UsageError(f"--cache: the file {str(cache.path)!r} does not exist; `tts-trio prefetch` makes it")
        if options.action == "clear":
            await cache.clear()
        kept = await cache.statistics()
        show(f"{cache!r}: {kept.entries} static texts, {kept.bytes} bytes")
