"""tts_trio: `python -m benchmarks.clients.ours POLICY [FIELD=VALUE …]`: a preset of `PhrasePolicy`, and others."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from benchmarks.clients.on_trio import interruptible, run_on_trio
from benchmarks.clients.turn import Turn
from tts_trio import PhrasePolicy, TTSConfig, TTSConnectionError, TTSManager, WebSocketConnectionManager

_POLICIES = {
    "sentence": PhrasePolicy.sentence(),
    "balanced": PhrasePolicy.balanced(),
    "eager": PhrasePolicy.eager(),
}


class Ours:
    """A conversation."""

    def __init__(self, connections: WebSocketConnectionManager, tts: TTSManager) -> None:
        self._connections = connections
        self._tts = tts

    async def prepare(self) -> None:
        """Wait until a connection is hot, however many others dial at the same time."""
        while True:
            with suppress(TTSConnectionError):
                await self._connections.connect()
                return

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        async with interruptible(turn) as scope:
            turn.begin()
            async with self._tts.speak(turn.pieces(trio.sleep)) as audio:
                with scope:
                    async for chunk in audio:
                        turn.heard(chunk)
                    turn.mark("ended")
            turn.mark("free")

    async def say(self, turn: Turn) -> None:
        """Speak a static text."""
        async with interruptible(turn) as scope:
            turn.begin()
            async with self._tts.stream_static_text(turn.text) as audio:
                with scope:
                    async for chunk in audio:
                        turn.heard(chunk)
                    turn.mark("ended")
            turn.mark("free")


def _field(argument: str) -> tuple[str, Any]:
    name, value = argument.split("=", 1)
    return name, int(value) if value.isdigit() else value


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Ours]:
    """Open a conversation."""
    policy, *fields = sys.argv[1:]
    config = TTSConfig.from_env(
        voice_id=voice,
        base_url=base_url,
        phrase_policy=_POLICIES[policy],
        **dict(map(_field, fields)),
    )
    async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
        yield Ours(connections, tts)


if __name__ == "__main__":
    run_on_trio(open_client)
