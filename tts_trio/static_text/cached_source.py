"""Audio from a cache, or else from the service, which is asked once however many wait for the same text.

A request to the service that several may wait for is a `SharedFetch`. It belongs to no conversation: the one that began
it may be interrupted or over while others still listen. So it runs in a system task of trio's, gives whoever joins late
all that has come so far, and is cancelled when the last one leaves before its end.

Whoever joins a fetch shares its audio, but not its failure. The conversation that began it may have a wrong key, no
credits, a limiter that is full, a proxy that is down, or shorter timeouts. If the fetch fails before its first audio,
those who joined it ask again: the first of them begins a fetch, and the others join that. Once his own first audio is
overdue, each asks alone.
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
from tts_trio.static_text.source import OnEvent, RequestSent, ResponseStarted, Service, SourceEvent
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = guarded_logger(__name__)


_ABOUT_THE_TEXT = frozenset(
    {"content_against_policy", "max_character_limit_exceeded", "text_too_long", "unsupported_language"}
)
"""The service's codes for a text that it refuses to everybody."""


class SharedFetch:
    """One request for audio, and those who wait for its answer.

    Attributes:
        scope: The cancel scope of its task.
        stored: Set when its task has ended: the audio is in the cache, or will not be.
        asked: Whether the service is asked; False while only the cache is.
        complete: Whether all audio has come.
        pieces: The audio that has come.
    """

    def __init__(self, config: TTSConfig, wanted: ExpectedAudio, *, background: bool) -> None:
        """Begin a fetch.

        Args:
            config: The configuration of the conversation that begins it.
            wanted: The audio.
            background: Whether nobody on the line waits for it.
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
        """Whether a conversation of this configuration is served by it as soon as by a request of its own.

        So it is when the audio is coming, or was asked for and is not late. A fetch that waits for a slot or a
        connection is joined by who would wait for the same, and not by who is on the line, if it is in the background.
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
        """Take the next event; for its task.

        Raises:
            ProtocolError: There is more than any speech of the text takes.
            ServiceTimeoutError: It comes, drop by drop, more slowly than any speech of the text.
        """
        self._news_at = trio.current_time()
        if isinstance(event, RequestSent):
            self._asked_at = self._news_at
        elif isinstance(event, AudioReceived):
            self._memory += memory(event)
            if self._memory > self._wanted.most_memory:
                raise ProtocolError(f"the answer is longer than {len(self._wanted.text)} characters can sound")
            if self._asked_at is not None and self._news_at > self._asked_at + self._longest:
                raise ServiceTimeoutError(f"the answer was not complete after {self._longest:g} s")
            self.pieces.append(event)
        self._events.append(event)
        self._tell()

    def end(self, error: TTSError | None = None) -> None:
        """All has come, or the rest will not; for its task."""
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
                    if isinstance(event, ResponseStarted) and not (charged and self.asked):
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
    """What a request waits for before it is sent, and for how long."""
    return config.limiter, config.proxy, config.ssl_context, config.timeouts.connect


_CLAIMED = 1.0  # seconds, for which somebody on the line waits for what another process has claimed
_SOON = 0.1  # seconds in a queue, after which the audio may have come into the cache

_Place: TypeAlias = tuple[int, str]  # of a cache, and the key in it
_Fetches: TypeAlias = dict[_Place, SharedFetch]

_fetches: trio.lowlevel.RunVar[_Fetches] = trio.lowlevel.RunVar("tts_trio fetches")


def _fetches_of_this_run() -> _Fetches:
    return of_this_run(_fetches, dict)


class CachedSource:
    """A source of audio that asks a cache first, and shares what it asks the service for."""

    def __init__(self, config: TTSConfig, cache: GuardedCache, service: Service, *, background: bool = False) -> None:
        """Put a cache before the service.

        Args:
            config: The service's address, and the timeouts.
            cache: The cache.
            service: The service; its answers may outlive the conversation.
            background: Whether nobody on the line waits for the audio; `ask` then returns when it is stored.
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
        """Fetch the audio and store it; as a system task it must not raise."""
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
        """Have the service answer; return the audio if it came into the cache before the service was asked."""
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
            raise EmptyAudioError("the service sent no audio for the text: nothing in its answer sounds")
        return None
