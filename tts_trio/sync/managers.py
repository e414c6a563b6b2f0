"""The objects of one conversation, without `async`: each is a `with` block over the async one of the same name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import trio
from anyio.from_thread import BlockingPortal

from tts_trio import connection_manager, manager
from tts_trio.config.config import TTSConfig
from tts_trio.config.validators import require
from tts_trio.config.voice import VoiceSettings
from tts_trio.connection_manager import ConnectionStatistics
from tts_trio.sync.channels import AudioChannel, TextChannel
from tts_trio.sync.loop import Deferred, Inside, call, contextmanager, enter, shared_loop

T = TypeVar("T")


class WithBlock(ABC):
    """An object whose `with` block is entered once."""

    _portal: BlockingPortal | None = None

    @abstractmethod
    def _run(self) -> AbstractContextManager[BlockingPortal]:
        """Return what happens around the body of the block."""

    def _require_open(self) -> BlockingPortal:
        """Return the way to where it lives, while its block is open."""
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


class WebSocketConnectionManager(WithBlock):
    """The hot connections of one conversation; see `tts_trio.WebSocketConnectionManager`.

    Attributes:
        remote: That manager, in the loop.
        open_blocks: What ends the blocks of the conversation that were not left, as after an interrupt.
    """

    def __init__(self, config: TTSConfig) -> None:
        """Prepare a manager; it dials when its block is entered."""
        self.config = config
        self.remote: connection_manager.WebSocketConnectionManager = connection_manager.WebSocketConnectionManager(
            config
        )
        self.open_blocks: set[trio.CancelScope] = set()

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
            TTSConnectionError: There is none within `timeouts.connect`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed or was not entered.
        """
        call(self._require_open(), self.remote.connect)

    def statistics(self) -> ConnectionStatistics:
        """Return the state of the connections and what was done so far."""
        return self._require_open().call(self.remote.statistics)

    def close(self) -> None:
        """End the manager: sockets are closed, the idle ones with a goodbye, in `timeouts.close` at most."""
        self._require_open().call(self.remote.close)


class TTSManager(WithBlock):
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
    ) -> Generator[AudioChannel]:
        """Speak a text that is known as a whole; see `tts_trio.TTSManager.stream_static_text`."""
        make = partial(
            self._manager.stream_static_text,
            text,
            previous_text=previous_text,
            next_text=next_text,
            voice=voice,
            settings=settings,
        )
        with self._inside(make) as audio:
            yield AudioChannel(audio, self._require_open())

    def prefetch(self, texts: Iterable[str], *, on_cached: Callable[[str], object] = lambda _text: None) -> None:
        """Put the audio of texts into the cache, so that they are spoken later without waiting for the service.

        Utterances of this conversation come first. Raises what `tts_trio.TTSManager.prefetch` does.

        Args:
            texts: The texts, each of up to 1,000 characters.
            on_cached: Called with each text whose audio is in the cache, in the loop that all threads share: it must
                return soon, and call nothing of this module.
        """
        given = texts if isinstance(texts, str) else list(texts)  # which may block; the loop may not
        call(self._require_open(), partial(self._manager.prefetch, given, on_cached=on_cached))

    @contextmanager
    def start_llm_stream(self) -> Generator[tuple[TextChannel, AudioChannel]]:
        """Speak an LLM's reply as it is written; see `tts_trio.TTSManager.start_llm_stream`."""
        with self._inside(self._manager.start_llm_stream) as (text, audio):
            yield TextChannel(text, self._require_open()), AudioChannel(audio, self._require_open())

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
            yield AudioChannel(audio, self._require_open())


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
