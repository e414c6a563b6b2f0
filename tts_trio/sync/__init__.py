"""The same without `async`, for scripts, notebooks and threads: `with` for `async with`, `for` for `async for`.

    from tts_trio import TTSConfig
    from tts_trio.sync import open_tts

    with open_tts(TTSConfig.from_env()) as tts:
        with tts.speak(llm_tokens) as audio:
            for chunk in audio:
                play(chunk)

All threads of the process share one loop of trio's, in a thread of its own that lives as long as any of them needs it.
Every object may be used by any thread. Leaving the block of an utterance, by Ctrl-C too, is the barge-in; what is told
about the utterance stays valid then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
import trio
from anyio.from_thread import BlockingPortal

from tts_trio import connection_manager, manager
from tts_trio.config.config import TTSConfig
from tts_trio.config.validators import require
from tts_trio.connection_manager import ConnectionStatistics
from tts_trio.speech import channels, playout
from tts_trio.speech.alignment import Word
from tts_trio.speech.channels import Usage
from tts_trio.speech.results import Outcome, Timeline
from tts_trio.sync.loop import Deferred, Inside, call, contextmanager, enter, shared_loop

T = TypeVar("T")


class _Scoped(ABC):
    """An object whose `with` block is entered once."""

    _portal: BlockingPortal | None = None

    @abstractmethod
    def _run(self) -> AbstractContextManager[BlockingPortal]:
        """Return what happens around the body of the block."""

    @property
    def portal(self) -> BlockingPortal:
        """Where it lives, while its block is open."""
        if self._portal is None:
            raise RuntimeError(f"{type(self).__name__}: use it inside of its `with` block")
        return self._portal

    def __enter__(self) -> Self:
        """Begin, in the background; returns at once.

        Raises:
            RuntimeError: It was entered before; or this is a task of trio's, whose loop it would hold up.
        """
        if trio.lowlevel.in_trio_run():
            raise RuntimeError(
                f"tts_trio.sync.{type(self).__name__} would hold up this loop of trio's; use `async with`, and what "
                "tts_trio has under the same name, such as tts_trio.open_tts"
            )
        block = self._run()
        return enter(lambda: self._enter(block), self.__exit__)

    def _enter(self, block: AbstractContextManager[BlockingPortal]) -> Self:
        self._portal = block.__enter__()  # raises where it was entered before, and the first block stays
        self._block = block
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """End everything, in bounded time."""
        with Deferred():
            self._portal = None
            return self._block.__exit__(kind, error, traceback)


class WebSocketConnectionManager(_Scoped):
    """The hot connections of one conversation; see `tts_trio.WebSocketConnectionManager`.

    Attributes:
        remote: That manager, in the loop.
        open_blocks: What ends the blocks of the conversation that were not left, as after an interrupt.
    """

    def __init__(self, config: TTSConfig) -> None:
        """Prepare a manager; it dials when its block is entered."""
        self.config = config
        self.remote = connection_manager.WebSocketConnectionManager(config)
        self.open_blocks = set[trio.CancelScope]()

    @contextmanager
    def _run(self) -> Generator[BlockingPortal]:
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
        """Wait until a connection is hot.

        Raises:
            TTSConnectionError: There is none within `connect_timeout`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed or was not entered.
        """
        call(self.portal, self.remote.connect)

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections and what was done so far."""
        return self.portal.call(self.remote.statistics)

    def close(self) -> None:
        """End the manager: sockets are closed, the idle ones with a goodbye, in `close_timeout` at most."""
        self.portal.call(self.remote.close)


@attrs.frozen
class _Remote:
    """An audio channel in the loop, asked from other threads."""

    audio: channels.AudioChannel
    portal: BlockingPortal

    def ask(self, question: Callable[[], T]) -> T:
        """Ask over there, where it changes; when it is closed it does not, and there may be nobody left to ask."""
        try:
            return question() if self.audio.closed else self.portal.call(question)
        except RuntimeError:
            if not self.audio.closed:
                raise
            return question()  # it was closed, and the loop ended, in between

    def receive(self, pieces: trio.abc.ReceiveChannel[bytes]) -> bytes:
        """Wait for the next piece of the channel, or of one that is made of it."""
        try:
            return call(self.portal, pieces.receive)
        except RuntimeError:
            if not self.audio.closed:
                raise
            raise trio.ClosedResourceError("this audio channel was closed") from None  # and its loop has ended

    def each(self, pieces: trio.abc.ReceiveChannel[bytes]) -> Generator[bytes]:
        """Give what comes out of the channel, or out of one that is made of it."""
        while True:
            try:
                piece = self.receive(pieces)
            except trio.EndOfChannel:
                return
            except trio.ClosedResourceError:
                if self.audio.dismissed:
                    return
                raise
            yield piece


