"""Parses the command line, runs the command, and says in one line what went wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import trio

from tts_trio import __version__
from tts_trio._nurseries import single_error
from tts_trio.cli import caches, demo, prefetch, probe, say, serve
from tts_trio.cli.common import UsageError
from tts_trio.cli.console import complain, logged_warnings
from tts_trio.errors import ConfigurationError, TTSError

_BAD_USAGE = 2
_BY_SIGNAL = 128  # and its number: what a shell says of a program that a signal ended
_SIGPIPE = 13


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read what is right."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        complain(f"{message}; see {self.prog} --help")
        sys.exit(_BAD_USAGE)


def run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code; see `tts_trio.cli.main`."""
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")  # a console or a pipe that cannot show a letter shows "?"
    options = _options(arguments)
    try:
        with logged_warnings(), single_error():  # Ctrl-C too, wherever in a nursery it struck
            return trio.run(_until_ended, options, _ending_signals(), clock=options.clock(options))
    except (UsageError, ConfigurationError) as error:
        complain(str(error))
        return _BAD_USAGE
    except BrokenPipeError:  # who reads our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return _BY_SIGNAL + _SIGPIPE
    except TTSError as error:
        complain(str(error))
        return 1
    except OSError as error:
        what = error.strerror or str(error)
        complain(what if error.filename is None else f"{what}: {error.filename!r}")
        return 1
    except KeyboardInterrupt:
        return _BY_SIGNAL + signal.SIGINT


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="tts-trio", description="ElevenLabs speech on the command line.")
    parser.add_argument("--version", action="version", version=f"tts-trio {__version__}")
    parser.set_defaults(parses_itself=False, clock=_real_time)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (say, demo, probe, prefetch, caches, serve):
        command.add_to(commands.add_parser)
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.parses_itself:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    return options


def _real_time(_options: argparse.Namespace) -> trio.abc.Clock | None:
    """Return what `trio.run` counts time by, unless the command says otherwise: None is its own clock."""
    return None


async def _until_ended(options: argparse.Namespace, ending: Sequence[signal.Signals]) -> int:
    """Run a command until it is done, or until a signal ends it as an orderly cancellation; return the exit code."""
    code = 0
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            nonlocal code
            with trio.open_signal_receiver(*ending) as signals:
                code = _BY_SIGNAL + await anext(signals)
                nursery.cancel_scope.cancel()

        if ending:
            nursery.start_soon(watch)
        with single_error():
            await options.run(options)
        nursery.cancel_scope.cancel()
    return code


def _ending_signals() -> list[signal.Signals]:
    """Those that would end the program on the spot. `nohup` and a shell's background ignore some of them.

    Ctrl-C is one of them: a KeyboardInterrupt that strikes in a task comes in the group of each nursery around it.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    all_of_them = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    usual = (signal.SIG_DFL, signal.default_int_handler)
    return [each for each in dict.fromkeys(all_of_them) if signal.getsignal(each) in usual]
