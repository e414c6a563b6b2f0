"""LiveKit's plugin, without the rest of an agent: `stream` for a reply, `synthesize` for a phrase, prewarmed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from livekit.agents.tts import SynthesizeStream
from livekit.plugins import elevenlabs

from benchmarks.clients.turn import Turn
from benchmarks.clients.worker import run_on_asyncio


class LiveKit:
    """A client."""

    def __init__(self, tts: elevenlabs.TTS) -> None:
        self._tts = tts

    async def prepare(self) -> None:
        """Dial, in the background."""
        self._tts.prewarm()

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        turn.begin()
        stream = self._tts.stream()
        tasks = [asyncio.create_task(self._feed(stream, turn)), asyncio.create_task(self._listen(stream, turn))]
        if turn.cut_at is not None:
            await asyncio.wait(tasks, timeout=turn.until_cut())
            turn.mark("cut")
        else:
            await tasks[1]
        for task in tasks:
            task.cancel()
        await stream.aclose()
        turn.mark("free")

    @staticmethod
    async def _feed(stream: SynthesizeStream, turn: Turn) -> None:
        async for piece in turn.pieces(asyncio.sleep):
            stream.push_text(piece)
        stream.end_input()

    @staticmethod
    async def _listen(stream: SynthesizeStream, turn: Turn) -> None:
        async for event in stream:
            turn.heard(bytes(event.frame.data))
        turn.mark("ended")

    async def say(self, turn: Turn) -> None:
        """Speak a static text."""
        turn.begin()
        async with self._tts.synthesize(turn.text) as stream:
            async for event in stream:
                turn.heard(bytes(event.frame.data))
            turn.mark("ended")
        turn.mark("free")


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[LiveKit]:
    """Make one, with an HTTP session of its own."""
    async with aiohttp.ClientSession() as session:
        tts = elevenlabs.TTS(
            voice_id=voice,
            model="eleven_flash_v2_5",
            encoding="pcm_16000",
            api_key=os.environ["ELEVENLABS_API_KEY"],
            base_url=f"{base_url}/v1",
            http_session=session,
        )
        yield LiveKit(tts)
        await tts.aclose()


if __name__ == "__main__":
    run_on_asyncio(open_client)
