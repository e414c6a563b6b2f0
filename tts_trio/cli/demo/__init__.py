"""`tts-trio demo`: a telephone call that one can hear, and see, with a barge-in and a lost connection in it.

`scene.py` is its script, `call.py` plays it over a `line.py` and writes a `score.py`, which `screen.py` shows while it
is written, `report.py` tells in lines, and `page.py` draws.
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
        "with a tool that takes its time, a barge-in, a connection that is cut, and a text from the cache. Writes "
        "call.wav (the caller left, the agent right) and call.html (the same as a score). The agent speaks through "
        "ElevenLabs, with the key in ELEVENLABS_API_KEY and the voice in ELEVENLABS_VOICE_ID; with no key, by the "
        "built-in voice.",
    )
    demo.add_argument("--language", default="en", choices=("en", "ru"), help="of the call (default: %(default)s)")
    add_options(demo, "voice_id", "model_id")
    demo.add_argument("--fast", action="store_true", help="as quick as the machine goes; with the built-in voice only")
    demo.add_argument("--json", action="store_true", help="print what happened as JSON")
    demo.add_argument(
        "-o", "--output", default=".", metavar="FOLDER", help="where the two files go (default: the current folder)"
    )
    demo.set_defaults(run=_run, clock=_clock)


async def _run(options: argparse.Namespace) -> None:
    from tts_trio.cli.demo.command import run  # loaded late: the other commands need nothing of it

    await run(options)


def _clock(options: argparse.Namespace) -> trio.abc.Clock | None:
    """Return what `trio.run` is to count time by; None is the real time."""
    if not options.fast:
        return None
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)
