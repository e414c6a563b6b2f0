"""Deadlines of HTTP and of dials are judged after what had come by then was taken: who stood still blames nobody."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config, memory_service, posts, speaking
from tts_trio import (
    AudioChannel,
    AuthenticationError,
    ServiceTimeoutError,
    TTSConnectionError,
    TTSManager,
)
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.local_server import Behavior

SENTENCES = {
    "en": "Hello, and thank you for calling. How can I help?",
    "ru": "Здравствуйте, спасибо за звонок! Чем могу помочь?",
}
every_language = pytest.mark.parametrize("language", TEXTS)
WAYS: dict[str, dict[str, Any]] = {
    "cache": {},
    "no cache": {"audio_cache": None},
    "stitched": {"request_stitching": True},
    "timed": {"static_timestamps": True},
}


def check_whole(audio: AudioChannel, sound: bytes, text: str, config: Any) -> None:
    assert heard(sound, config) == text
    assert audio.outcome is not None
    assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
    assert audio.usage.characters == len(text)  # it was asked for once


@every_language
@pytest.mark.parametrize("way", [*WAYS, "long"])
@pytest.mark.parametrize("seconds", [3.2, 11.0])
@pytest.mark.parametrize("at", [0, 3])
async def test_a_static_text_is_heard_whole_though_the_loop_was_blocked(
    autojump_clock: trio.testing.MockClock, language: str, way: str, seconds: float, at: int
) -> None:
    """P33: for longer than any timeout, before its audio and in the middle of it; and it is asked for once."""
    text = " ".join([TEXTS[language]] * 3) if way == "long" else SENTENCES[language]
    config = make_config(**WAYS.get(way, {}))
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(text) as audio:
            sound = [await audio.receive() for _ in range(at)]
            if at == 0:
                await trio.sleep(0.01)  # the request is out
            autojump_clock.jump(seconds)
            sound.append(await listen(audio))
        check_whole(audio, b"".join(sound), text, config)
        assert len(posts(service.server)) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_service_that_is_silent_is_late_all_the_same(autojump_clock: trio.testing.MockClock, way: str) -> None:
    """P1: to the moment where the loop ran, and a second after it ran again where it stood still."""
    config = make_config(max_replays=0, **WAYS[way])
    for blocked in (0.0, 5.0):
        async with memory_service() as service, speaking(config, service.open_stream) as tts:
            async with tts.stream_static_text(TEXTS["en"]) as audio:
                heard_so_far = 0
                while heard_so_far < 16_000:  # half a second: less is no sign of life
                    heard_so_far += len(await audio.receive())
                service.freeze()
                began = trio.current_time()
                autojump_clock.jump(blocked)
                with pytest.raises(ServiceTimeoutError):
                    await listen(audio)
            waited = trio.current_time() - began
            assert waited == pytest.approx(blocked + 1 if blocked else 3, abs=0.3)


@pytest.mark.parametrize("seconds", [1.5, 6.0])
async def test_a_refusal_is_read_though_the_loop_was_blocked(
    autojump_clock: trio.testing.MockClock, seconds: float
) -> None:
    """P33: what it says lies there already."""
    config = make_config(max_replays=0)
    async with memory_service(Behavior(api_keys=("another",))) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                with pytest.raises(AuthenticationError, match="API key is invalid"):
                    async with tts.stream_static_text(TEXTS["ru"]) as audio:
                        await trio.sleep(0.01)
                        autojump_clock.jump(seconds)
                        await listen(audio)


@pytest.mark.parametrize("blocked", [0.0, 60.0])
async def test_a_dial_is_given_up_in_time(autojump_clock: trio.testing.MockClock, blocked: float) -> None:
    """P1: time in which the loop ran counts, and other time does not."""

    async def silent(_config: Any) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async def block() -> None:
        await trio.sleep(2)
        autojump_clock.jump(blocked)

    async with WebSocketConnectionManager(make_config(), open_stream=silent) as connections:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            with pytest.raises(TTSConnectionError, match="within 5 s"):
                await connections.connect()
        assert trio.current_time() == pytest.approx(blocked + 5, abs=0.15)
