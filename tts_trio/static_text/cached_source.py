"""Phrases from a cache, or else from the service, which is asked once however many wait for one phrase.

A phrase on its way is a `Flight`. It belongs to nobody's conversation: the one that asked may be interrupted, or over,
while others go on listening. So it runs in a system task of trio's, hands what has come so far to whoever comes later,
and is given up when the last one leaves before its end.

Whoever joins a flight shares its answer, and not its troubles. The one that asked may have a wrong key, no credits, a
limiter that is full, a proxy that is down, or shorter timeouts: if the flight fails before its first audio, those who
joined it ask for themselves, the first of them for the others; and each of them alone when his first audio is overdue.
"""

from __future__ import annotations

import copy
import math
from typing import TypeAlias

import attrs
import trio

from tts_trio.config.config import TTSConfig
from tts_trio.errors import EmptyAudioError, ProtocolError, TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.static_text.entry import Wanted, memory
from tts_trio.static_text.shelf import Shelf
from tts_trio.static_text.source import Admitted, Answered, Asked, PhraseEvent, PhraseSource, TakeEvent
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = guarded_logger(__name__)


_ABOUT_THE_TEXT = frozenset(
    {"content_against_policy", "max_character_limit_exceeded", "text_too_long", "unsupported_language"}
)
"""The service's identifiers of what it would answer to everybody who asks for the text."""


class Flight:
    """One phrase on its way, and those who wait for it.

    Attributes:
        scope: Of its task.
        stored: Set when its task is over: the phrase is in the cache, or will not be.
        asked: It is the service that was asked for it.
        complete: All of it has come.
        pieces: The audio that has come.
    """

    def __init__(self, config: TTSConfig, wanted: Wanted, *, background: bool) -> None:
        """Begin one for the conversation of this configuration.

        Args:
            config: Of the conversation that asks.
            wanted: What is asked for.
            background: Nobody on the line waits for it.
        """
        self._config = config
        self._wanted = wanted
        self._background = background
        self.scope = trio.CancelScope()
        self.stored = trio.Event()
        self.asked = False
        self.complete = False
        self.pieces: list[AudioReceived] = []
        self._memory = 0
        self._asked_at: float | None = None
        self._news_at = -math.inf
        self._events: list[PhraseEvent] = []
        self._error: TTSError | None = None
        self._followers = 0
        self._news = trio.Event()

    def can_be_joined(self, config: TTSConfig, *, background: bool) -> bool:
        """Whether a conversation of this configuration is served by it as soon as by a request of its own.

        So it is when the phrase is coming, or was asked for and is not late. A flight that waits for a slot or a
        connection is joined by who would wait for the same, and not by who is on the line, if it is in the background.
        """
        if self.complete:
            return True
        if self._error is not None or self.scope.cancel_called:
            return False
        now = trio.current_time()
        if self.pieces:
            return now < self._news_at + config.stall_timeout
        if self._asked_at is not None:
            return now < self._asked_at + config.first_audio_deadline()
        if self._background and not background and not self._events:
            return False
        return _way(self._config) == _way(config)

    async def take(self, event: PhraseEvent) -> None:  # noqa: ASYNC910 - there is always room
        """Take the next event; for its task.

        Raises:
            ProtocolError: There is more than any speech of the text takes.
        """
        self._news_at = trio.current_time()
        if isinstance(event, Asked):
            self._asked_at = self._news_at
        elif isinstance(event, AudioReceived):
            self._memory += memory(event)
            if self._memory > self._wanted.most_memory:
                raise ProtocolError(f"the answer is longer than {len(self._wanted.text)} characters can sound")
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


def _way(config: TTSConfig) -> tuple[object, ...]:
    """What a request waits for before it is sent, and for how long."""
    return config.limiter, config.proxy, config.ssl_context, config.connect_timeout


_CLAIMED = 1.0  # seconds, for which somebody on the line waits for what another process has claimed
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
        wanted = Wanted.of(self._config, request)
        patience = trio.current_time() + self._config.first_audio_deadline()
        while True:
            flight, first = self._flight(wanted, request, may_join=trio.current_time() < patience)
            try:
                await flight.follow(take, charged=first)
            except TTSError as error:
                if first or flight.pieces or error.code in _ABOUT_THE_TEXT:
                    raise
                logger.debug("a request of another conversation failed, so this one asks for itself: %s", error)
            else:
                break
        if self._background:
            await flight.stored.wait()

    def _flight(self, wanted: Wanted, request: SpeechRequest, *, may_join: bool) -> tuple[Flight, bool]:
        """Return the flight of a phrase, and whether it was begun for this."""
        flights = _flights_of_this_run()
        place = id(self._shelf.cache), wanted.key
        flight = flights.get(place)
        if flight is not None and may_join and flight.can_be_joined(self._config, background=self._background):
            return flight, False
        flight = flights[place] = Flight(self._config, wanted, background=self._background)
        name = f"tts_trio phrase {wanted.key[:8]}"
        trio.lowlevel.spawn_system_task(self._fly, flight, place, wanted, request, name=name)
        return flight, True

    async def _fly(self, flight: Flight, place: _Place, wanted: Wanted, request: SpeechRequest) -> None:
        """Bring a phrase and store it; as a system task it must not raise."""
        try:
            with flight.scope:
                await self._bring(flight, wanted, request)
        except TTSError as error:
            flight.end(error)
        except Exception as error:
            logger.exception("the task of a phrase failed")
            flight.end(unexpected("phrase", error))
        flights = _flights_of_this_run()
        if flights.get(place) is flight:  # only now: whoever came while it was stored was served by it
            del flights[place]
        flight.stored.set()

    async def _bring(self, flight: Flight, wanted: Wanted, request: SpeechRequest) -> None:
        pieces = await self._shelf.get(wanted)
        if pieces is None:
            timeout = self._config.first_audio_deadline()
            pieces = await self._shelf.claim(wanted, timeout if self._background else min(timeout, _CLAIMED))
        if pieces is None:
            async with self._shelf.claimed(wanted):
                pieces = await self._fetch(flight, wanted, request)
                if pieces is None:
                    flight.end()
                    await self._shelf.put(wanted, flight.pieces)
                    return
        for event in (Asked(), Answered(), *pieces):
            await flight.take(event)
        flight.end()

    async def _fetch(self, flight: Flight, wanted: Wanted, request: SpeechRequest) -> tuple[AudioReceived, ...] | None:
        """Have the service answer; return the phrase if it came into the cache before the service was asked."""
        flight.asked = True
        queued_since = trio.current_time()

        async def take(event: PhraseEvent) -> None:
            if isinstance(event, Admitted) and trio.current_time() > queued_since + _SOON:
                stored = await self._shelf.get(wanted)
                if stored is not None:
                    raise _StoredMeanwhile(stored)
            await flight.take(event)

        try:
            await self._service.ask(request, take)
        except _StoredMeanwhile as found:
            flight.asked = False
            return found.pieces
        if not wanted.sounds(flight.pieces):
            raise EmptyAudioError("the service sent no audio for the text: nothing in its answer sounds")
        return None
