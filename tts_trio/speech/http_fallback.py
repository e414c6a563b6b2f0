"""Speaks a reply phrase by phrase over HTTP when there is no WebSocket."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.wire.events import AudioReceived, Final
from tts_trio.wire.http import header_number, stream_request

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections


class PhrasesOverHttp:
    """Takes the place of a `Connection` for the phrases that are ready, mostly one.

    HTTP sends no times of the words. So each part of a reply that ends with a `Final` is short, and the text that was
    spoken by then is known.

    Attributes:
        trace_id: The service's trace id of the last request; None where it sent none.
    """

    def __init__(self, config: TTSConfig, http: HttpConnections, nursery: trio.Nursery) -> None:
        """Prepare. No request is made before the first phrase.

        Args:
            config: The voice and the settings.
            http: The hot HTTP connections.
            nursery: The nursery in which the requests are made.
        """
        self.trace_id: str | None = None
        self._config = config
        self._http = http
        self._nursery = nursery
        self._to_speak, self._phrases = trio.open_memory_channel[str](math.inf)
        self._scope = trio.CancelScope()

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        """Start the task that makes the requests.

        As with a `Connection`, `on_event` is called with the audio and the final, and `on_loss` with an error.
        """
        self._nursery.start_soon(self._run, on_event, on_loss)

    def send_text(self, phrase: str) -> None:
        """Queue a phrase, to be requested when the answers for those before it are complete."""
        self._to_speak.send_nowait(phrase)

    def end_text(self) -> None:
        """Do nothing: the answer to each request ends without it."""

    def close(self) -> None:
        """Cancel the request. Neither `on_event` nor `on_loss` is called afterwards."""
        self._scope.cancel(reason="the reply has left this connection")

    def abandon(self, _error: TTSError) -> None:
        """Do what `close` does: there is no socket to retire."""
        self.close()

    @trio.lowlevel.enable_ki_protection
    async def _run(
        self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]
    ) -> None:
        with self._scope:
            try:
                await self._speak(await self._phrases.receive(), on_event)
                while self._phrases.statistics().current_buffer_used:
                    await self._speak(await self._phrases.receive(), on_event)
            except TTSError as error:
                on_loss(error)
            else:
                on_event(Final())

    async def _speak(self, phrase: str, on_event: Callable[[AudioReceived | Final], None]) -> None:
        async with self._http.stream(stream_request(self._config, phrase)) as response:
            self.trace_id = response.headers.get("x-trace-id")
            allowed = header_number(response.headers, "maximum-concurrent-requests")
            if self._config.limiter is not None and allowed is not None:
                self._config.limiter.learn(allowed)
            async for chunk in response:
                on_event(AudioReceived(chunk))
