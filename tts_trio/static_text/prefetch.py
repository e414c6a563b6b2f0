"""Fills the audio cache in the background, behind the utterances that somebody on the line waits for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from itertools import count

import attrs
import trio

from tts_trio._nurseries import single_error
from tts_trio.errors import ConcurrencyError, TTSError
from tts_trio.limits.backoff import Backoff
from tts_trio.static_text.driver import StaticTextRequest
from tts_trio.static_text.entry import ExpectedAudio
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import AudioSource, ResponseStarted, SourceEvent

_MOST_REFUSALS = 5
_BACKOFF = Backoff(first=0.5)


class Foreground:
    """Tells whether an utterance of the conversation is generated; work in the background waits until none is."""

    def __init__(self) -> None:
        self._utterances = 0
        self._idle = trio.Event()

    @contextmanager
    def busy(self) -> Generator[None]:
        """Count an utterance for as long as the block runs."""
        self._utterances += 1
        try:
            yield
        finally:
            self._utterances -= 1
            if not self._utterances:
                self._idle.set()
                self._idle = trio.Event()

    async def wait_until_idle(self) -> None:
        """Wait until no utterance is generated."""
        while self._utterances:
            await self._idle.wait()


@attrs.define
class Prefetch:
    """One run over some texts.

    Attributes:
        source: What is asked for them, and stores them.
        cache: Where it stores them.
        foreground: Of the conversation.
        on_cached: Called with each text whose audio is in the cache.
    """

    source: AudioSource
    cache: GuardedCache
    foreground: Foreground
    on_cached: Callable[[str], object]
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _error: TTSError | None = attrs.field(default=None, init=False)

    async def run(self, orders: Iterable[StaticTextRequest]) -> None:
        """Bring all, at most half as many at once as the plan allows: the other half is for conversations.

        Raises:
            TTSError: A text cannot be had; those under way are given up.
        """
        with single_error():
            async with trio.open_nursery() as nursery:
                for order in orders:
                    place = object()
                    await self._limiter.acquire_on_behalf_of(place)
                    await self.foreground.wait_until_idle()
                    nursery.start_soon(self._bring, order, place, nursery.cancel_scope)
        if self._error is not None:
            raise self._error

    @trio.lowlevel.enable_ki_protection
    async def _bring(self, order: StaticTextRequest, place: object, scope: trio.CancelScope) -> None:
        try:
            await self._ask(order)
        except TTSError as error:
            self._error = self._error or error
            scope.cancel(reason="a text cannot be had")
        finally:
            self._limiter.release_on_behalf_of(place)
        if self._error is None and await self.cache.holds(ExpectedAudio.of(order.config, order.request())):
            self.on_cached(order.text)  # a cache that is ill, or too small, does not hold it

    async def _ask(self, order: StaticTextRequest) -> None:
        """Ask, and ask again where that can help."""
        for failures in count(1):
            try:
                await self.source.ask(order.request(), self._learn)
            except TTSError as error:
                refused = isinstance(error, ConcurrencyError)
                most = _MOST_REFUSALS if refused else order.config.max_replays
                in_time = (error.retry_after or 0.0) <= order.config.timeouts.reply
                if not (error.retryable and failures <= most and in_time):
                    raise
                if refused:
                    self._limiter.total_tokens = max(1, self._limiter.total_tokens // 2)
                await trio.sleep(_BACKOFF.after(failures, error.retry_after))
            else:
                return
            await self.foreground.wait_until_idle()

    async def _learn(self, event: SourceEvent) -> None:  # noqa: ASYNC910 - the cache keeps the audio
        if isinstance(event, ResponseStarted) and event.concurrency is not None:
            self._limiter.total_tokens = max(1, event.concurrency // 2)
