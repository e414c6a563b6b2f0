"""Sends the request for a static text a second time when its first audio is late; the first audio wins.

Both requests run in tasks of one nursery, each over a connection of its own. The first sound of either decides. The
other request is cancelled in the same turn of the loop, which closes its connection, since an answer that is not read
to its end cannot be followed by another one. What still comes of it before that is passed on to nobody. While none has
brought a sound, one of the two may fail, or end without one: the other one goes on. The head of an answer decides
nothing, as a server may send it long before the sound.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import attrs
import trio

from tts_trio._nurseries import single_error
from tts_trio.errors import ConcurrencyError, TTSError
from tts_trio.limits.hedging import Hedging
from tts_trio.limits.limiter import learn_from, with_free_slot
from tts_trio.static_text.source import Hedged, OnEvent, RequestSent, Service, SourceEvent
from tts_trio.transport.timers import until_late
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = logging.getLogger(__name__)

Send: TypeAlias = Callable[[OnEvent, object], Awaitable[None]]
"""Sends the request in a slot, and passes on its events, from `RequestSent` to the last audio."""


@attrs.frozen
class HedgedService(Service):
    """The service, which is asked a second time when its first audio is late.

    Attributes:
        hedging: When that is, and what may be spent.
    """

    hedging: Hedging = attrs.field(kw_only=True)

    async def _send(self, request: SpeechRequest, take: OnEvent, slot: object) -> None:
        await HedgedRequest(partial(super()._send, request), take, slot, self, len(request.text)).run()


@attrs.define(eq=False)
class _Request:
    """One of the two requests.

    Attributes:
        is_first: Whether it is the first one.
        sent_at: When it was sent; before, infinity.
        held: What came of the second one while nothing was decided.
        scope: The scope around it.
    """

    is_first: bool
    sent_at: float = math.inf
    held: list[SourceEvent] = attrs.field(factory=list[SourceEvent])
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class HedgedRequest:
    """A request, and perhaps a second one for the same text."""

    def __init__(
        self,
        send: Send,
        take: OnEvent,
        slot: object,
        service: HedgedService,
        characters: int,
    ) -> None:
        """Prepare.

        Args:
            send: Sends the request.
            take: Takes the events of the answer that is heard.
            slot: The slot of the first request.
            service: The service, whose limiter has a slot for each request.
            characters: The length of the text.
        """
        self._send = send
        self._take = take
        self._slot = slot
        self._service = service
        self._hedging = service.hedging
        self._characters = characters
        self._requests = [_Request(is_first=True)]  # those that may still be heard
        self._winner: _Request | None = None
        self._sent = trio.Event()
        self._late_at = math.inf
        self._over = trio.Event()  # there is no second request, and will be none

    async def run(self) -> None:
        """Send the request, and return when one answer is complete.

        Raises:
            TTSError: Each request failed; this is the last error.
        """
        [first] = self._requests
        try:
            with single_error:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hedge, nursery)
                    await self._run_one(first, nursery)
        finally:
            if self._winner is None:
                self._hedging.unanswered(trio.current_time() - first.sent_at)

    @trio.lowlevel.enable_ki_protection
    async def _run_one(self, request: _Request, nursery: trio.Nursery) -> None:
        with request.scope:
            try:
                await self._send(partial(self._receive, request), self._slot if request.is_first else None)
            except TTSError as error:
                if self._is_last(request):
                    raise
                logger.info("one of the two requests for a text failed, and the other one goes on: %s", error)
                if self._service.limiter is not None and isinstance(error, ConcurrencyError):
                    learn_from(error, self._service.limiter)
            else:
                if self._is_last(request):
                    nursery.cancel_scope.cancel(reason="the answer is complete")

    def _is_last(self, request: _Request) -> bool:
        """Note that a request is over; tell whether the text's answer is over with it."""
        if request in self._requests:  # a loser may end, or fail, before its cancellation is delivered
            self._requests.remove(request)
        self._over.set()
        return not self._requests and self._winner in (None, request)

    async def _receive(self, request: _Request, event: SourceEvent) -> None:
        match event:
            case RequestSent():
                request.sent_at = trio.current_time()
                if not request.is_first:
                    return
                self._late_at = request.sent_at + self._hedging.after()
                self._sent.set()
            case AudioReceived() if self._winner is None:
                self._win(request)
                for earlier in request.held:
                    await self._take(earlier)
            case _ if self._winner is None and not request.is_first:
                request.held.append(event)
                return
            case _:
                pass
        if self._winner is None or self._winner is request:
            await self._take(event)

    def _win(self, request: _Request) -> None:
        now = trio.current_time()
        self._winner = request
        self._hedging.times.add(now - request.sent_at)
        if now <= self._late_at:
            self._hedging.budget.earn(self._characters)
        if not request.is_first:
            request.held.append(Hedged(won=True))
        for other in [other for other in self._requests if other is not request]:
            self._requests.remove(other)
            other.scope.cancel(reason="the other answer came first")
        self._over.set()

    @trio.lowlevel.enable_ki_protection
    async def _hedge(self, nursery: trio.Nursery) -> None:
        """Wait until the first audio is late, and send the request a second time then."""
        await self._sent.wait()
        await until_late(self._due)  # which moves where the request is sent anew
        await with_free_slot(self._service.limiter, partial(self._race, nursery))

    def _due(self) -> float:
        return math.inf if self._over.is_set() else self._late_at

    async def _race(self, nursery: trio.Nursery) -> None:
        """Send the request over a second connection, and wait until one of the two is left."""
        if self._over.is_set() or not self._service.http.idle or not self._hedging.budget.spend(self._characters):
            return
        second = _Request(is_first=False)
        self._requests.append(second)
        nursery.start_soon(self._run_one, second, nursery)
        await self._take(Hedged(self._characters))
        await self._over.wait()
