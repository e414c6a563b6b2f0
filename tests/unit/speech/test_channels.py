"""The channels that the caller holds: who waits for audio is woken by audio, or by the end, and by nothing else."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from tests.helpers import TEXTS, make_config, memory_service, speaking
from tts_trio import AudioChannel
from tts_trio.local_server import Behavior


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """How many times a task was resumed."""

    task: trio.lowlevel.Task | None = None
    taken: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task is self.task


@pytest.mark.parametrize("language", TEXTS)
async def test_a_token_wakes_nobody_who_waits_for_audio(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """A reader is resumed once for each piece of audio that he gets, however many tokens come meanwhile."""
    steps = Steps()
    pieces: list[bytes] = []

    async def read(audio: AudioChannel) -> None:
        steps.task = trio.lowlevel.current_task()
        pieces.extend([piece async for piece in audio])

    tokens = TEXTS[language].split(" ")
    async with memory_service(Behavior(model_latency=0.5)) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            async with tts.start_llm_stream() as (text, audio), trio.open_nursery() as nursery:
                nursery.start_soon(read, audio)
                while not audio.statistics().tasks_waiting_receive:
                    await trio.lowlevel.checkpoint()
                trio.lowlevel.add_instrument(steps)
                for token in tokens:
                    await text.send(f"{token} ")
                    await trio.lowlevel.checkpoint()
                assert steps.taken == 0
                text.close()
            trio.lowlevel.remove_instrument(steps)
    assert len(pieces) > 1
    assert steps.taken <= 2 * len(pieces) + 1  # a checkpoint before each, and the wait for it; and the end


@pytest.mark.parametrize("language", TEXTS)
async def test_several_readers_wait_and_one_may_leave(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """All who wait are woken at once, and share the pieces; who was cancelled waits no more."""
    pieces: list[bytes] = []

    async def read(audio: AudioChannel, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    pieces.append(await audio.receive())
                except trio.EndOfChannel:
                    return

    async with memory_service(Behavior(model_latency=0.5)) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            async with tts.start_llm_stream() as (text, audio):
                scopes = [trio.CancelScope() for _ in range(3)]
                async with trio.open_nursery() as nursery:
                    for scope in scopes:
                        nursery.start_soon(read, audio, scope)
                    await trio.testing.wait_all_tasks_blocked()
                    assert audio.statistics().tasks_waiting_receive == 3
                    scopes[1].cancel()
                    await trio.testing.wait_all_tasks_blocked()
                    assert audio.statistics().tasks_waiting_receive == 2
                    await text.send(TEXTS[language])
                    text.close()
                assert not any(scope.cancelled_caught for scope in (scopes[0], scopes[2]))
                assert scopes[1].cancelled_caught
                assert audio.statistics().tasks_waiting_receive == 0
                assert audio.outcome is not None
                assert audio.outcome.end == "finished"
                assert len(b"".join(pieces)) > 0
