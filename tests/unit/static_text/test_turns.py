"""How many turns of trio's loop a static text takes: each costs tens of microseconds, more in a busy process."""

from __future__ import annotations

import pytest
import trio

from tests.helpers.raw_server import receive_request, serving
from tts_trio import MemoryCache, TTSManager, WebSocketConnectionManager
from tts_trio.transport.http.stream import WatchedStream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 32000\r\n\r\n"


class Turns(trio.abc.Instrument):
    """Counts the turns."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.mark.parametrize(
    ("cache", "to_the_socket", "to_the_caller"),
    [(None, 1, 3), (MemoryCache(), 2, 4)],
    ids=["no cache", "cache"],
)
@pytest.mark.parametrize("over", ["TCP", "TLS"])
@pytest.mark.parametrize("text", ["Good day!", "Добрый день!"])
async def test_a_request_leaves_at_once_and_audio_is_passed_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
    over: str,
    text: str,
    cache: MemoryCache | None,
    to_the_socket: int,
    to_the_caller: int,
) -> None:
    """P10: its task begins, and with a cache a second one, which others may join; nothing else waits for a turn.

    What comes is read, passed to the task of the request, with a cache to the one of the text, and to the caller.
    """
    turns = Turns()
    written: list[int] = []
    answered: list[int] = []
    send = WatchedStream.send

    async def note(self: WatchedStream, data: bytes, deadline: float) -> None:
        written.append(turns.count)
        await send(self, data, deadline)

    async def script(stream: trio.abc.Stream) -> None:
        while True:
            await receive_request(stream)
            await trio.sleep(0.01)
            answered.append(turns.count)
            await stream.send_all(HEAD + bytes([0, 1]) * 8000)
            await trio.sleep(0.01)
            await stream.send_all(bytes([0, 1]) * 8000)

    monkeypatch.setattr(WatchedStream, "send", note)
    async with serving(over, script) as (config, opener):
        config = config.evolve(audio_cache=cache, endpoint="stream-input")
        async with (
            WebSocketConnectionManager(config, open_stream=opener) as connections,
            TTSManager(config, connections) as tts,
        ):
            await trio.sleep(0.1)
            trio.lowlevel.add_instrument(turns)
            called = turns.count
            async with tts.stream_static_text(text) as audio:
                await audio.receive()
                received = turns.count
            trio.lowlevel.remove_instrument(turns)
    assert written[0] - called == to_the_socket
    assert received - answered[0] == to_the_caller + (over == "TLS")  # the server's `trio.SSLStream` takes a turn
