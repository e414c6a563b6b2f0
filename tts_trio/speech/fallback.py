"""Speaks a reply phrase by phrase where there is no WebSocket: over HTTP, or by a function of the user's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import is_v3
from tts_trio.config.protocols import SecondSource
from tts_trio.errors import TTSError, unexpected
from tts_trio.wire.events import AudioReceived, Final
from tts_trio.wire.http import TimedLines, header_number, stream_request

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

OnEvent: TypeAlias = Callable[[AudioReceived | Final], None]

_MOST_CONTEXT = 500  # characters of what was said before, which a request names for the intonation


class PhraseByPhrase(ABC):
    """Takes the place of a `Connection` for the phrases that are ready, mostly one.

    Attributes:
        trace_id: The service's trace id of the last request; None where there is none.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        """Prepare. Nothing is asked before the first phrase.

        Args:
            nursery: The nursery of the task that asks.
        """
        self.trace_id: str | None = None
        self._nursery = nursery
        self._to_speak, self._phrases = trio.open_memory_channel[str](math.inf)
        self._scope = trio.CancelScope()

    def take(self, on_event: OnEvent, on_loss: Callable[[TTSError], None]) -> None:
        """Start the task.

        As with a `Connection`, `on_event` is called with the audio and the final, and `on_loss` with an error.
        """
        self._nursery.start_soon(self._run, on_event, on_loss)

    def send_text(self, *phrases: str, ends: bool = False) -> None:
        """Queue phrases, to be asked for one after another, when the audio of those before is complete."""
        for phrase in phrases:
            self._to_speak.send_nowait(phrase)

    def close(self) -> None:
        """Cancel the task. Neither `on_event` nor `on_loss` is called afterwards."""
        self._scope.cancel(reason="the reply has left this connection")

    def abandon(self, _error: TTSError) -> None:
        """Do what `close` does: there is no socket to retire."""
        self.close()

    @trio.lowlevel.enable_ki_protection
    async def _run(self, on_event: OnEvent, on_loss: Callable[[TTSError], None]) -> None:
        with self._scope:
            try:
                await self._speak(await self._phrases.receive(), on_event)
                while self._phrases.statistics().current_buffer_used:
                    await self._speak(await self._phrases.receive(), on_event)
            except TTSError as error:
                on_loss(error)
            else:
                on_event(Final())

    @abstractmethod
    async def _speak(self, phrase: str, on_event: OnEvent) -> None:
        """Pass the audio of a phrase to `on_event`; raise a `TTSError` where there is none."""


class PhrasesOverHttp(PhraseByPhrase):
    """Requests each phrase over HTTP, with the times of its words, and with what was said before it."""

    def __init__(self, config: TTSConfig, http: HttpConnections, said: str, nursery: trio.Nursery) -> None:
        """Prepare.

        Args:
            config: The voice and the settings.
            http: The hot HTTP connections.
            said: The text of the reply before these phrases.
            nursery: As above.
        """
        super().__init__(nursery)
        self._config = config
        self._http = http
        self._said = said

    async def _speak(self, phrase: str, on_event: OnEvent) -> None:
        config = self._config
        context = None if is_v3(config.model_id) else _last_words(self._said)
        lines = TimedLines()
        async with self._http.stream(stream_request(config, phrase, previous_text=context, timed=True)) as response:
            self.trace_id = response.headers.get("x-trace-id")
            allowed = header_number(response.headers, "maximum-concurrent-requests")
            if config.limiter is not None and allowed is not None:
                config.limiter.learn(allowed)
            async for chunk in response:
                for piece in lines.feed(chunk):
                    on_event(piece)
            for piece in lines.end():
                on_event(piece)
        self._said += phrase


class PhrasesElsewhere(PhraseByPhrase):
    """Asks a function of the user's for the audio of each phrase. It sends no times of the words."""

    def __init__(self, config: TTSConfig, source: SecondSource, nursery: trio.Nursery) -> None:
        """Prepare.

        Args:
            config: The format.
            source: The function.
            nursery: As above.
        """
        super().__init__(nursery)
        self._format = config.format
        self._source = source

    async def _speak(self, phrase: str, on_event: OnEvent) -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(_its_errors())
            pieces = self._source(phrase, self._format)
            if isinstance(pieces, AsyncGenerator):
                stack.push_async_callback(pieces.aclose)
            async for piece in pieces:
                on_event(AudioReceived(_checked(piece)))
                await trio.lowlevel.checkpoint()  # a function that never waits would hold the loop


def _checked(piece: object) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise TypeError(f"fallback must give bytes, not {type(piece).__name__}")
    return bytes(piece)  # pyright: ignore[reportUnknownArgumentType] - a memoryview of whatever


@contextmanager
def _its_errors() -> Generator[None]:
    """Turn an exception of the function into a `TTSError`, of which it is the cause."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - of the user's code
        failure = unexpected("fallback", error)
        raise failure from failure.__cause__


def _last_words(text: str) -> str:
    """The whole words at the end of a text."""
    return text if len(text) <= _MOST_CONTEXT else text[-_MOST_CONTEXT:].partition(" ")[2]
