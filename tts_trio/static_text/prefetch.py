"""Fills the phrase cache in the background: never in the way of those who wait on the line."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

import attrs
import trio

from tts_trio._nurseries import single_error
from tts_trio.errors import ConcurrencyError, TTSError
from tts_trio.static_text.driver import FixedPhrase, PhraseOrder, RequestHistory
from tts_trio.static_text.entry import Wanted
from tts_trio.static_text.shelf import Shelf
from tts_trio.static_text.source import PhraseSource

_EVERYTHING = 1e6  # seconds of audio: nobody listens, so all of it is read at once
_MOST_REFUSALS = 4
_FIRST_PAUSE = 0.5  # seconds, after a refusal for too many requests at once; it doubles from refusal to refusal


class Floor:
    """Whether somebody speaks: while the service owes audio to a conversation, what can wait waits."""

    def __init__(self) -> None:
        self._speaking = 0
        self._free = trio.Event()

    @contextmanager
    def taken(self) -> Generator[None]:
        """Have the floor, with others or alone."""
        self._speaking += 1
        try:
            yield
        finally:
            self._speaking -= 1
            if not self._speaking:
                self._free.set()
                self._free = trio.Event()

    async def wait_until_free(self) -> None:
        """Wait until nobody speaks."""
        while self._speaking:
            await self._free.wait()


@attrs.define
class Prefetch:
    """One run over some phrases.

    Attributes:
        source: What is asked for them, and stores them.
        shelf: Where it stores them.
        floor: Of the conversation.
        on_phrase: Called with the text of each phrase that is in the cache.
    """

    source: PhraseSource
    shelf: Shelf
    floor: Floor
    on_phrase: Callable[[str], object]
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _error: TTSError | None = attrs.field(default=None, init=False)

    async def run(self, orders: Iterable[PhraseOrder]) -> None:
        """Bring all, at most half as many at once as the plan allows: the other half is for conversations.

        Raises:
            TTSError: A phrase cannot be had; those under way are given up.
        """
        with single_error():
            async with trio.open_nursery() as nursery:
                for order in orders:
                    place = object()
                    await self._limiter.acquire_on_behalf_of(place)
                    await self.floor.wait_until_free()
                    nursery.start_soon(self._bring, order, place, nursery.cancel_scope)
        if self._error is not None:
            raise self._error

    @trio.lowlevel.enable_ki_protection
    async def _bring(self, order: PhraseOrder, place: object, scope: trio.CancelScope) -> None:
        try:
            error = await self._ask(order)
            for refusals in range(_MOST_REFUSALS):
                if not isinstance(error, ConcurrencyError):
                    break
                asked_to_wait = error.retry_after or 0.0
                if asked_to_wait > order.config.reply_deadline:
                    break
                self._limiter.total_tokens = max(1, self._limiter.total_tokens // 2)
                await trio.sleep(max(_FIRST_PAUSE * 2**refusals, asked_to_wait))
                await self.floor.wait_until_free()
                error = await self._ask(order)
        finally:
            self._limiter.release_on_behalf_of(place)
        if error is not None:
            self._error = self._error or error
            scope.cancel(reason="a phrase cannot be had")
        elif await self.shelf.holds(Wanted.of(order.config, order.request())):  # it may be ill, or too small
            self.on_phrase(order.text)

    async def _ask(self, order: PhraseOrder) -> TTSError | None:
        order = attrs.evolve(order, config=order.config.evolve(max_lead=_EVERYTHING))
        phrase = FixedPhrase(order, self.source, RequestHistory())
        await phrase.run()
        if phrase.concurrency is not None:
            self._limiter.total_tokens = max(1, phrase.concurrency // 2)
        return phrase.utterance.error
