"""`tts-trio prefetch`: fill a phrase cache from a file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import attrs

from tts_trio.cli.caches import add_cache_argument, chosen_cache
from tts_trio.cli.common import AddCommand, UsageError, add_options, given_in, show_line
from tts_trio.config import TTSConfig
from tts_trio.errors import ConfigurationError
from tts_trio.fixed_phrase import LONGEST_KEPT, PhraseOrder
from tts_trio.manager import open_tts

_STANDARD_INPUT = "-"
_BAR = 30  # characters


@attrs.define
class _Progress:
    """A bar on standard error, on a terminal only."""

    total: int
    kept: set[str] = attrs.field(factory=set[str])

    def advance(self, phrase: str) -> None:
        """Count a phrase."""
        self.kept.add(phrase)
        done = len(self.kept)
        filled = _BAR * done // self.total
        show_line(f"{'█' * filled}{'░' * (_BAR - filled)} {done}/{self.total}")

    def finish(self) -> None:
        """Leave the line of the bar."""
        if sys.stderr.isatty() and self.kept:
            print(file=sys.stderr)


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command(
        "prefetch",
        help="fill a phrase cache from a file",
        description="Ask the service for phrases and keep them, so that they are said later without it. What is kept "
        "is found again by the same voice, model, format, language and settings only.",
    )
    parser.add_argument("file", metavar="FILE", help="a phrase a line, in UTF-8; '-' is standard input")
    add_options(parser, "voice_id", "model_id", "language_code")
    parser.add_argument(
        "--format", dest="output_format", metavar="FORMAT", help="such as ulaw_8000 (default: pcm_16000)"
    )
    add_cache_argument(parser)
    parser.set_defaults(run=_prefetch)


async def _prefetch(options: argparse.Namespace) -> None:
    if not os.environ.get("ELEVENLABS_API_KEY"):
        raise UsageError(
            "prefetch needs ELEVENLABS_API_KEY: what a local voice says is found again at the same address only; for "
            "that of `tts-trio serve` set ELEVENLABS_BASE_URL, and any key"
        )
    phrases = _phrases(options.file)
    if not phrases:
        raise UsageError(f"{options.file}: there is no phrase in it")
    given = given_in(options, "voice_id", "model_id", "language_code", "output_format")
    async with chosen_cache(options.cache) as cache:
        config = TTSConfig.from_env(**given, phrase_cache=cache)
        for phrase, line in phrases.items():
            _check(phrase, config, f"{options.file}, line {line}")
        await cache.statistics()  # fails now, if it is to fail
        progress = _Progress(len(phrases))
        async with open_tts(config) as tts:
            try:
                await tts.prefetch(phrases, on_phrase=progress.advance)
            finally:
                progress.finish()
        if missing := [f"line {line}" for phrase, line in phrases.items() if phrase not in progress.kept]:
            raise OSError(f"{options.file}, {', '.join(missing)}: not kept by {cache!r}")
        kept = await cache.statistics()
    print(f"{len(phrases)} phrases are in {cache!r}, of {kept.phrases} and {kept.bytes} bytes", file=sys.stderr)


def _phrases(file: str) -> dict[str, int]:
    """The phrases of a file, each with the number of the first line that has it."""
    phrases: dict[str, int] = {}
    for number, line in enumerate(_read(file).split("\n"), 1):
        if phrase := line.strip():
            phrases.setdefault(phrase, number)
    return phrases


def _check(phrase: str, config: TTSConfig, where: str) -> None:
    """Refuse a phrase that cannot be spoken or kept."""
    try:
        order = PhraseOrder.checked(config, phrase)
    except ConfigurationError as error:
        raise UsageError(f"{where}: {error}") from None
    if not order.may_be_kept:
        raise UsageError(f"{where}: a phrase of more than {LONGEST_KEPT} characters is not kept")


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: it is not UTF-8: {error.reason}") from None
