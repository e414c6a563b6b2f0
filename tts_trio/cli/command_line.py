"""Parses the command line, runs the command, and reports an error in one line."""

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
from tts_trio.cli import caches, check, demo, prefetch, probe, say, serve, voices
from tts_trio.cli.common import UsageError
from tts_trio.cli.console import complain, logged_warnings
from tts_trio.errors import ConfigurationError, TTSError

_BAD_USAGE = 2
_BY_SIGNAL = 128  # plus the signal's number: the exit code of a shell for a program that a signal ended
_SIGPIPE = 13


class Parser(argparse.ArgumentParser):
    """Reports bad usage in one line, which names the help."""

    def error(self, message: str) -> NoReturn:
        """Report the error, and exit with code 2."""
        complain(f"{message}; see {self.prog} --help")
        sys.exit(_BAD_USAGE)


def run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code; see `tts_trio.cli.main`."""
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")  # a letter that the console's encoding does not have becomes "?"
    options = _options(arguments)
    try:
        with logged_warnings(), single_error:  # a KeyboardInterrupt may come in the group of a nursery
            return trio.run(_until_ended, options, _ending_signals(), clock=options.clock(options))
    except (UsageError, ConfigurationError) as error:
        complain(str(error))
        return _BAD_USAGE
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes standard output at exit
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
    for command in (say, demo, check, voices, probe, prefetch, caches, serve):
        command.add_to(commands.add_parser)
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.parses_itself:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    return options


def _real_time(_options: argparse.Namespace) -> trio.abc.Clock | None:
    """Return the clock for `trio.run` of a command that sets none: None, trio's own."""
    return None


async def _until_ended(options: argparse.Namespace, ending: Sequence[signal.Signals]) -> int:
    """Run a command until it ends, or until a signal cancels it; return the exit code."""
    code = 0
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            nonlocal code
            with trio.open_signal_receiver(*ending) as signals:
                code = _BY_SIGNAL + await anext(signals)
                nursery.cancel_scope.cancel()

        if ending:
            nursery.start_soon(watch)
        with single_error:
            ended = await options.run(options)  # an exit code, or None for 0
            code = code or ended or 0  # a signal may have come as it ended
        nursery.cancel_scope.cancel()
    return code


def _ending_signals() -> list[signal.Signals]:
    """Return the signals that would end the program without a cleanup, SIGINT (Ctrl-C) among them.

    A signal that is ignored already, as `nohup` and a shell's background do, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    all_of_them = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    usual = (signal.SIG_DFL, signal.default_int_handler)
    return [each for each in dict.fromkeys(all_of_them) if signal.getsignal(each) in usual]
