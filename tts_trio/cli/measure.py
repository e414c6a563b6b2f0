"""Measures the time to the first audio in its parts, for the rounds of `tts-trio probe`."""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import attrs
import trio

from tts_trio.config.config import TTSConfig
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.errors import EmptyAudioError, ServiceTimeoutError, TTSError
from tts_trio.transport.connection import Connection
from tts_trio.transport.tcp import forget_addresses
from tts_trio.wire.events import AudioReceived, Final
from tts_trio.wire.http import stream_request

Passed: TypeAlias = Callable[[str], None]
Dial: TypeAlias = Callable[[TTSConfig, Passed], Awaitable[trio.abc.Stream]]
"""A function that opens a stream, and calls `passed` after each step, as `transport.streams.open_stream` does."""

STEPS = ("DNS", "TCP", "proxy", "TLS", "upgrade", "audio")
"""The steps to the first audio, in their order. A round may not have all of them."""


@attrs.frozen
class Sample:
    """One round over the WebSocket or over HTTP.

    Attributes:
        steps: The seconds of each step from no connection to the first audio, by their names in `STEPS`.
        cold: The seconds from no connection to the first audio: the sum of `steps`.
        hot: The seconds from the text to the first audio over a hot connection.
        region: The region of the service that answered (`x-region`), or None.
    """

    steps: Mapping[str, float]
    cold: float
    hot: float
    region: str | None = None


class _Steps:
    """Times the steps of the first dial."""

    def __init__(self, dial: Dial) -> None:
        self.seconds: dict[str, float] = {}
        self.began = self._last = trio.current_time()
        self._dial = dial
        self._dials = 0

    def passed(self, step: str) -> None:
        """Note that a step is done."""
        now = trio.current_time()
        self.seconds[step] = now - self._last
        self._last = now

    async def open_stream(self, config: TTSConfig) -> trio.abc.Stream:
        """Open a stream. Only the first one is timed; the others are spares."""
        self._dials += 1
        if self._dials > 1:
            return await self._dial(config, lambda step: None)
        forget_addresses()
        trio.socket.set_custom_hostname_resolver(_Resolver(self.passed))
        try:
            return await self._dial(config, self.passed)
        finally:
            trio.socket.set_custom_hostname_resolver(None)

    def sample(self, hot: float, region: str | None = None) -> Sample:
        """Return the sample of this round."""
        return Sample(self.seconds, sum(self.seconds.values()), hot, region)


@attrs.frozen
class _Resolver(trio.abc.HostnameResolver):
    """Resolves host names as trio does, and calls `passed` after it."""

    passed: Passed

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the standard library's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        found = await trio.to_thread.run_sync(
            partial(socket.getaddrinfo, host, port, family, type, proto, flags), abandon_on_cancel=True
        )
        self.passed("DNS")
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)


async def measure_websocket(config: TTSConfig, text: str, dial: Dial) -> Sample:
    """Speak a text over a new WebSocket, and then over a hot one.

    Raises:
        TTSError: There was no connection, or no audio.
    """
    steps = _Steps(dial)
    async with WebSocketConnectionManager(config, open_stream=steps.open_stream) as connections:
        async with connections.get_connection() as connection:
            steps.passed("upgrade")
            await _first_audio(config, connection, text)
        steps.passed("audio")
        await connections.connect()
        began = trio.current_time()
        async with connections.get_connection() as connection:
            await _first_audio(config, connection, text)
        return steps.sample(trio.current_time() - began)


async def _first_audio(config: TTSConfig, connection: Connection, text: str) -> None:
    """Speak a text, and return at its first audio. The end of the caller's block interrupts the rest."""
    results, came = trio.open_memory_channel[AudioReceived | Final | TTSError](math.inf)
    connection.take(results.send_nowait, results.send_nowait)
    connection.send_text(f"{text} ", ends=True)
    try:
        with trio.fail_after(config.timeouts.reply):
            result = await came.receive()
    except trio.TooSlowError:
        raise ServiceTimeoutError(f"the service sent no audio within {config.timeouts.reply:g} s") from None
    if isinstance(result, TTSError):
        raise result
    if isinstance(result, Final):
        raise EmptyAudioError("the service reported the end and sent no audio for the text")


async def measure_http(config: TTSConfig, text: str, dial: Dial) -> Sample:
    """Request a text over a new HTTP connection, and then over the same one.

    Raises:
        TTSError: There was no connection, or no audio.
    """
    from tts_trio.transport.http import HttpConnections  # as everywhere: httpx is loaded late

    steps = _Steps(dial)
    request = stream_request(config, text)
    async with HttpConnections(config, open_stream=steps.open_stream) as http:
        async with http.stream(request) as answer:
            async for _ in answer:
                if "audio" not in steps.seconds:
                    steps.passed("audio")
        began = trio.current_time()
        async with http.stream(request) as answer:
            async for _ in answer:
                return steps.sample(trio.current_time() - began, answer.headers.get("x-region"))
    raise EmptyAudioError("the service answered without audio")
