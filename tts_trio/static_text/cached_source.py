"""Audio from a cache, or else from the service, which gets one request for all utterances that wait for the same text.

A request that several utterances share is a `SharedFetch`. It belongs to no conversation, because the conversation that
began it may end while others still listen. So it runs in a system task of trio, gives an utterance that joins late all
audio that has come so far, and is cancelled when the last utterance leaves it before its end.

An utterance that joins a fetch shares its audio, but not its failure: the conversation that began the fetch may have a
wrong key, no credits, a full limiter, a proxy that is down, or shorter timeouts. If the fetch fails before its first
audio, the utterances that joined it request the text again: the first of them begins a fetch, and the others join it.
An utterance whose own first audio is overdue makes a request alone.
"""

from __future__ import annotations

import copy
import math
from typing import TypeAlias

import attrs
import trio

from tts_trio._nurseries import of_this_run
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import first_audio_timeout
from tts_trio.errors import EmptyAudioError, ProtocolError, ServiceTimeoutError, TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.speech.durations import longest_seconds
from tts_trio.static_text.entry import ExpectedAudio, memory
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import Hedged, OnEvent, RequestSent, ResponseStarted, Service, SourceEvent
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = guarded_logger(__name__)


_ABOUT_THE_TEXT = frozenset(
    {"content_against_policy", "max_character_limit_exceeded", "text_too_long", "unsupported_language"}
)
"""The service's codes for a text that it refuses to every account."""


class SharedFetch:
    """One request for audio, and the utterances that wait for its answer.

    Attributes:
        scope: The cancel scope of its task.
        stored: An event that is set when its task has ended, and the audio is in the cache or will not be.
        asked: Whether the service is asked, and not only the cache.
        complete: Whether all audio has come.
        pieces: The audio that has come.
    """

    def __init__(self, config: TTSConfig, wanted: ExpectedAudio, *, background: bool) -> None:
        """Begin a fetch.

        Args:
            config: The configuration of the conversation that begins it.
            wanted: The audio.
            background: Whether no caller waits for the audio (a prefetch).
        """
        self._config = config
        self._wanted = wanted
        self._background = background
        self._longest = longest_seconds(wanted.text) + config.timeouts.reply
        self.scope = trio.CancelScope()
        self.stored = trio.Event()
        self.asked = False
        self.complete = False
        self.pieces: list[AudioReceived] = []
        self._memory = 0
        self._asked_at: float | None = None
        self._news_at = -math.inf
        self._events: list[SourceEvent] = []
        self._error: TTSError | None = None
        self._followers = 0
        self._news = trio.Event()

    def can_be_joined(self, config: TTSConfig, *, background: bool) -> bool:
        """Whether an utterance of this configuration gets its audio from this fetch as soon as by its own request.

        It does when audio is coming, or the request was sent and its audio is not late. A fetch that still waits for a
        slot or a connection can be joined if the utterance would wait for the same, and a background fetch that waits
        can be joined only by another one in the background.
        """
        if self.complete:
            return True
        if self._error is not None or self.scope.cancel_called:
            return False
        now = trio.current_time()
        if self.pieces:
            return now < self._news_at + config.timeouts.stall
        if self._asked_at is not None:
            return now < self._asked_at + first_audio_timeout(config)
        if self._background and not background and not self._events:
            return False
        return _way(self._config) == _way(config)

    async def take(self, event: SourceEvent) -> None:  # noqa: ASYNC910 - there is always room
        """Take the next event. Only the task of the fetch calls this.

        Raises:
            ProtocolError: The answer has more audio than the text can have.
            ServiceTimeoutError: The answer takes longer than the audio of the text can last.
        """
        self._news_at = trio.current_time()
        if isinstance(event, RequestSent):
            self._asked_at = self._news_at
        elif isinstance(event, AudioReceived):
            self._memory += memory(event)
            if self._memory > self._wanted.most_memory:
                raise ProtocolError(f"the answer has more audio than {len(self._wanted.text)} characters can have")
            if self._asked_at is not None and self._news_at > self._asked_at + self._longest:
                raise ServiceTimeoutError(f"the service's answer was not complete after {self._longest:g} s")
            self.pieces.append(event)
        self._events.append(event)
        self._tell()

    def end(self, error: TTSError | None = None) -> None:
        """Note that all audio has come, or why the rest will not. Only the task of the fetch calls this."""
        self.complete, self._error = error is None, error
        self._tell()

    @property
    def _over(self) -> bool:
        return self.complete or self._error is not None

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def follow(self, take: OnEvent, *, charged: bool) -> None:
        """Hand over all events from the first one on, and return when the audio is complete.

        Args:
            take: Takes the events.
            charged: This is the one for whom the service is asked, if it is asked.

        Raises:
            TTSError: It failed.
        """
        self._followers += 1
        at = 0
        try:
            while True:
                while at < len(self._events):
                    event = self._events[at]
                    at += 1
                    if not (charged and self.asked):
                        if isinstance(event, Hedged):
                            continue
                        if isinstance(event, ResponseStarted):
                            event = attrs.evolve(event, charged=False, credits=0)
                    await take(event)
                    if isinstance(event, AudioReceived):
                        await trio.lowlevel.checkpoint()  # the first piece of many is not to wait for the last
                if self._over:
                    break
                await self._news.wait()
        finally:
            self._followers -= 1
            if not self._followers and not self._over:
                self.scope.cancel(reason="nobody waits for this audio any more")
        if self._error is not None:
            raise copy.copy(self._error) from self._error.__cause__


