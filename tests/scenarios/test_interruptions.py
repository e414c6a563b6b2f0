"""Barge-ins at any moment: not one byte of an old turn after its block, and no turn without its own sound."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import attrs
import pytest
import trio

from tests.helpers import (
    ENGLISH,
    RUSSIAN,
    Service,
    heard,
    make_config,
    memory_service,
    speaking,
    text_of,
    websocket_path,
)
from tests.helpers.streams import Wrapped
from tts_trio import AudioChannel, TTSConfig, TTSManager
from tts_trio.local_server import Behavior, Fault, Received

CASES = 500
SAMPLE = 30
TURNS = 5
WORDS = {"ru": RUSSIAN.split(), "en": ENGLISH.split()}


@attrs.define(eq=False)
class LateLink(Wrapped):
    """A link on which what the service sent arrives later, and which knows the tasks that used it."""

    delay: float
    users: set[trio.lowlevel.Task]
    late: tuple[float, bytes | bytearray] | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.users.add(trio.lowlevel.current_task())
        await self.stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.users.add(trio.lowlevel.current_task())
        if self.late is None:  # else the last call was cancelled
            data = await self.stream.receive_some(max_bytes)
            self.late = trio.current_time() + self.delay, data
        arrival, data = self.late
        await trio.sleep_until(arrival)
        self.late = None
        return data

    async def aclose(self) -> None:
        self.users.add(trio.lowlevel.current_task())
        await self.stream.aclose()


@attrs.define
class Conversation:
    """Turns of one conversation, drawn from a seed."""

    service: Service
    tts: TTSManager
    draw: random.Random
    finished: int = 0
    interrupted: int = 0

    async def turn(self, number: int) -> None:
        language = self.draw.choice(list(WORDS))
        words = WORDS[language][: self.draw.randint(1, len(WORDS[language]))]
        text = f"{number} " + " ".join(words)  # no two turns say the same
        how = self.draw.choice(["to the end", "leave", "close", "cancel"])
        limit = self.draw.choice([0.0, 0.01, 0.1, 0.4, 1.0, 2.0]) * self.draw.random()
        sound = b""
        with trio.CancelScope() as scope:
            async with self.speech(text) as audio:
                if how == "cancel":
                    scope.deadline = trio.current_time() + limit
                with trio.move_on_after(limit if how in {"leave", "close"} else float("inf")):
                    async for chunk in audio:
                        sound += chunk
                        await trio.sleep(self.draw.choice([0, 0, 0.05, 0.2]))
                if how == "close":
                    audio.close()
                    await trio.sleep(self.draw.random())
                    with pytest.raises(trio.ClosedResourceError):
                        audio.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            await audio.receive()
        said = heard(sound, self.tts.config)
        assert text.startswith(said), f"{said!r} is not of {text!r}"
        assert audio.outcome is not None
        assert audio.outcome.end in {"finished", "interrupted"}
        if how == "to the end":
            assert audio.outcome.end == "finished"
        if audio.outcome.end == "finished":
            self.finished += 1
            assert said == text
        else:
            self.interrupted += 1

    def speech(self, text: str) -> AbstractAsyncContextManager[AudioChannel]:
        if self.draw.random() < 0.25:
            return self.tts.stream_static_text(text)
        return self.tts.speak(self.written(text))

    async def written(self, text: str) -> AsyncIterator[str]:
        position = 0
        while position < len(text):
            size = self.draw.randint(1, 12)
            yield text[position : position + size]
            position += size
            await trio.sleep(self.draw.choice([0, 0, 0.01, 0.05]))


async def test_random_interleavings(autojump_clock: trio.testing.MockClock, endpoint: str, exhaustive: bool) -> None:
    """P6, P7: late audio and late finals belong to nobody; the caller's tasks do no I/O."""
    finished = interrupted = 0
    for seed in range(CASES if exhaustive else SAMPLE):
        draw = random.Random(seed)
        users: set[trio.lowlevel.Task] = set()
        delay = draw.choice([0.0, 0.02, 0.2])
        behavior = Behavior(
            speed=draw.choice([2.0, 20.0, 200.0]),
            model_latency=draw.choice([0.0, 0.075, 0.5]),
            late_final=draw.choice([0.0, 0.5, 2.0]),
            early_close=draw.choice(["none", "silent_final", "nothing"]),
            context_slot=draw.choice(["final", "close"]),
            spelling=draw.choice(["camel", "snake"]),
        )
        async with memory_service(behavior, dial_time=draw.choice([0.0, 0.3])) as service:

            async def opener(config: TTSConfig) -> trio.abc.Stream:
                return LateLink(await service.open_stream(config), delay, users)  # noqa: B023 - used in this round

            hedge = (None, 0.1, "auto")[seed % 3]
            async with speaking(make_config(endpoint, hedge=hedge), opener) as tts:
                conversation = Conversation(service, tts, draw)
                try:
                    for number in range(TURNS):
                        await conversation.turn(number)
                    caller = trio.lowlevel.current_task()
                    assert users
                    assert caller not in users
                except BaseException as error:
                    error.add_note(f"seed {seed}")
                    raise
            finished += conversation.finished
            interrupted += conversation.interrupted
    assert finished > 20
    assert interrupted > 20


@pytest.mark.parametrize("point", ["freeze", "deafen"])
async def test_a_peer_that_does_not_read_delays_nobody(
    autojump_clock: trio.testing.MockClock, endpoint: str, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """P6, P7: its window is full when the block is left, and leaving it is not even a checkpoint."""
    monkeypatch.setattr("tts_trio.local_server.memory.WINDOW", 4096)
    behavior = Behavior(faults=(Fault(point, "audio", frame=1, path=websocket_path(endpoint), count=1),))
    config = make_config(endpoint, max_lead=1e6)
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        stream = tts.start_llm_stream()
        text, audio = await stream.__aenter__()
        await text.send("Начало длинного ответа. Вторая его фраза. ")
        await audio.receive()
        await trio.sleep(0.5)
        for _ in range(50):
            await text.send(ENGLISH + " ")
        await trio.sleep(0.5)
        taken = [r for r in service.server.records if isinstance(r, Received)]
        assert audio.usage.characters > sum(len(str(record.message)) for record in taken) + 4096
        with trio.testing.assert_no_checkpoints():
            await stream.__aexit__(None, None, None)
        left = trio.current_time()
        async with tts.speak(["Слушаю вас."]) as audio:
            assert heard(await audio.receive(), config).startswith("Слушаю")
            assert trio.current_time() - left < 0.2


async def test_nothing_is_asked_of_the_service_after_a_barge_in(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P7: neither the end marker nor the words that were still to be said."""
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        for language, words in WORDS.items():
            async with tts.start_llm_stream() as (text, audio):
                for word in words[:12]:
                    await text.send(word + " ")
                text.send_nowait("и ещё" if language == "ru" else "and then")
                await audio.receive()
                await trio.testing.wait_all_tasks_blocked()
                before = len(service.server.records)
            await trio.sleep(60)
            late = [r for r in service.server.records[before:] if isinstance(r, Received) and r.frame == "text"]
            assert {text_of(record.message) for record in late} <= {" ", ""}  # of the spare, or the close
            assert not any(record.message.get("flush") for record in late)
