"""Phrases from a cache, or else from the service, which is asked once however many wait for one phrase.

A phrase on its way is a `Flight`. It belongs to nobody's conversation: the one that asked may be interrupted, or over,
while others go on listening. So it runs in a system task of trio's, hands what has come so far to whoever comes later,
and is given up when the last one leaves before its end.
"""

from __future__ import annotations

import copy
import logging
import math
from typing import TypeAlias

import attrs
import trio

from tts_trio.cache.entry import phrase_key
from tts_trio.cache.shelf import Shelf
from tts_trio.config import TTSConfig
from tts_trio.errors import TTSError, unexpected
from tts_trio.phrase_source import Admitted, Answered, Asked, PhraseEvent, PhraseSource, TakeEvent
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = logging.getLogger(__name__)


class Flight:
    """One phrase on its way, and those who wait for it.

    Attributes:
        scope: Of its task.
        stored: Set when its task is over: the phrase is in the cache, or will not be.
        asked: It is the service that was asked for it.
        complete: All of it has come.
    """

    def __init__(self, *, background: bool) -> None:
        """Begin one; nobody on the line waits for it, if it is in the background."""
        self._background = background
        self.scope = trio.CancelScope()
        self.stored = trio.Event()
        self.asked = False
        self.complete = False
        self._asked_at = math.inf
        self._events: list[PhraseEvent] = []
        self._error: TTSError | None = None
        self._followers = 0
        self._news = trio.Event()

    @property
    def pieces(self) -> list[AudioReceived]:
        """The audio that has come."""
        return [event for event in self._events if isinstance(event, AudioReceived)]

    def can_be_joined(self, first_audio_timeout: float, *, background: bool) -> bool:
        """Whether it is on time, or has arrived; who is waited for does not join what waits for all others."""
        on_time = trio.current_time() < self._asked_at + first_audio_timeout and (background or not self._waits)
        return self._error is None and not self.scope.cancel_called and (on_time or bool(self.pieces))

    @property
    def _waits(self) -> bool:
        return self._background and not self._events

    async def take(self, event: PhraseEvent) -> None:  # noqa: ASYNC910 - there is always room
        """Take the next event; for its task."""
        if isinstance(event, Asked):
            self._asked_at = trio.current_time()
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

    async def follow(self, take: TakeEvent, *, charged: bool) -> None:
        """Hand over all events from the first one on, and return when the phrase is complete.

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
                    if isinstance(event, Answered) and not (charged and self.asked):
                        event = attrs.evolve(event, charged=False, credits=0)
                    await take(event)
                    await trio.lowlevel.checkpoint()  # the first piece of many is not to wait for the last
                if self._over:
                    break
                await self._news.wait()
        finally:
            self._followers -= 1
            if not self._followers and not self._over:
                self.scope.cancel(reason="nobody waits for this phrase any more")
        if self._error is not None:
            raise copy.copy(self._error) from self._error.__cause__


_SOON = 0.1  # seconds in a queue, after which the phrase may have come into the cache


class _StoredMeanwhile(Exception):
    """The phrase came into the cache while its request waited for its turn."""

    def __init__(self, pieces: tuple[AudioReceived, ...]) -> None:
        super().__init__()
        self.pieces = pieces


_Place: TypeAlias = tuple[int, str]  # of a cache, and the key in it
_Flights: TypeAlias = dict[_Place, Flight]

_flights: trio.lowlevel.RunVar[_Flights] = trio.lowlevel.RunVar("tts_trio flights")


def _flights_of_this_run() -> _Flights:
    try:
        return _flights.get()
    except LookupError:
        _flights.set({})
        return _flights.get()


class CachedPhrases:
    """A source of phrases that asks a cache first, and shares what it asks the service for."""

    def __init__(self, config: TTSConfig, shelf: Shelf, service: PhraseSource, *, background: bool = False) -> None:
        """Put a cache before the service.

        Args:
            config: Where the service is, and the deadlines.
            shelf: The cache.
            service: The service, whose answers outlive the conversation.
            background: Nobody on the line waits for these phrases; `ask` returns when they are stored, too.
        """
        self._config = config
        self._shelf = shelf
        self._service = service
        self._background = background

    async def ask(self, request: SpeechRequest, take: TakeEvent) -> None:
        """Hand over the phrase, from wherever it can be had soonest."""
        flights = _flights_of_this_run()
        key = phrase_key(self._config.base_url, request)
        place = id(self._shelf.cache), key
        flight = flights.get(place)
        timeout, background = self._config.first_audio_deadline(), self._background
        first = flight is None or not flight.can_be_joined(timeout, background=background)
        if flight is None or first:
            flight = flights[place] = Flight(background=background)
            trio.lowlevel.spawn_system_task(self._fly, flight, place, request, name=f"tts_trio phrase {key[:8]}")
        await flight.follow(take, charged=first)
        if self._background:
            await flight.stored.wait()

    async def _fly(self, flight: Flight, place: _Place, request: SpeechRequest) -> None:
        """Bring a phrase and store it; as a system task it must not raise."""
        _, key = place
        try:
            with flight.scope:
                await self._bring(flight, key, request)
                flight.end()
        except TTSError as error:
            flight.end(error)
        except Exception as error:
            logger.exception("the task of a phrase failed")
            flight.end(unexpected("phrase", error))
        if flight.asked:
            if flight.complete and any(piece.audio for piece in flight.pieces):
                await self._shelf.put(key, flight.pieces)
            await self._shelf.release(key)
        flights = _flights_of_this_run()
        if flights.get(place) is flight:  # only now: whoever came while it was stored was served by it
            del flights[place]
        flight.stored.set()

    async def _bring(self, flight: Flight, key: str, request: SpeechRequest) -> None:
        pieces = await self._shelf.get(key)
        if pieces is None:
            pieces = await self._shelf.claim(key, self._config.first_audio_deadline())
        if pieces is None:
            flight.asked = True
            queued_since = trio.current_time()

            async def take(event: PhraseEvent) -> None:
                if isinstance(event, Admitted) and trio.current_time() > queued_since + _SOON:
                    stored = await self._shelf.get(key)
                    if stored is not None:
                        raise _StoredMeanwhile(stored)
                await flight.take(event)

            try:
                await self._service.ask(request, take)
            except _StoredMeanwhile as found:
                flight.asked, pieces = False, found.pieces
            else:
                return
        for event in (Asked(), Answered(), *pieces):
            await flight.take(event)
