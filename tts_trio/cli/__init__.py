"""The command line: `tts-trio`, with a module for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import trio

from tts_trio import __version__
from tts_trio.cli import caches, prefetch, probe, say, serve
from tts_trio.cli.common import UsageError
from tts_trio.errors import ConfigurationError, TTSError
from tts_trio.transport import single_error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tts-trio", description="ElevenLabs speech on the command line.")
    parser.add_argument("--version", action="version", version=f"tts-trio {__version__}")
    parser.set_defaults(parses_itself=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (say, probe, prefetch, caches, serve):
        command.add_to(commands.add_parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for a failure, 2 for bad usage, 130 for Ctrl-C."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.parses_itself:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        with single_error():  # Ctrl-C too, wherever in a nursery it struck
            trio.run(options.run, options)
    except (UsageError, ConfigurationError) as error:
        return _complain(str(error), 2)
    except (TTSError, OSError) as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(message: str, code: int) -> int:
    print(f"tts-trio: error: {message}", file=sys.stderr)
    return code