class AudioChannel:
    """The sound of one utterance as it comes; see `tts_trio.AudioChannel`.

    An iteration ends with the utterance, or when another thread calls `close`: `outcome` tells which.

    Attributes:
        remote: That channel, in the loop.
    """

    def __init__(self, audio: channels.AudioChannel, portal: BlockingPortal) -> None:
        self.format = audio.format
        self.remote = _Remote(audio, portal)

    def __iter__(self) -> Generator[bytes]:
        return self.remote.each(self.remote.audio)

    def receive(self) -> bytes:
        """Return the next piece of audio; raises what `tts_trio.AudioChannel.receive` does."""
        return self.remote.receive(self.remote.audio)

    def frames(self, ms: int = 20) -> Generator[bytes]:
        """Give this audio in frames of one length, as they come; see `tts_trio.AudioChannel.frames`."""
        return self.remote.each(self.remote.audio.frames(ms))

    def close(self) -> None:
        """Interrupt what is not finished, and drop what was not delivered; see `tts_trio.AudioChannel.close`.

        From any thread. When it is closed already, or its block was left, this does nothing.
        """
        self.remote.ask(self.remote.audio.close)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known so far; times are in milliseconds of this audio."""
        return self.remote.ask(lambda: self.remote.audio.words)

    def spoken(self, until_ms: float) -> str:
        """Return the text that is heard in the first `until_ms` milliseconds of this audio, in whole words."""
        return self.remote.ask(lambda: self.remote.audio.spoken(until_ms))

    @property
    def timeline(self) -> Timeline:
        """When its parts happened, by the clock of the loop that all threads share."""
        return self.remote.ask(lambda: self.remote.audio.timeline)

    @property
    def usage(self) -> Usage:
        """What it cost, and the service's ids of it."""
        return self.remote.ask(lambda: self.remote.audio.usage)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended and what was delivered; None while it goes on."""
        return self.remote.ask(lambda: self.remote.audio.outcome)


class PacedFrames:
    """The frames of an utterance when they are due; see `tts_trio.PacedFrames`."""

    def __init__(self, frames: playout.PacedFrames, audio: AudioChannel) -> None:
        self._frames = frames
        self._audio = audio

    def __iter__(self) -> Generator[bytes]:
        return self._audio.remote.each(self._frames)

    @property
    def played_ms(self) -> float:
        """How much the caller has heard, in milliseconds: until now, or until the audio was closed."""
        return self._audio.remote.ask(lambda: self._frames.played_ms)

    @property
    def unplayed_ms(self) -> float:
        """How much audio came from the service and was not played, in milliseconds; the lead is a part of it."""
        return self._audio.remote.ask(lambda: self._frames.unplayed_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard nothing because no frame was there when it was due."""
        return self._audio.remote.ask(lambda: self._frames.underruns)

    @property
    def underrun_ms(self) -> float:
        """How long these silences were, all together, in milliseconds."""
        return self._audio.remote.ask(lambda: self._frames.underrun_ms)


def paced(audio: AudioChannel, lead: float = 0.2, *, ms: int = 20) -> PacedFrames:
    """Give the audio of an utterance by the clock, in frames; see `tts_trio.paced`."""
    return PacedFrames(audio.remote.ask(lambda: playout.paced(audio.remote.audio, lead, ms=ms)), audio)


class TextChannel:
    """The text of one reply, in pieces of any size; see `tts_trio.TextChannel`."""

    def __init__(self, text: channels.TextChannel, portal: BlockingPortal) -> None:
        self._text = text
        self._portal = portal

    def send(self, value: str | None) -> None:
        """Add a piece of text, from any thread; raises what `tts_trio.TextChannel.send` does."""
        self._portal.call(self._text.send_nowait, value)

    def close(self) -> None:
        """Say that the reply is complete: its rest is spoken, and the audio ends after it."""
        self._portal.call(self._text.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._text.__exit__, kind, error, traceback)


