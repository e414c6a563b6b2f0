"""`tts-trio demo`: a telephone call to hear and to see, with a barge-in and a lost connection in it.

`scene.py` has the script of the call. `call.py` plays it over the `Line` of `line.py`, and writes the `Score` of
`score.py`. `screen.py` shows the score while it is written, `report.py` prints it in lines, and `page.py` draws it.
"""

from __future__ import annotations

import argparse

import trio

from tts_trio.cli.common import AddCommand, add_options


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    demo = add_command(
        "demo",
        help="play a call: see what is written, sent and heard",
        description="Play a telephone call of some 45 seconds between a caller and an agent whose LLM is a script: "
        "with a slow tool, a barge-in, a connection that is cut, and a text from the cache. It writes call.wav (the "
        "caller left, the agent right) and call.html (the call as a score). The agent speaks through ElevenLabs, with "
        "the key in ELEVENLABS_API_KEY and the voice in ELEVENLABS_VOICE_ID; with no key, by the built-in voice.",
    )
    demo.add_argument(
        "--language", default="en", choices=("en", "ru"), help="language of the call (default: %(default)s)"
    )
    add_options(demo, "voice_id", "model_id")
    demo.add_argument(
        "--fast", action="store_true", help="play as fast as the machine can; with the built-in voice only"
    )
    demo.add_argument("--json", action="store_true", help="print what happened as JSON")
    demo.add_argument(
        "-o", "--output", default=".", metavar="FOLDER", help="folder of the two files (default: the current one)"
    )
    demo.set_defaults(run=_run, clock=_clock)


async def _run(options: argparse.Namespace) -> None:
    from tts_trio.cli.demo.command import run  # loaded late: the other commands do not need it

    await run(options)


def _clock(options: argparse.Namespace) -> trio.abc.Clock | None:
    """Return the clock for `trio.run`; None is the real time."""
    if not options.fast:
        return None
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)
