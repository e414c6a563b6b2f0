"""The managers of a conversation, without `async`: each is a `with` block over the async manager of the same name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import trio

from tts_trio import connection_manager, manager
from tts_trio.config.config import TTSConfig
from tts_trio.config.filler import Filler
from tts_trio.config.formats import AudioFormat
from tts_trio.config.validators import require
from tts_trio.config.voice import VoiceSettings
from tts_trio.connection_manager import ConnectionStatistics
from tts_trio.speech import line
from tts_trio.sync.channels import AudioChannel, PacedFrames, TextChannel
from tts_trio.sync.loop import Deferred, Inside, Portal, call, contextmanager, enter, refuse_in_trio, shared_loop

T = TypeVar("T")


class WithBlock(ABC):
    """An object whose `with` block can be entered once. A subclass gives the block as `_run`."""

    _portal: Portal | None = None

    @abstractmethod
    def _run(self) -> AbstractContextManager[Portal]:
        """Return the context manager of the block."""

    def _require_open(self) -> Portal:
        """Return the portal to the loop; it raises RuntimeError where the block is not open."""
        if self._portal is None:
            raise RuntimeError(f"{type(self).__name__}: use it inside of its `with` block")
        return self._portal

    def __enter__(self) -> Self:
        """Start the background tasks, and return without waiting for them.

        Raises:
            RuntimeError: The block was entered before, or the caller is a trio task, whose loop it would block.
        """
        refuse_in_trio(f"tts_trio.sync.{type(self).__name__}")
        block = self._run()
        return enter(lambda: self._enter(block), self.__exit__)

    def _enter(self, block: AbstractContextManager[Portal]) -> Self:
        self._portal = block.__enter__()  # raises where it was entered before, and changes nothing then
        self._block = block
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Stop the background tasks, in a bounded time."""
        with Deferred():
            self._portal = None
            return self._block.__exit__(kind, error, traceback)


