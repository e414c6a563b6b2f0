"""`tts-trio prefetch`: fill a phrase cache from a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import attrs

from tts_trio.cli.caches import add_cache_argument, chosen_cache
from tts_trio.cli.common import AddCommand, UsageError, configured
from tts_trio.manager import open_tts

_STANDARD_INPUT = "-"
_BAR = 30  # characters


@attrs.define
class _Progress:
    """A bar on standard error, on a terminal only."""

    total: int
    done: int = 0
    live: bool = attrs.field(factory=sys.stderr.isatty)

    def advance(self, _phrase: str) -> None:
        """Count a phrase."""
        self.done += 1
        if self.live:
            filled = _BAR * self.done // self.total
            bar = "█" * filled + "░" * (_BAR - filled)
            end = "\n" if self.done == self.total else ""
            print(f"\r\x1b[K{bar} {self.done}/{self.total}", end=end, file=sys.stderr, flush=True)


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command(
        "prefetch",
        help="fill a phrase cache from a file",
        description="Ask the service for phrases and keep them, so that they are said later without it. What is kept "
        "is found again by the same voice, model, format, language and settings only.",
    )
    parser.add_argument("file", metavar="FILE", help="a phrase a line, in UTF-8; '-' is standard input")
    parser.add_argument("--voice", metavar="ID", help="voice id (default: ELEVENLABS_VOICE_ID)")
    parser.add_argument("--model", metavar="ID", help="model id (default: eleven_flash_v2_5)")
    parser.add_argument("--format", metavar="FORMAT", help="such as ulaw_8000 (default: pcm_16000)")
    parser.add_argument("--language", metavar="CODE", help="ISO 639-1, such as ru")
    add_cache_argument(parser)
    parser.set_defaults(run=_prefetch)


async def _prefetch(options: argparse.Namespace) -> None:
    phrases = list(dict.fromkeys(line.strip() for line in _read(options.file).splitlines() if line.strip()))
    if not phrases:
        raise UsageError(f"{options.file}: there is no phrase in it")
    chosen = {
        "voice_id": options.voice,
        "model_id": options.model,
        "output_format": options.format,
        "language_code": options.language,
    }
    given = {field: value for field, value in chosen.items() if value is not None}
    async with chosen_cache(options.cache) as cache, configured({**given, "phrase_cache": cache}) as config:
        await cache.statistics()  # fails now, if it is to fail
        progress = _Progress(len(phrases))
        async with open_tts(config) as tts:
            await tts.prefetch(phrases, on_phrase=progress.advance)
        kept = await cache.statistics()
    print(f"{progress.done} phrases are in {cache!r}, of {kept.phrases} and {kept.bytes} bytes", file=sys.stderr)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: it is not UTF-8: {error.reason}") from None
