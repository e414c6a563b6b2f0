"""Fills the audio cache in the background, behind the utterances for which callers wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING

import attrs
import trio

from tts_trio._nurseries import WaitingTasks, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConcurrencyError, ConfigurationError, TTSError
from tts_trio.limits.backoff import Backoff
from tts_trio.static_text.cached_source import CachedSource
from tts_trio.static_text.driver import LONGEST_CACHED, StaticTextRequest
from tts_trio.static_text.entry import ExpectedAudio
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import AudioSource, ResponseStarted, Service, SourceEvent

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

_MOST_REFUSALS = 5  # for the plan's concurrency, of one text
_BACKOFF = Backoff(first=0.5)


class Foreground:
    """Counts the utterances of the conversation that are generated, so that prefetch waits until there is none."""

    def __init__(self) -> None:
        self._utterances = 0
        self._waiting = WaitingTasks()

    def __enter__(self) -> None:
        """Count an utterance until the block ends."""
        self._utterances += 1

    def __exit__(self, *_: object) -> None:
        self._utterances -= 1
        if not self._utterances:
            self._waiting.wake()

    async def wait_until_idle(self) -> None:
        """Wait until no utterance is generated."""
        while self._utterances:
            await self._waiting.wait()


async def wait_to_retry(error: TTSError, failures: int, config: TTSConfig) -> None:
    """Wait before a text is requested once more.

    Args:
        error: By which the last request failed.
        failures: How many requests of this text have failed.
        config: The configuration of the conversation.

    Raises:
        TTSError: This error: another request cannot help, or there were too many.
    """
    most = _MOST_REFUSALS if isinstance(error, ConcurrencyError) else config.max_replays
    in_time = (error.retry_after or 0.0) <= config.timeouts.reply
    if not (error.retryable and failures <= most and in_time):
        raise error
    await trio.sleep(_BACKOFF.after(failures, error.retry_after))


@attrs.define
class Prefetch:
    """One run over some texts.

    Attributes:
        source: The source that requests the audio and stores it in the cache.
        cache: The cache.
        foreground: The utterances of the conversation, which come first.
        on_cached: A function that is called with each text whose audio is in the cache.
    """

    source: AudioSource
    cache: GuardedCache
    foreground: Foreground
    on_cached: Callable[[str], object]
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _error: TTSError | None = attrs.field(default=None, init=False)

    async def run(self, requests: Iterable[StaticTextRequest]) -> None:
        """Put the audio of all texts into the cache.

        At most half of the requests that the plan allows are made at once; the other half is for conversations.

        Raises:
            TTSError: The service did not speak a text. The other requests are cancelled.
        """
        with single_error:
            async with trio.open_nursery() as nursery:
                for request in requests:
                    place = object()
                    await self._limiter.acquire_on_behalf_of(place)
                    await self.foreground.wait_until_idle()
                    nursery.start_soon(self._bring, request, place, nursery.cancel_scope)
        if self._error is not None:
            raise self._error

    @trio.lowlevel.enable_ki_protection
    async def _bring(self, request: StaticTextRequest, place: object, scope: trio.CancelScope) -> None:
        try:
            await self._ask(request)
        except TTSError as error:
            self._error = self._error or error
            scope.cancel(reason="the request of another text failed")
        finally:
            self._limiter.release_on_behalf_of(place)
        if self._error is None and await self.cache.holds(ExpectedAudio.of(request.config, request.speech_request())):
            self.on_cached(request.text)  # a failing or too small cache does not hold it

    async def _ask(self, request: StaticTextRequest) -> None:
        """Request the audio of a text, and retry where that can help."""
        for failures in count(1):
            try:
                await self.source.ask(request.speech_request(), self._learn)
            except TTSError as error:
                if isinstance(error, ConcurrencyError):
                    self._limiter.total_tokens = max(1, self._limiter.total_tokens // 2)
                await wait_to_retry(error, failures, request.config)
            else:
                return
            await self.foreground.wait_until_idle()

    async def _learn(self, event: SourceEvent) -> None:  # noqa: ASYNC910 - the cache keeps the audio
        if isinstance(event, ResponseStarted) and event.concurrency is not None:
            self._limiter.total_tokens = max(1, event.concurrency // 2)


async def prefetch(
    texts: Iterable[str],
    config: TTSConfig,
    cache: GuardedCache | None,
    http: HttpConnections,
    foreground: Foreground,
    on_cached: Callable[[str], object],
) -> None:
    """Check the texts and the configuration, and put the audio of the texts into the cache.

    Raises:
        TypeError: `texts` is a single `str`, or one of the texts is not a `str`.
        ConfigurationError: There is no cache, or a text cannot be spoken or cached. No request was made.
        TTSError: The service did not speak a text.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a list of texts, not a single str; pass [text]")
    requests = [StaticTextRequest.checked(config, text) for text in dict.fromkeys(texts)]
    if cache is None:
        raise ConfigurationError(
            'audio_cache: None is not allowed for prefetch; set it to "memory" or to a cache', field="audio_cache"
        )
    if config.request_stitching:
        raise ConfigurationError(
            "request_stitching: with True, nothing is cached; set it to False to prefetch",
            field="request_stitching",
        )
    if not all(request.cacheable for request in requests):
        raise ConfigurationError(
            f"texts: a text may have at most {LONGEST_CACHED} characters to be cached; split it", field="texts"
        )
    service = Service(http, config.limiter, outlives=True, background=True)
    source = CachedSource(config, cache, service, background=True)
    await Prefetch(source, cache, foreground, on_cached).run(requests)
