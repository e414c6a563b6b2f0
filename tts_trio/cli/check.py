"""`tts-trio check`: tell before the first call whether it will work."""

from __future__ import annotations

import argparse
import json
from typing import Any

import attrs
from rich.table import Table
from rich.text import Text

from tts_trio.cli.caches import add_cache_argument, chosen_cache, is_redis
from tts_trio.cli.common import AddCommand, add_options, given_in
from tts_trio.cli.console import show, status
from tts_trio.cli.diagnosis import Report, diagnose
from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConfigurationError

_STYLES = {"ok": "green", "wrong": "bold red", "not allowed": "yellow", "not checked": "dim"}

# What stands in for a value that is not allowed, so that the others are checked all the same; and where it is reported.
_STAND_INS: dict[str, tuple[str, Any]] = {
    "api_key": ("key", "none"),
    "voice_id": ("voice", "none"),
    "model_id": ("model", "eleven_flash_v2_5"),
    "language_code": ("language", None),
    "output_format": ("format", "pcm_16000"),
}


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command(
        "check",
        help="check the key, the voice, the network and the rest before the first call",
        description="Check what a call needs, a line each: the key in ELEVENLABS_API_KEY, the voice in "
        "ELEVENLABS_VOICE_ID, model, language and format, the credits and the concurrency of the plan, DNS, proxy, TLS "
        "roots, the clock of this machine, and the cache if there is one. It speaks one word, which costs one or two "
        "credits. The exit code is 1 if something is wrong.",
    )
    add_options(parser, "voice_id", "model_id", "language_code")
    parser.add_argument("--format", dest="output_format", metavar="FORMAT", help="such as ulaw_8000")
    add_cache_argument(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_check)


async def _check(options: argparse.Namespace) -> int:
    report = Report()
    given = given_in(options, *(field for field in _STAND_INS if field != "api_key"))
    given["on_lost_connection"] = "raise"  # which every format allows
    with status() as tell:
        tell("checking")
        if (config := _configuration(given, report)) is not None:
            await diagnose(config, report)
        if options.cache:
            await _check_cache(options.cache, report)
    if options.json:
        checks = [attrs.asdict(check) for check in report.checks.values()]
        print(json.dumps({"ok": report.fine, "checks": checks}, ensure_ascii=False, indent=2))
    else:
        show(_table(report))
    return 0 if report.fine else 1


def _configuration(given: dict[str, Any], report: Report) -> TTSConfig | None:
    """Return the configuration of the environment; None where the service's address is wrong.

    Raises:
        ConfigurationError: A value is wrong for which there is no check.
    """
    given = dict(given)
    while True:
        try:
            return TTSConfig.from_env(**given)
        except ConfigurationError as error:
            if error.field == "base_url":
                report.wrong("connection", error)
                return None
            if error.field not in _STAND_INS:
                raise
            name, given[error.field] = _STAND_INS[error.field]
            report.wrong(name, error)


async def _check_cache(where: str, report: Report) -> None:
    name = "Redis" if is_redis(where) else "cache file"
    try:
        async with chosen_cache(where) as cache:
            await cache.get("check")
            report.ok(name, repr(cache))
    except ConfigurationError as error:
        report.wrong(name, error)
    except OSError as error:
        report.wrong(name, f"{error}; start it, or change --cache: without it every text is requested from the service")


def _table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in report.checks.values():
        table.add_row(check.name, Text(check.status, _STYLES[check.status]), check.says)
    return table
