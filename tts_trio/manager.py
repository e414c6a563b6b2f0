"""`TTSManager` speaks for one conversation: static texts over HTTP, LLM replies over a hot WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.validators import require
from tts_trio.config.variants import check_same_sockets, for_utterance
from tts_trio.config.voice import VoiceSettings
from tts_trio.connection_manager import WebSocketConnectionManager, acquire_connection, acquire_spare, expect_connection
from tts_trio.errors import ConfigurationError
from tts_trio.speech.channels import AudioChannel, TextChannel
from tts_trio.speech.driver import Driver
from tts_trio.speech.feed import feed
from tts_trio.speech.reply import Reply, begin_reply
from tts_trio.speech.telemetry import telemetry_for

if TYPE_CHECKING:
    from tts_trio.config.filler import Filler
    from tts_trio.speech.openings import Openings
    from tts_trio.transport.http import HttpConnections


class TTSManager(SingleUse):
    """Speaks for one conversation, with the voice of its configuration or with another. An async context manager.

    For a barge-in, leave the block of the utterance, cancel a scope around it, or call `audio.close()`. Each interrupts
    an unfinished utterance without waiting for I/O, and no byte of its audio is delivered afterwards.

        async with TTSManager(config, connections) as tts:
            async with tts.stream_static_text("Добрый день!") as audio:
                async for chunk in audio:
                    await call.play(chunk)
            async with tts.speak(llm_tokens) as audio:
                async for chunk in audio:
                    await call.play(chunk)

    Attributes:
        config: The voice, the format and the timeouts.
        connections: The connection manager. A health check can read its `statistics()`.
    """

    def __init__(self, config: TTSConfig, connection_manager: WebSocketConnectionManager) -> None:
        """Prepare a manager.

        Args:
            config: The voice, the format and the timeouts.
            connection_manager: The hot connections of the same conversation. Its block must be around this one's.

        Raises:
            TypeError: `config` is not a `TTSConfig`, or `connection_manager` not a `WebSocketConnectionManager`.
            ConfigurationError: A field that holds for the whole life of a socket differs from the configuration of
                `connection_manager`; the message names the field.
        """
        from tts_trio.static_text.driver import StaticTexts  # loaded late, as below: `import tts_trio` is quick
        from tts_trio.static_text.prefetch import Foreground
        from tts_trio.static_text.stores import cache_for, openings_for

        require("config", config, TTSConfig)
        require("connection_manager", connection_manager, WebSocketConnectionManager)
        check_same_sockets(config, connection_manager.config)
        self.config = config
        self.connections = connection_manager
        self._http: HttpConnections | None = None
        self._nursery: trio.Nursery | None = None
        self._open = set[Driver]()  # the utterances whose blocks were not left yet
        self._foreground = Foreground()
        self._cache = cache_for(config)
        self._static_texts = StaticTexts(self._cache)
        self._openings = openings_for(config)

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        from tts_trio.transport.http import HttpConnections

        limiter = self.config.limiter
        if not getattr(limiter, "is_open", True):  # a `RedisLimiter` has a block of its own
            raise ConfigurationError(
                "limiter: it is not open; enter `async with limiter` around the TTSManager, in the same trio.run",
                field="limiter",
            )
        self._telemetry = telemetry_for(self.config)
        async with HttpConnections(self.config, open_stream=self.connections.open_stream) as self._http:
            with single_error:
                async with trio.open_nursery() as self._nursery:
                    try:
                        yield
                    finally:
                        for speech in self._open:
                            speech.leave()  # another task may still be reading its audio
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
        language_code: str | None = None,
        model: str | None = None,
    ) -> AbstractAsyncContextManager[AudioChannel]:
        """Speak a text that is known as a whole: from the audio cache, or else over HTTP streaming.

        With `optimize_streaming_latency=4`, the default, the service's text normalizer is off, so numbers and dates can
        be misread (ElevenLabs API reference): write them out, or lower the value.

        Args:
            text: The text to speak.
            previous_text: The text that was said before, for the intonation; it is not spoken.
            next_text: The text that will be said after, for the intonation; it is not spoken.
            voice: The id of the voice for this text; None: the configuration's.
            settings: The voice settings for this text; None: the configuration's.
            language_code: The language of this text; None: the configuration's.
            model: The id of the model for this text; None: the configuration's.

        Returns:
            An async context manager that gives the `AudioChannel`.

        Raises:
            TypeError: A text is not a `str`.
            ConfigurationError: `text` has nothing to speak, or is longer than `max_characters`; `previous_text` or
                `next_text` is given with a v3 model, which takes neither; or another value is not allowed.
            RuntimeError: The manager is closed, or was not entered.
        """
        config = for_utterance(self.config, voice=voice, settings=settings, language_code=language_code, model=model)
        _, http = self._require_open()
        speech = self._static_texts.begin(config, text, http, previous_text=previous_text, next_text=next_text)
        return self._perform(speech)

    @trio.lowlevel.enable_ki_protection
    async def prefetch(self, texts: Iterable[str], *, on_cached: Callable[[str], object] = lambda _text: None) -> None:
        """Put the audio of texts into the cache, so that later they are spoken without waiting for the service.

        A text whose audio is in the cache is not requested again. No request is begun while an utterance of this
        conversation is generated. Prefetch makes at most half of the requests that the plan allows at once, which the
        service tells in the header `maximum-concurrent-requests`.

        Args:
            texts: The texts, each of up to 1,000 characters.
            on_cached: A function that is called with each text whose audio is in the cache. It is not called for a text
                that a failing or too small cache did not store.

        Raises:
            TypeError: `texts` is a single `str`, or one of the texts is not a `str`.
            ConfigurationError: There is no cache, or a text cannot be spoken or cached. No request was made.
            TTSError: The service did not speak a text. The audio of the texts before it is in the cache.
            RuntimeError: The manager is closed, or was not entered.
        """
        from tts_trio.static_text.prefetch import prefetch

        _, http = self._require_open()
        await prefetch(texts, self.config, self._cache, http, self._foreground, on_cached)

    @trio.lowlevel.enable_ki_protection
    async def prefetch_openings(self, openings: Iterable[str]) -> None:
        """Keep texts with which LLM replies begin, so that a reply says them from memory, without waiting.

        Each is cut by `phrase_policy` as a reply is that comes word by word, with the blank before a word or behind it,
        and its first three phrases are spoken, each over a WebSocket of its own, one after another and while no
        utterance of this conversation is generated. A phrase that is kept is not spoken again.

        Args:
            openings: The texts, of phrases of up to 60 characters each.

        Raises:
            TypeError: `openings` is a single `str`, or one of them is not a `str`.
            ConfigurationError: There is no `opening_cache`, or a text cannot be spoken or kept. Nothing was sent.
            TTSError: The service did not speak a phrase. Those before it are kept.
            RuntimeError: The manager is closed, or was not entered.
        """
        self._require_open()
        from tts_trio.static_text.openings import prefetch_openings

        begin = partial(self._begin_reply, background=True)
        await prefetch_openings(openings, self._openings, begin, self.config, self._foreground)

    def expect(
        self,
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
    ) -> None:
        """Make a connection ready for a reply with another voice, or another of these values. It does not wait.

        A reply with a value that was neither expected nor used lately waits for a dial, unless a context of the shared
        socket can have it: `timeline.connected` tells. Besides the configuration's own connections, those of the three
        kinds that were expected or used last are kept hot, with as many spares.

        Args:
            voice: The id of the voice; None: the configuration's.
            settings: The voice settings; None: the configuration's.
            language_code: The language of the text; None: the configuration's.
            model: The id of the model; None: the configuration's.

        Raises:
            ConfigurationError: A value is not allowed; the message names the field and what is allowed.
            RuntimeError: The manager is closed, or was not entered.
        """
        self._require_open()
        config = for_utterance(self.config, voice=voice, settings=settings, language_code=language_code, model=model)
        expect_connection(self.connections, config)

    @asynccontextmanager
    async def start_llm_stream(
        self,
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
        filler: Filler | None = None,
    ) -> AsyncGenerator[tuple[TextChannel, AudioChannel]]:
        """Speak an LLM's reply as it is written, over a connection that is already hot.

        Returns an async context manager that gives two channels: one for the text, one for its audio. One task may
        serve both, or two tasks one each: `text.send` never waits for audio. Close `text` when the reply is complete.
        Leaving the block interrupts an unfinished reply.

        Args:
            voice: The id of the voice for this reply; None: the configuration's. See `expect`.
            settings: The voice settings for this reply; None: the configuration's.
            language_code: The language of this reply; None: the configuration's.
            model: The id of the model for this reply; None: the configuration's.
            filler: What is said while no text comes; None: nothing.

        Raises:
            ConfigurationError: A value is not allowed; the message names the field and what is allowed.
            TTSConnectionError: There was no connection within `timeouts.connect`; another call tries again.
            TTSError: A retry cannot help: a wrong API key, an unknown voice, an exhausted quota.
            RuntimeError: The manager is closed, or was not entered.
        """
        config = for_utterance(self.config, voice=voice, settings=settings, language_code=language_code, model=model)
        reply = await self._begin_llm_reply(config, filler)
        async with self._perform(reply) as audio:
            yield reply.text_channel(), audio

    async def _begin_llm_reply(self, config: TTSConfig, filler: Filler | None) -> Reply:
        openings = self._openings and self._openings.speaking(config)
        if filler is None:
            return await self._begin_reply(config, openings)
        from tts_trio.static_text.clip import clip_of  # loaded late: few ask for it

        ask = clip_of(filler, config, self._require_open()[1], self._cache)
        reply = await self._begin_reply(config, openings)
        reply.fill(filler, ask)
        return reply

    def _begin_reply(
        self, config: TTSConfig, openings: Openings | None, *, background: bool = False
    ) -> Awaitable[Reply]:
        acquire = partial(acquire_connection, self.connections, config)
        spare = None if background else partial(acquire_spare, self.connections, config)
        return begin_reply(config, acquire, self._require_open()[1], openings, spare, background=background)

    @asynccontextmanager
    async def speak(
        self,
        tokens: AsyncIterable[str | None] | Iterable[str | None],
        *,
        voice: str | None = None,
        settings: VoiceSettings | None = None,
        language_code: str | None = None,
        model: str | None = None,
        filler: Filler | None = None,
    ) -> AsyncGenerator[AudioChannel]:
        """Speak the text of an iterable as it comes: `start_llm_stream` with a task that sends the text.

        Returns an async context manager that gives the `AudioChannel`.

        Args:
            tokens: An iterable of pieces of text of any size; "" and None are skipped, and a `str` is one piece. A task
                inside of the block iterates over it, and closes an async generator at its end. An exception of the
                iterable leaves the block bare, and the text that was not spoken until then is dropped.
            voice: The id of the voice for this reply; None: the configuration's. See `expect`.
            settings: The voice settings for this reply; None: the configuration's.
            language_code: The language of this reply; None: the configuration's.
            model: The id of the model for this reply; None: the configuration's.
            filler: What is said while no text comes; None: nothing.

        Raises:
            TypeError: A token is neither a `str` nor None.
            TTSError, RuntimeError: As `start_llm_stream`.
        """
        config = for_utterance(self.config, voice=voice, settings=settings, language_code=language_code, model=model)
        reply = await self._begin_llm_reply(config, filler)
        async with self._perform(reply) as audio:
            with single_error:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(feed, tokens, reply.text_channel(), audio)
                    try:
                        yield audio
                    finally:
                        nursery.cancel_scope.cancel(reason="the utterance was left")

    @asynccontextmanager
    async def _perform(self, speech: Driver) -> AsyncGenerator[AudioChannel]:
        try:
            nursery, _ = self._require_open()  # the manager may have been left while a reply waited for a connection
            nursery.start_soon(self._run_speech, speech)
            self._open.add(speech)
            yield speech.audio_channel()
        finally:
            speech.leave()
            self._open.discard(speech)
            self._telemetry.utterance_ended(speech.record)
        if not speech.utterance.awaited and (error := speech.utterance.error) is not None:
            raise error

    @trio.lowlevel.enable_ki_protection
    async def _run_speech(self, speech: Driver) -> None:
        with self._foreground:
            await speech.run()

    def _require_open(self) -> tuple[trio.Nursery, HttpConnections]:
        if self._nursery is None or self._http is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        return self._nursery, self._http


@asynccontextmanager
async def open_tts(config: TTSConfig) -> AsyncGenerator[TTSManager]:
    """Open the hot connections and the manager of one conversation in one line.

        async with open_tts(TTSConfig.from_env()) as tts:  # at once: the first utterance waits for a hot connection
            ...

    Raises:
        TypeError: `config` is not a `TTSConfig`.
        ConfigurationError: The block of `config.limiter` is not open.
    """
    async with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as manager:
        yield manager
