"""`tts-trio voices`: list the voices of the account."""

from __future__ import annotations

import argparse
import json

import attrs

from tts_trio.cli.account import Account
from tts_trio.cli.common import AddCommand, UsageError
from tts_trio.cli.console import listing, show
from tts_trio.config.config import TTSConfig


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    parser = add_command(
        "voices",
        help="list the voices of the account",
        description="List the id, the name and the languages of each voice of the account, whose key is in "
        "ELEVENLABS_API_KEY and needs the permission voices_read.",
    )
    parser.add_argument("search", nargs="?", metavar="TEXT", help="text in the name, description or labels of a voice")
    parser.add_argument("--language", metavar="CODE", help="only those that speak it; ISO 639-1, such as ru")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=_voices)


async def _voices(options: argparse.Namespace) -> None:
    from tts_trio.transport.http import HttpConnections  # as everywhere: httpx is loaded late

    config = TTSConfig.from_env(voice_id="any", spares=0)  # the voice is what is looked for
    async with HttpConnections(config) as http:
        found = await Account(http).voices(options.search)
    if options.language is not None:
        found = [voice for voice in found if options.language.lower() in map(str.lower, voice.languages)]
    if options.json:
        print(json.dumps([attrs.asdict(voice) for voice in found], ensure_ascii=False, indent=2))
        return
    if not found:
        raise UsageError("there is no such voice; `tts-trio voices` lists all of the account")
    show(
        listing({"id": voice.voice_id, "name": voice.name, "languages": ", ".join(voice.languages)} for voice in found)
    )
