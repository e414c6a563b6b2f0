"""`tts-trio serve`: run the local server. `command.py` has its arguments, and what it does until it is stopped."""

from __future__ import annotations

import argparse
import errno
from functools import partial

from tts_trio._nurseries import single_error
from tts_trio.cli.common import AddCommand, import_local_server, voice_needed
from tts_trio.cli.console import show


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    # The local server, which may not be installed, parses the arguments of this command itself.
    parser = add_command("serve", help="run the local server", add_help=False)
    parser.set_defaults(run=partial(_serve, type(parser)), parses_itself=True)


async def _serve(of: type[argparse.ArgumentParser], options: argparse.Namespace) -> None:
    import_local_server()
    from tts_trio.cli.serve import command  # loaded late: it needs the local server

    parsed = command.parse(options.rest, of)
    try:
        with voice_needed(), single_error:
            await command.serve(parsed, show)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"--port: {parsed.port} is in use by another program; give another port, or 0 for a free one"
            raise OSError(message) from None
        raise