class WebSocketConnectionManager(WithBlock):
    """The hot connections of one conversation; see `tts_trio.WebSocketConnectionManager`.

    Attributes:
        config: The host, the voice, the API key and the timeouts.
        remote: The `tts_trio.WebSocketConnectionManager` in the loop.
        open_blocks: The scopes of the conversation's open blocks. The end of the conversation cancels them, since an
            interrupt may have kept a thread from leaving them.
    """

    def __init__(self, config: TTSConfig) -> None:
        """Prepare a manager; it dials when its block is entered."""
        self.config = config
        self.remote: connection_manager.WebSocketConnectionManager = connection_manager.WebSocketConnectionManager(
            config
        )
        self.open_blocks: set[trio.CancelScope] = set()

    @contextmanager
    def _run(self) -> Generator[Portal]:
        with shared_loop() as portal, Inside(portal, self._keep_remote, set()):
            yield portal

    @asynccontextmanager
    async def _keep_remote(self) -> AsyncGenerator[None]:
        async with self.remote:
            try:
                yield
            finally:
                for scope in self.open_blocks:
                    scope.cancel(reason="the conversation was left")

    def connect(self) -> None:
        """Wait until a connection is hot. This is optional: the first utterance waits too.

        Raises:
            TTSConnectionError: There was no connection within `timeouts.connect`; another call tries again.
            TTSError: A retry cannot help: a wrong API key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed, or was not entered.
        """
        call(self._require_open(), self.remote.connect)

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections, and the counts since the beginning."""
        return self._require_open().call(self.remote.statistics)

    def close(self) -> None:
        """Close all sockets, those that are idle with the closing handshake, within `timeouts.close`."""
        call(self._require_open(), self.remote.close)


class Line(WithBlock):
    """The frames of a line that wants one every `ms` milliseconds, for a whole call; see `tts_trio.Line`.

    One thread takes the frames, `for frame in line`, until another one leaves the block of the line.
    """

    def __init__(self, format: AudioFormat, ms: int = 20) -> None:  # noqa: A002 - as `tts_trio.Line`
        """Make the line of a call; it raises what `tts_trio.Line` does."""
        self.format: AudioFormat = format
        self._line = line.Line(format, ms)

    @contextmanager
    def _run(self) -> Generator[Portal]:
        with shared_loop() as portal:
            try:
                yield portal
            finally:
                portal.call(self._line.close)

    def play(self, audio: AudioChannel) -> PacedFrames:
        """Play an utterance, after those that are played; see `tts_trio.Line.play`, which raises the same errors."""
        return PacedFrames(self._require_open().call(self._line.play, audio.remote.audio), audio)

    def receive(self) -> bytes:
        """Wait until the next frame is due, and return it; it raises what `tts_trio.Line.receive` does."""
        return call(self._require_open(), self._line.receive)

    def __iter__(self) -> Generator[bytes]:
        portal = self._require_open()
        while True:
            try:
                frame = call(portal, self._line.receive)
            except trio.ClosedResourceError:
                return
            except RuntimeError:
                if self._portal is portal:
                    raise
                return  # the block of the line was left, and the loop has ended
            yield frame

    def close(self) -> None:
        """Close the line at the end of the call: an iteration ends, and what is played is interrupted."""
        if self._portal is not None:
            self._portal.call(self._line.close)


class TTSManager(WithBlock):
    """Speaks for one conversation; see `tts_trio.TTSManager`.

    Attributes:
        config: The voice, the format and the timeouts.
        connections: The connection manager.
    """

    def __init__(self, config: TTSConfig, connection_manager: WebSocketConnectionManager) -> None:
        """Prepare a manager.

        Args:
            config: The voice, the format and the timeouts.
            connection_manager: The hot connections of the same conversation. Its block must be around this one's.

        Raises:
            TypeError: `config` is not a `TTSConfig`, or `connection_manager` not of this module's class.
            ConfigurationError: A field that holds for the whole life of a socket differs from the configuration of
                `connection_manager`; the message names the field.
        """
        require("connection_manager", connection_manager, WebSocketConnectionManager)
        self.config = config
        self.connections = connection_manager
        self._manager = manager.TTSManager(config, connection_manager.remote)

    @contextmanager
    def _run(self) -> Generator[Portal]:
        with Inside(self.connections._require_open(), lambda: self._manager, self.connections.open_blocks):
            yield self.connections._require_open()

    def _inside(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Inside[T]:
        return Inside(self._require_open(), make, self.connections.open_blocks)

    @contextmanager
    def stream_static_text(
        self,
        text: str,
        *,
        previous_text: str | None = None,
        next_text: str | None = None,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
    ) -> Generator[AudioChannel]:
        """Speak a text that is known as a whole; see `tts_trio.TTSManager.stream_static_text`."""
        make = partial(
            self._manager.stream_static_text,
            text,
            previous_text=previous_text,
            next_text=next_text,
            voice=voice,
            settings=settings,
            language_code=language_code,
            model=model,
        )
        with self._inside(make) as audio:
            yield AudioChannel(audio, self._require_open())

    def prefetch(self, texts: Iterable[str], *, on_cached: Callable[[str], object] = lambda _text: None) -> None:
        """Put the audio of texts into the cache; see `tts_trio.TTSManager.prefetch`, which raises the same errors.

        Args:
            texts: The texts, each of up to 1,000 characters.
            on_cached: A function that is called with each text whose audio is in the cache. The loop that all threads
                share calls it, so it must return soon, and must not use this module.
        """
        given = texts if isinstance(texts, str) else list(texts)  # iterating may block, which the loop must not
        call(self._require_open(), partial(self._manager.prefetch, given, on_cached=on_cached))

    def prefetch_openings(self, openings: Iterable[str]) -> None:
        """Keep texts with which LLM replies begin; see `tts_trio.TTSManager.prefetch_openings`.

        Args:
            openings: The texts, of phrases of up to 60 characters each.

        It raises what `tts_trio.TTSManager.prefetch_openings` does.
        """
        given = openings if isinstance(openings, str) else list(openings)  # as in `prefetch`
        call(self._require_open(), partial(self._manager.prefetch_openings, given))

    def expect(
        self,
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
    ) -> None:
        """Make a connection ready for a reply with another voice, or another of these values; it does not wait.

        See `tts_trio.TTSManager.expect`, which raises the same errors.
        """
        expect = self._manager.expect
        self._require_open().call(
            lambda: expect(voice=voice, settings=settings, language_code=language_code, model=model)
        )

    @contextmanager
    def start_llm_stream(
        self,
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
        filler: Filler | None = None,
    ) -> Generator[tuple[TextChannel, AudioChannel]]:
        """Speak an LLM's reply as it is written; see `tts_trio.TTSManager.start_llm_stream`."""
        make = partial(
            self._manager.start_llm_stream,
            voice=voice,
            settings=settings,
            language_code=language_code,
            model=model,
            filler=filler,
        )
        with self._inside(make) as (text, audio):
            yield TextChannel(text, self._require_open()), AudioChannel(audio, self._require_open())

    @contextmanager
    def speak(
        self,
        tokens: Iterable[str | None],
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
        filler: Filler | None = None,
    ) -> Generator[AudioChannel]:
        """Speak the text of an iterable as it comes.

        Args:
            tokens: An iterable of pieces of text of any size; "" and None are skipped, and a `str` is one piece. A
                thread of its own iterates over it, so it may block while audio comes. If it blocks when the utterance
                is interrupted, the thread waits for the next token and drops it.
            voice: The id of the voice for this reply; None: the configuration's.
            settings: The voice settings for this reply; None: the configuration's.
            language_code: The language of this reply; None: the configuration's.
            model: The id of the model for this reply; None: the configuration's.
            filler: What is said while no text comes; None: nothing.

        It raises what `tts_trio.TTSManager.speak` does.
        """
        pieces = tokens if isinstance(tokens, str) else _from_a_thread(tokens)
        make = partial(
            self._manager.speak,
            pieces,
            voice=voice,
            settings=settings,
            language_code=language_code,
            model=model,
            filler=filler,
        )
        with self._inside(make) as audio:
            yield AudioChannel(audio, self._require_open())


async def _from_a_thread(tokens: Iterable[str | None]) -> AsyncGenerator[str | None]:  # noqa: ASYNC900 - closed by `speak`
    iterator = iter(tokens)
    own_thread = trio.CapacityLimiter(1)  # the default limiter's 40 threads are for DNS lookups too
    while token := await trio.to_thread.run_sync(_next, iterator, abandon_on_cancel=True, limiter=own_thread):
        yield token[0]


def _next(iterator: Iterator[str | None]) -> tuple[str | None] | None:
    """Return the next token in a tuple; None at the end, since a coroutine cannot raise `StopIteration`."""
    for token in iterator:
        return (token,)
    return None


@contextmanager
def open_tts(config: TTSConfig) -> Generator[TTSManager]:
    """Open the hot connections and the manager of one conversation in one line; see `tts_trio.open_tts`."""
    with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
        yield tts
