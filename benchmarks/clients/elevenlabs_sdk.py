"""The official SDK, on threads, as documented: a realtime conversion for a reply, a stream for a phrase."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from elevenlabs.client import ElevenLabs

from benchmarks.clients.turn import Turn
from benchmarks.clients.worker import run_on_asyncio

_MODEL = "eleven_flash_v2_5"
_FORMAT = os.environ.get("ELEVENLABS_OUTPUT_FORMAT", "pcm_16000")


class Sdk:
    """A client."""

    def __init__(self, base_url: str, voice: str) -> None:
        self._client = ElevenLabs(api_key=os.environ["ELEVENLABS_API_KEY"], base_url=base_url)
        self._voice = voice

    async def prepare(self) -> None:
        """Nothing can be prepared: it dials for every conversion."""

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        await asyncio.to_thread(self._speak, turn)

    def _speak(self, turn: Turn) -> None:
        turn.begin()
        speech = self._client.text_to_speech.convert_realtime(
            self._voice, text=turn.pieces_blocking(), model_id=_MODEL, output_format=_FORMAT
        )
        self._listen(speech, turn)

    async def say(self, turn: Turn) -> None:
        """Speak a static text."""
        await asyncio.to_thread(self._say, turn)

    def _say(self, turn: Turn) -> None:
        turn.begin()
        speech = self._client.text_to_speech.stream(
            self._voice, text=turn.text, model_id=_MODEL, output_format=_FORMAT, optimize_streaming_latency=4
        )
        self._listen(speech, turn)

    @staticmethod
    def _listen(speech, turn: Turn) -> None:
        for chunk in speech:
            if turn.cut_at is not None and time.perf_counter() >= turn.cut_at:
                break
            turn.heard(chunk)
        turn.mark("ended")
        if turn.cut_at is not None:  # which can be noticed when audio comes, and not before
            turn.mark("cut", at=turn.cut_at)
            speech.close()
        turn.mark("free")


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Sdk]:
    """Make one."""
    yield Sdk(base_url, voice)


if __name__ == "__main__":
    run_on_asyncio(open_client)
