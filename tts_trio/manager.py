"""`TTSManager`: one voice for one conversation; static texts over HTTP, an LLM's reply over a hot WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, single_error
from tts_trio.config.config import TTSConfig, differing_socket_field
from tts_trio.config.validators import require
from tts_trio.config.voice import VoiceSettings
from tts_trio.connection_manager import WebSocketConnectionManager, acquire_connection
from tts_trio.errors import ConfigurationError, TTSConnectionError, TTSError
from tts_trio.speech.channels import AudioChannel, TextChannel
from tts_trio.speech.driver import Driver
from tts_trio.speech.reply import Reply
from tts_trio.speech.telemetry import telemetry_for
from tts_trio.static_text.cached_source import CachedSource
from tts_trio.static_text.driver import LONGEST_CACHED, RequestHistory, StaticText, StaticTextRequest, source_for
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.memory_cache import process_cache
from tts_trio.static_text.prefetch import Foreground, Prefetch
from tts_trio.static_text.source import Service

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections


class TTSManager(SingleUse):
    """Speaks for one conversation, with the voice of its configuration. An async context manager.

    Leaving the block of an utterance, cancelling a scope around it, or `audio.close()` interrupts what is not finished:
    that is the barge-in. It takes no time, and not one byte of that utterance comes after it.

        async with TTSManager(config, connections) as tts:
            async with tts.stream_static_text("Добрый день!") as audio:
                async for chunk in audio:
                    await call.play(chunk)
            async with tts.speak(llm_tokens) as audio:
                async for chunk in audio:
                    await call.play(chunk)

    Attributes:
        config: The voice, the format, the deadlines.
        connections: The hot WebSockets; their `statistics()` tell a health check whether the service is reached.
    """

    def __init__(self, config: TTSConfig, connection_manager: WebSocketConnectionManager) -> None:
        """Prepare a manager.

        Args:
            config: The voice, the format, the deadlines.
            connection_manager: The hot connections of the same conversation, entered before and left after this.

        Raises:
            TypeError: `config` is no `TTSConfig`, or `connection_manager` no `WebSocketConnectionManager`.
            ConfigurationError: `config` differs from the connections' in what belongs to a socket for its life.
        """
        require("config", config, TTSConfig)
        require("connection_manager", connection_manager, WebSocketConnectionManager)
        differs = differing_socket_field(config, connection_manager.config)
        if differs is not None:
            raise ConfigurationError(
                f"{differs}: the configuration differs in it from the connection manager's, whose sockets it belongs "
                "to; give both the same configuration",
                field=differs,
            )
        self.config = config
        self.connections = connection_manager
        self._http: HttpConnections | None = None
        self._nursery: trio.Nursery | None = None
        self._open = set[Driver]()  # in blocks that were not left yet
        self._history = RequestHistory()
        self._foreground = Foreground()
        cache = process_cache() if config.audio_cache == "memory" else config.audio_cache
        self._cache = GuardedCache(cache, config.timeouts.cache) if cache is not None else None

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        from tts_trio.transport.http import HttpConnections  # httpx is loaded late: `import tts_trio` is to be quick

        limiter = self.config.limiter
        if not getattr(limiter, "is_open", True):  # a `RedisLimiter` has a block of its own
            raise ConfigurationError(
                "limiter: enter its `async with` block before this one, in the same trio.run", field="limiter"
            )
        self._telemetry = telemetry_for(self.config)
        async with HttpConnections(self.config, open_stream=self.connections.open_stream) as self._http:
            with single_error():
                async with trio.open_nursery() as self._nursery:
                    try:
                        yield
                    finally:
                        for speech in self._open:
                            speech.leave()  # another task may still be reading it
                        self._nursery.cancel_scope.cancel(reason="the TTSManager was left")
                        self._nursery = None

    def __repr__(self) -> str:
        state = "open" if self._nursery is not None else "not entered" if not self._entered else "closed"
        return f"<TTSManager, {state}, voice {self.config.voice_id}, model {self.config.model_id}>"

    def stream_static_text(
        self,
        text: str,
        *,
        previous_text: str | None = None,
        next_text: str | None = None,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
    ) -> AbstractAsyncContextManager[AudioChannel]:
        """Speak a text that is known as a whole: over HTTP streaming, or from the audio cache if it was spoken before.

        With `optimize_streaming_latency=4`, the default, the service's text normalizer is off, so numbers and dates can
        be misread (ElevenLabs API reference): write them out, or lower the value.

        Args:
            text: What to say.
            previous_text: What was said before it, for the intonation; not spoken.
            next_text: What will be said after it, likewise.
            voice: The voice of this text; None for the configuration's.
            settings: How the voice speaks this text; None for the configuration's.

        Returns:
            An async context manager that gives the `AudioChannel`.

        Raises:
            TypeError: A text is no `str`.
            ConfigurationError: `text` has nothing to speak, or is longer than `max_characters`; or the model is a v3
                one and takes neither `previous_text` nor `next_text`.
            RuntimeError: The manager is closed or was not entered.
        """
        request = StaticTextRequest.checked(
            self.config, text, previous_text=previous_text, next_text=next_text, voice=voice, settings=settings
        )
        _, http = self._require_open()
        return self._perform(StaticText(request, source_for(request, http, self._cache), self._history))

    @trio.lowlevel.enable_ki_protection
    async def prefetch(self, texts: Iterable[str], *, on_cached: Callable[[str], object] = lambda _text: None) -> None:
        """Put the audio of texts into the cache, so that they are spoken later without waiting for the service.

        Utterances of this conversation come first, and at most half of the requests that the plan allows at once are
        made (`maximum-concurrent-requests`). The service is not asked for a text whose audio is in the cache.

        Args:
            texts: The texts, each of up to 1,000 characters.
            on_cached: Called with each text whose audio is in the cache; not with one that a failing or too small cache
                did not keep.

        Raises:
            TypeError: It is one text, or one of them is no `str`.
            ConfigurationError: There is no cache, or a text cannot be spoken or kept; nothing was asked for then.
            TTSError: The audio of a text cannot be had; that of the texts before it is in the cache.
            RuntimeError: The manager is closed or was not entered.
        """
        _, http = self._require_open()
        if isinstance(texts, str):
            raise TypeError("texts must be a list of texts, not one text; give [text]")
        requests = [StaticTextRequest.checked(self.config, text) for text in dict.fromkeys(texts)]
        if self._cache is None:
            raise ConfigurationError("audio_cache: prefetch needs a cache, and this is None", field="audio_cache")
        if self.config.request_stitching:
            raise ConfigurationError(
                "request_stitching: nothing is cached with it; set it to False to prefetch", field="request_stitching"
            )
        if not all(request.cacheable for request in requests):
            raise ConfigurationError(
                f"texts: a text of more than {LONGEST_CACHED} characters is not cached; split it", field="texts"
            )
        service = Service(http, self.config.limiter, outlives=True, background=True)
        source = CachedSource(self.config, self._cache, service, background=True)
        await Prefetch(source, self._cache, self._foreground, on_cached).run(requests)

    @asynccontextmanager
    async def start_llm_stream(self) -> AsyncGenerator[tuple[TextChannel, AudioChannel]]:
        """Speak an LLM's reply as it is written, over a connection that is already hot.

        Text goes into the first channel and audio comes out of the second, in one task or in two: `text.send` never
        waits for audio. Closing `text` says that the reply is complete; leaving the block abandons what is not.

        Raises:
            TTSConnectionError: There is no connection within `timeouts.connect`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed or was not entered.
        """
        _, http = self._require_open()
        acquire = partial(acquire_connection, self.connections)
        try:
            connection = await acquire()
        except TTSConnectionError:
            if self.config.fallback is None:
                raise
            connection = None
        try:
            reply = Reply(self.config, acquire, http, connection)
        except BaseException:  # out of the user's `phrase_policy`
            if connection is not None:
                connection.close()
            raise
        async with self._perform(reply) as audio:
            yield reply.text, audio

    @asynccontextmanager
    async def speak(self, tokens: AsyncIterable[str | None] | Iterable[str | None]) -> AsyncGenerator[AudioChannel]:
        """Speak the text of an iterable as it comes; `start_llm_stream` with a task that feeds it.

        Args:
            tokens: Pieces of text of any size; "" and None are skipped. It is iterated in a task inside of this block,
                and closed at its end. If it raises, the error leaves the block bare and no tail is spoken. A `str` is
                one piece.

        Raises:
            TypeError: A token is neither a `str` nor None.
            TTSConnectionError: There is no connection within `timeouts.connect`. Calling again tries again.
            TTSError: Trying again is no help: a bad key, an unknown voice, an exhausted quota.
        """
        async with self.start_llm_stream() as (text, audio):
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_feed, tokens, text, audio)
                    try:
                        yield audio
                    finally:
                        nursery.cancel_scope.cancel(reason="the utterance was left")

    @asynccontextmanager
    async def _perform(self, speech: Driver) -> AsyncGenerator[AudioChannel]:
        try:
            nursery, _ = self._require_open()  # it may have been left while a connection was waited for
            nursery.start_soon(self._run_speech, speech)
            self._open.add(speech)
            yield speech.audio
        finally:
            speech.leave()
            self._open.discard(speech)
            self._telemetry.utterance_ended(speech.kind, speech.summary)
        if not speech.utterance.awaited and (error := speech.utterance.error) is not None:
            raise error

    @trio.lowlevel.enable_ki_protection
    async def _run_speech(self, speech: Driver) -> None:
        with self._foreground.busy():
            await speech.run()

    def _require_open(self) -> tuple[trio.Nursery, HttpConnections]:
        if self._nursery is None or self._http is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        return self._nursery, self._http


async def _feed(
    tokens: AsyncIterable[str | None] | Iterable[str | None], text: TextChannel, audio: AudioChannel
) -> None:
    with text:
        if isinstance(tokens, AsyncIterable):
            async with AsyncExitStack() as stack:
                if isinstance(tokens, AsyncGenerator):
                    stack.push_async_callback(tokens.aclose)  # else it would linger until it is collected
                async for token in tokens:
                    if not await _sent(token, text, audio):
                        return
        else:
            for token in [tokens] if isinstance(tokens, str) else tokens:
                if not await _sent(token, text, audio):
                    return


async def _sent(token: str | None, text: TextChannel, audio: AudioChannel) -> bool:
    """Send a token; False when the reply has ended or failed, which the audio channel tells the caller."""
    try:
        await text.send(token)
    except TTSError:
        if audio.outcome is None:  # the reply goes on: it is this text that cannot be had
            raise
        return False
    return True


@asynccontextmanager
async def open_tts(config: TTSConfig) -> AsyncGenerator[TTSManager]:
    """Open the hot connections and the manager of one conversation in one line.

        async with open_tts(TTSConfig.from_env()) as tts:
            ...

    Returns at once: the first utterance waits, if it must, until a connection is hot.
    """
    async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as manager:
        yield manager