def _way(config: TTSConfig) -> tuple[object, ...]:
    """Return what a request waits for before it is sent, to compare two configurations."""
    return config.limiter, config.proxy, config.ssl_context, config.timeouts.connect


_CLAIMED = 1.0  # seconds for which a caller waits for audio that another process has claimed
_SOON = 0.1  # seconds of waiting for a slot after which the cache is asked again

_Place: TypeAlias = tuple[int, str]  # the id of a cache, and a key in it
_Fetches: TypeAlias = dict[_Place, SharedFetch]

_fetches: trio.lowlevel.RunVar[_Fetches] = trio.lowlevel.RunVar("tts_trio fetches")


def _fetches_of_this_run() -> _Fetches:
    return of_this_run(_fetches, dict)


class CachedSource:
    """A source of audio that asks a cache first, and shares its requests to the service."""

    def __init__(self, config: TTSConfig, cache: GuardedCache, service: Service, *, background: bool = False) -> None:
        """Put a cache before the service.

        Args:
            config: The service's address, and the timeouts.
            cache: The cache.
            service: The service. Its answers may outlive the conversation.
            background: Whether no caller waits for the audio (a prefetch). `ask` then returns when it is stored.
        """
        self._config = config
        self._cache = cache
        self._service = service
        self._background = background

    async def ask(self, request: SpeechRequest, take: OnEvent) -> None:
        """Hand over the audio, from wherever it can be had soonest."""
        wanted = ExpectedAudio.of(self._config, request)
        patience = trio.current_time() + first_audio_timeout(self._config)
        while True:
            fetch, first = self._join_or_begin(wanted, request, may_join=trio.current_time() < patience)
            try:
                await fetch.follow(take, charged=first)
            except TTSError as error:
                if first or fetch.pieces or error.code in _ABOUT_THE_TEXT:
                    raise
                logger.debug("the request of another conversation failed, so this one sends its own: %s", error)
            else:
                break
        if self._background:
            await fetch.stored.wait()

    def _join_or_begin(
        self, wanted: ExpectedAudio, request: SpeechRequest, *, may_join: bool
    ) -> tuple[SharedFetch, bool]:
        """Return the fetch of this audio, and whether it was begun here."""
        fetches = _fetches_of_this_run()
        place = id(self._cache.cache), wanted.key
        fetch = fetches.get(place)
        if fetch is not None and may_join and fetch.can_be_joined(self._config, background=self._background):
            return fetch, False
        fetch = fetches[place] = SharedFetch(self._config, wanted, background=self._background)
        name = f"tts_trio fetch {wanted.key[:8]}"
        trio.lowlevel.spawn_system_task(self._run, fetch, place, wanted, request, name=name)
        return fetch, True

    async def _run(self, fetch: SharedFetch, place: _Place, wanted: ExpectedAudio, request: SpeechRequest) -> None:
        """Fetch the audio and store it. A system task must not raise."""
        try:
            with fetch.scope:
                await self._bring(fetch, wanted, request)
        except TTSError as error:
            fetch.end(error)
        except Exception as error:
            logger.exception("the task that fetches a static text failed")
            fetch.end(unexpected("static text", error))
        fetches = _fetches_of_this_run()
        if fetches.get(place) is fetch:  # only now: whoever came while it was stored was served by it
            del fetches[place]
        fetch.stored.set()

    async def _bring(self, fetch: SharedFetch, wanted: ExpectedAudio, request: SpeechRequest) -> None:
        pieces = await self._cache.get(wanted)
        if pieces is None:
            timeout = first_audio_timeout(self._config)
            pieces = await self._cache.claim(wanted, timeout if self._background else min(timeout, _CLAIMED))
        if pieces is None:
            async with self._cache.claimed(wanted):
                pieces = await self._fetch(fetch, wanted, request)
                if pieces is None:
                    fetch.end()
                    await self._cache.put(wanted, fetch.pieces)
                    return
        for event in (RequestSent(), ResponseStarted(), *pieces):
            await fetch.take(event)
        fetch.end()

    async def _fetch(
        self, fetch: SharedFetch, wanted: ExpectedAudio, request: SpeechRequest
    ) -> tuple[AudioReceived, ...] | None:
        """Request the audio from the service; return it if it came into the cache while the request waited."""
        fetch.asked = True
        queued_since = trio.current_time()

        stored: tuple[AudioReceived, ...] | None = None

        async def still_wanted() -> bool:
            nonlocal stored
            if trio.current_time() > queued_since + _SOON:
                stored = await self._cache.get(wanted)
            return stored is None

        await self._service.ask(request, fetch.take, still_wanted)
        if stored is not None:
            fetch.asked = False
            return stored
        if not wanted.sounds(fetch.pieces):
            raise EmptyAudioError("the service reported the end and sent no audio for the text")
        return None
