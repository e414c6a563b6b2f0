"""Pipecat's WebSocket service in a pipeline of its own, between an LLM's frames and a caller who takes the audio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.workers.runner import WorkerRunner

from benchmarks.clients.turn import Turn
from benchmarks.clients.worker import run_on_asyncio

_SAMPLE_RATE = 16000


class Caller(FrameProcessor):
    """The end of the pipeline.

    Attributes:
        turn: What is spoken.
        over: The turn has ended, or its interruption has come through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turn: Turn | None = None
        self.over = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame."""
        await super().process_frame(frame, direction)
        if self.turn is not None:
            if isinstance(frame, TTSAudioRawFrame):
                self.turn.heard(frame.audio)
            elif isinstance(frame, InterruptionFrame) or (isinstance(frame, TTSStoppedFrame) and self.turn.is_heard):
                # A stop before any audio is that of the turn that was interrupted before.
                self.turn.mark("ended")
                self.over.set()
        await self.push_frame(frame, direction)


class Pipecat:
    """A client."""

    def __init__(self, worker: PipelineWorker, caller: Caller) -> None:
        self._worker = worker
        self._caller = caller

    async def prepare(self) -> None:
        """It has dialed when its pipeline was started."""

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        self._caller.over.clear()
        self._caller.turn = turn
        turn.begin()
        feeding = asyncio.create_task(self._feed(turn))
        cutting = None if turn.cut_at is None else asyncio.create_task(self._cut(turn, feeding))
        await self._caller.over.wait()
        turn.mark("free")
        self._caller.turn = None
        feeding.cancel()
        if cutting is not None:
            cutting.cancel()

    async def _feed(self, turn: Turn) -> None:
        await self._worker.queue_frame(LLMFullResponseStartFrame())
        async for piece in turn.pieces(asyncio.sleep):
            await self._worker.queue_frame(LLMTextFrame(piece))
        await self._worker.queue_frame(LLMFullResponseEndFrame())

    async def _cut(self, turn: Turn, feeding: asyncio.Task[None]) -> None:
        await asyncio.sleep(turn.until_cut())
        turn.mark("cut")
        feeding.cancel()
        await self._worker.queue_frame(InterruptionFrame())


@asynccontextmanager
async def open_client(base_url: str, voice: str) -> AsyncGenerator[Pipecat]:
    """Start a pipeline."""
    logger.remove()
    tts = ElevenLabsTTSService(
        api_key=os.environ["ELEVENLABS_API_KEY"],
        url=base_url.replace("https", "wss", 1),
        settings=ElevenLabsTTSService.Settings(voice=voice, model="eleven_flash_v2_5"),
    )
    caller = Caller()
    worker = PipelineWorker(
        Pipeline([tts, caller]),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(audio_out_sample_rate=_SAMPLE_RATE),
    )
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def _(*_: object) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    yield Pipecat(worker, caller)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    run_on_asyncio(open_client)