class TTSManager(_Scoped):
    """Speaks for one conversation; see `tts_trio.TTSManager`."""

    def __init__(self, config: TTSConfig, connection_manager: WebSocketConnectionManager) -> None:
        """Prepare a manager.

        Args:
            config: The voice, the format, the deadlines.
            connection_manager: The hot connections of the same conversation, entered before and left after this.

        Raises:
            TypeError: `config` is no `TTSConfig`, or `connection_manager` none of this module.
            ConfigurationError: `config` differs from the connections' in what belongs to a socket for its life.
        """
        require("connection_manager", connection_manager, WebSocketConnectionManager)
        self.config = config
        self.connections = connection_manager
        self._manager = manager.TTSManager(config, connection_manager.remote)

    @contextmanager
    def _run(self) -> Generator[BlockingPortal]:
        with Inside(self.connections.portal, lambda: self._manager, self.connections.open_blocks):
            yield self.connections.portal

    def _inside(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Inside[T]:
        return Inside(self.portal, make, self.connections.open_blocks)

    @contextmanager
    def stream_static_text(self, text: str, **options: Any) -> Generator[AudioChannel]:
        """Speak a phrase that is known as a whole; see `tts_trio.TTSManager.stream_static_text`, its options too."""
        with self._inside(lambda: self._manager.stream_static_text(text, **options)) as audio:
            yield AudioChannel(audio, self.portal)

    def prefetch(self, phrases: Iterable[str], *, on_phrase: Callable[[str], object] = lambda _phrase: None) -> None:
        """Put phrases into the cache, so that they are said later without waiting for the service.

        What this conversation has to say comes first. Raises what `tts_trio.TTSManager.prefetch` does.

        Args:
            phrases: The texts, each of up to 1,000 characters.
            on_phrase: Called with each one that is in the cache, in the loop that all threads share: it is to be quick,
                and to use nothing of this module.
        """
        texts = phrases if isinstance(phrases, str) else list(phrases)  # which may block; the loop may not
        call(self.portal, partial(self._manager.prefetch, texts, on_phrase=on_phrase))

    @contextmanager
    def start_llm_stream(self) -> Generator[tuple[TextChannel, AudioChannel]]:
        """Speak an LLM's reply as it is written; see `tts_trio.TTSManager.start_llm_stream`."""
        with self._inside(self._manager.start_llm_stream) as (text, audio):
            yield TextChannel(text, self.portal), AudioChannel(audio, self.portal)

    @contextmanager
    def speak(self, tokens: Iterable[str | None]) -> Generator[AudioChannel]:
        """Speak the text of an iterable as it comes.

        Args:
            tokens: Pieces of text of any size; "" and None are skipped. It is iterated in a thread of its own, so it
                may block, and audio comes meanwhile; a wait of its for the next token outlives an interruption, whose
                token is dropped. A `str` is one piece.

        Raises what `tts_trio.TTSManager.speak` does.
        """
        pieces = tokens if isinstance(tokens, str) else _from_a_thread(tokens)
        with self._inside(lambda: self._manager.speak(pieces)) as audio:
            yield AudioChannel(audio, self.portal)


async def _from_a_thread(tokens: Iterable[str | None]) -> AsyncGenerator[str | None]:  # noqa: ASYNC900 - closed by `speak`
    iterator = iter(tokens)
    own_thread = trio.CapacityLimiter(1)  # not one of the 40 that DNS lookups share
    while token := await trio.to_thread.run_sync(_next, iterator, abandon_on_cancel=True, limiter=own_thread):
        yield token[0]


def _next(iterator: Iterator[str | None]) -> tuple[str | None] | None:
    """Take the next token, in a tuple; None when there is none. `StopIteration` cannot pass through a coroutine."""
    for token in iterator:
        return (token,)
    return None


@contextmanager
def open_tts(config: TTSConfig) -> Generator[TTSManager]:
    """Open the hot connections and the manager of one conversation in one line; see `tts_trio.open_tts`."""
    with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
        yield tts
