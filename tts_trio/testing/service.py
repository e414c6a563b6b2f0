"""The local server in memory, which every dial of a test reaches, and what was heard of the tone voice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import attrs
import trio

from tts_trio import TTSConfig, WebSocketConnectionManager
from tts_trio._nurseries import asynccontextmanager, single_error
from tts_trio.limits.hedging import budget_of_account, first_audio_times
from tts_trio.local_server import Behavior, LocalServer, Received, Requested, Sent, ToneVoice, read_tones
from tts_trio.static_text.memory_cache import process_cache
from tts_trio.static_text.openings import process_openings


@attrs.define(eq=False)
class Link(trio.abc.Stream):
    """The client's end of a connection to the service in memory.

    Attributes:
        stream: The stream in memory.
        frozen: True loses what either end sends from now on, as a middlebox does that has forgotten the connection.
    """

    stream: trio.abc.Stream
    frozen: bool = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data, or lose it."""
        if self.frozen:
            await trio.lowlevel.checkpoint()
        else:
            await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the window."""
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for data and return it; for ever where the connection is frozen."""
        data = await self.stream.receive_some(max_bytes)
        if self.frozen:
            await trio.sleep_forever()
        return data

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()


@attrs.define(eq=False)
class Service:
    """ElevenLabs' service in memory, which speaks with the tone voice. `memory_service` opens one.

    Attributes:
        server: The local server. A test sets its `behavior`, also in the middle of a reply, and reads its `records`.
        nursery: The nursery in which the connections are served.
        dial_time: How long a dial takes, in seconds.
        dials: How many dials there were.
        links: The client's end of each connection, in the order of the dials.
    """

    server: LocalServer
    nursery: trio.Nursery
    dial_time: float = 0.0
    dials: int = 0
    links: list[Link] = attrs.field(factory=list[Link])
    _run: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token, init=False)

    async def open_stream(self, config: TTSConfig) -> trio.abc.Stream:
        """Dial the service, whatever the host of the configuration; for `WebSocketConnectionManager(open_stream=)`.

        Raises:
            OSError: The server does not accept connections, since `server.stop_accepting` was called.
            RuntimeError: Another `trio.run` dials, such as that of `tts_trio.sync`.
        """
        if trio.lowlevel.current_trio_token() is not self._run:
            raise RuntimeError("the service in memory belongs to another trio.run; serve with server_in_a_thread()")
        self.dials += 1
        await trio.sleep(self.dial_time)
        self.links.append(Link(self.server.connect(self.nursery)))
        return self.links[-1]

    @contextmanager
    def answer_every_dial(self) -> Generator[None]:
        """Let `open_tts` and every new `WebSocketConnectionManager` of this process dial this service, in this block.

        A program under test needs no change for it. One that passes an `open_stream` of its own dials with that.
        """
        defaults = WebSocketConnectionManager.__init__.__kwdefaults__
        assert defaults is not None
        with patch.dict(defaults, open_stream=self.open_stream):
            yield

    def freeze(self) -> None:
        """Lose all that is sent on the connections there are, in both directions; neither end sees their end.

        New dials get connections that work.
        """
        for link in self.links:
            link.frozen = True

    def sockets(self) -> list[int]:
        """Return the numbers of the connections that became WebSockets, in the order of their requests."""
        records = self.server.records
        return [r.connection for r in records if isinstance(r, Requested) and r.path.endswith("-input")]

    def messages(self) -> list[Received]:
        """Return the text frames that came on the WebSockets."""
        return [r for r in self.server.records if isinstance(r, Received) and r.frame == "text"]

    def errors(self) -> list[str]:
        """Return the names of the errors that the service reported on the WebSockets."""
        return [r.error for r in self.server.records if isinstance(r, Sent) and r.kind == "error"]

    def texts(self, socket: int | None = None) -> list[tuple[float, str]]:
        """Return what the service was given to speak, with the times of trio's clock at which it came.

        The frame that opens a reply and a keep-alive have a text of one blank, and a reply ends with "".

        Args:
            socket: The WebSocket: 0 is the first one that was asked for. None: all of them, and the static texts that
                were requested over HTTP.
        """
        number = None if socket is None else self.sockets()[socket]
        found = list[tuple[float, str]]()
        for record in self.server.records:
            if isinstance(record, Received) and record.frame == "text" and number in {None, record.connection}:
                found.append((record.time, text_of(record.message)))
            elif isinstance(record, Requested) and record.method == "POST" and number is None:
                found.append((record.time, text_of(record.body)))
        return found


def text_of(message: dict[str, Any]) -> str:
    """Return the text in a frame or a request of the client; "" where it has none."""
    return "".join(line["text"] for line in message.get("inputs", [])) or message.get("text", "")


@asynccontextmanager
async def memory_service(behavior: Behavior | None = None, *, dial_time: float = 0.0) -> AsyncGenerator[Service]:
    """Serve in memory for as long as the block runs: no socket, no thread, so that `trio.testing.MockClock` may jump.

    Args:
        behavior: What the service does otherwise than by default: its speed, its faults, the account's quota.
        dial_time: How long a dial takes, in seconds.

    Raises:
        RuntimeError: The caller is not a trio task.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(
            "the service in memory needs trio, and this is not a trio task; mark the test with pytest.mark.trio, and "
            "leave pytest-asyncio, if it is installed, in its mode strict"
        )
    with single_error:
        async with trio.open_nursery() as nursery:
            yield Service(LocalServer(behavior, voice=ToneVoice()), nursery, dial_time)
            nursery.cancel_scope.cancel()


def forget_what_was_said() -> None:
    """Empty the caches in memory that the conversations of a process share, as they are when a process begins.

    What was learned of the times of the first audio, for `hedge`, is forgotten too.
    """
    for shared in (process_cache, process_openings, first_audio_times, budget_of_account):
        shared.cache_clear()


def heard(audio: bytes, config: TTSConfig | str) -> str:
    """Return the text that the tone voice spoke in this audio, each run of blanks in it as one.

    Args:
        audio: Any piece of audio. A character that is cut in it is not heard.
        config: The configuration, or its `output_format`: `pcm_*`, `ulaw_8000` or `alaw_8000`.

    Raises:
        ValueError: The format does not keep the samples (mp3, opus).
    """
    name = config if isinstance(config, str) else config.output_format
    return " ".join(read_tones(audio, name).split())
