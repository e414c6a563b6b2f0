"""A loop that stood still, over real sockets: the server is in another thread, and goes on meanwhile.

On MockClock more is tried: `unit/speech/test_deadlines.py` and `unit/transport/http/test_http_deadlines.py`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config
from tests.helpers.tls import certificates
from tts_trio import AudioChannel, Timeouts, TTSConfig, WebSocketConnectionManager, open_tts
from tts_trio.local_server import Behavior, Fault
from tts_trio.testing import server_in_a_thread

BLOCKED = 0.8  # seconds; all timeouts below are shorter
OVERDUE = Timeouts(first_audio=0.5, stall=0.5, reply=0.6)  # and yet longer than the server ever waits for a processor
QUICK = Behavior(model_latency=0.02, speed=200)  # what it has text for, it has said before the loop goes on
over = pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])


@contextmanager
def serving(behavior: Behavior, *, tls: bool) -> Generator[dict[str, Any]]:
    """The local server in another thread; yields what of the configuration says where it is."""
    theirs = ours = None
    if tls:
        theirs, ours = certificates().server, certificates().client
    with server_in_a_thread(behavior, ssl_context=theirs) as server:
        yield {"base_url": server.base_url, "ssl_context": ours}


def stand_still() -> None:
    time.sleep(BLOCKED)


def check_whole(audio: AudioChannel, sound: list[bytes], text: str, config: TTSConfig) -> None:
    """It was asked for once, and heard whole."""
    assert heard(b"".join(sound), config) == text
    assert audio.outcome is not None
    assert audio.outcome.end == "finished"
    assert audio.usage.replays == 0
    assert audio.usage.characters <= len(text) + 1  # with the blank that ends a phrase of a reply


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_reply(endpoint: str, at: int) -> None:
    """P33: the stall, the first audio and the whole reply are overdue when the loop goes on."""
    text = TEXTS["ru"]
    with serving(QUICK, tls=False) as where:
        config = make_config(endpoint, **where, timeouts=OVERDUE)
        async with open_tts(config) as tts, tts.start_llm_stream() as (channel, audio):
            await channel.send(text)
            channel.close()
            sound = [await audio.receive() for _ in range(at)]
            stand_still()
            sound.append(await listen(audio))
        check_whole(audio, sound, text, config)


@over
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("at", [0, 2])
async def test_a_static_text(at: int, cached: bool, tls: bool) -> None:
    """P33: the first audio, the stall and the whole text are overdue when the loop goes on."""
    text = TEXTS["ru"]
    with serving(QUICK, tls=tls) as where:
        config = make_config(**where, timeouts=OVERDUE, **({} if cached else {"audio_cache": None}))
        async with open_tts(config) as tts, tts.stream_static_text(text) as audio:
            sound = [await audio.receive() for _ in range(at)]
            if at == 0:
                await trio.sleep(0.02)
            stand_still()
            sound.append(await listen(audio))
        check_whole(audio, sound, text, config)


@over
@pytest.mark.parametrize("after", [0.0, 0.03])
async def test_a_dial_goes_on(after: float, tls: bool) -> None:
    """P33: in whatever step of it; the handshake is slow enough to be met in its middle."""
    slow = Behavior(faults=(Fault("delay", "accept", 0.02), Fault("delay", "answer", 0.02)))
    with serving(slow, tls=tls) as where:
        config = make_config(**where, timeouts=Timeouts(connect=0.6))
        async with WebSocketConnectionManager(config) as connections:

            async def block() -> None:
                await trio.sleep(after)
                stand_still()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(block)
                await connections.connect()
            assert connections.statistics().dials == 1
