"""Where the sound of a static text comes from: the events of an answer, and the service that gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from tts_trio.config.protocols import Limiter
from tts_trio.errors import ConcurrencyError, TTSConnectionError
from tts_trio.limits.limiter import has_lapsed, learn_from
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest, TimedLines, header_number

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections


class _SlotLost(Exception):
    """The slot lapsed before the request was sent: the process stood still."""


@attrs.frozen
class SlotAcquired:
    """The service may be asked: there was a slot of the plan's for it."""


@attrs.frozen
class RequestSent:
    """The request is on its way, over a connection that is open: from now on audio is owed."""


@attrs.frozen
class ResponseStarted:
    """The answer has begun.

    Attributes:
        charged: The service charges for it: it is no answer that others asked for, or that was kept from earlier.
        credits: What it charges; None where it does not say.
        request_id: The service's id of the request.
        trace_id: The service's trace id of it.
        concurrency: How many requests at once the service allows the account; None where it does not say.
    """

    charged: bool = True
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None
    concurrency: int | None = None


SourceEvent: TypeAlias = SlotAcquired | RequestSent | ResponseStarted | AudioReceived

OnEvent: TypeAlias = Callable[[SourceEvent], Awaitable[None]]
"""Takes the next event, and returns when there is room for more."""


class AudioSource(Protocol):
    """What can be asked for a static text."""

    async def ask(self, request: SpeechRequest, take: OnEvent) -> None:
        """Ask once, and hand over what comes; returns when the answer is complete.

        Raises:
            TTSError: There is no connection, or no answer, or it is a refusal, or it broke off.
        """
        ...


StillWanted: TypeAlias = Callable[[], Awaitable[bool]]
"""Whether the service is still to be asked, now that there is a slot for the request."""


@attrs.frozen
class Service:
    """The service itself, over the hot connections of one conversation.

    Attributes:
        limiter: What has a slot for the request; None: there are as many as one likes.
        outlives: An answer that has begun may be read to its end when the conversation is over.
        background: Nobody waits for it.
    """

    _http: HttpConnections
    limiter: Limiter | None
    outlives: bool = False
    background: bool = False

    async def ask(self, request: SpeechRequest, take: OnEvent, still_wanted: StillWanted | None = None) -> None:
        """Send the request, if it is still wanted when there is a slot, and hand over the answer as it comes."""
        while True:
            limit = nullcontext() if self.limiter is None else self.limiter.slot(background=self.background)
            async with limit as slot:
                if still_wanted is not None and not await still_wanted():
                    return None
                await take(SlotAcquired())
                with suppress(_SlotLost):
                    return await self._ask(request, take, slot)

    async def _ask(self, request: SpeechRequest, take: OnEvent, slot: object) -> None:
        if self.outlives and self._http.closed:
            raise TTSConnectionError("the conversation that began to ask for this text is over")

        async def on_connection() -> None:
            if has_lapsed(slot):
                raise _SlotLost
            await take(RequestSent())

        try:
            await self._stream(request, take, on_connection)
        except ConcurrencyError as error:
            if self.limiter is not None:
                learn_from(error, self.limiter)
            raise

    async def _stream(
        self, request: SpeechRequest, take: OnEvent, on_connection: Callable[[], Awaitable[None]]
    ) -> None:
        lines = TimedLines() if request.timed else None
        async with self._http.stream(request, on_connection, outlives=self.outlives) as response:
            answered = ResponseStarted(
                credits=header_number(response.headers, "character-cost"),
                request_id=response.headers.get("request-id"),
                trace_id=response.headers.get("x-trace-id"),
                concurrency=header_number(response.headers, "maximum-concurrent-requests"),
            )
            if self.limiter is not None and answered.concurrency is not None:
                self.limiter.learn(answered.concurrency)
            await take(answered)
            async for chunk in response:
                for piece in [AudioReceived(chunk)] if lines is None else lines.feed(chunk):
                    await take(piece)
            for piece in lines.end() if lines else ():
                await take(piece)
