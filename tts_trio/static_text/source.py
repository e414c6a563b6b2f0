"""The sources of a static text's audio: the events of an answer, and the service that gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
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
    """The lease of the slot expired before the request was sent, because the process stood still."""


@attrs.frozen
class SlotAcquired:
    """The request has a slot of the limiter, so it may be sent."""


@attrs.frozen
class RequestSent:
    """The request is sent over an open connection: from now on the service owes audio."""


@attrs.frozen
class ResponseStarted:
    """The answer has begun.

    Attributes:
        charged: Whether the service charges this utterance for the answer. An answer from a cache, or one that another
            utterance has requested, costs nothing.
        credits: The credits that the service charges; None where it does not say so.
        request_id: The service's id of the request.
        trace_id: The service's trace id of the request.
        concurrency: How many requests at once the plan allows; None where the service does not say so.
        dialed: Whether the request waited for a connection that was dialed.
    """

    charged: bool = True
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None
    concurrency: int | None = None
    dialed: bool = False


@attrs.frozen
class Hedged:
    """The request was sent a second time, because its first audio was late; or the answer to that one is heard.

    Attributes:
        characters: How many characters of text were sent now.
        won: Whether the audio is that of the second answer.
    """

    characters: int = 0
    won: bool = False


SourceEvent: TypeAlias = SlotAcquired | RequestSent | ResponseStarted | Hedged | AudioReceived

OnEvent: TypeAlias = Callable[[SourceEvent], Awaitable[None]]
"""A function that takes the next event, and returns when the next one may be read."""


class AudioSource(Protocol):
    """A source of a static text's audio."""

    async def ask(self, request: SpeechRequest, take: OnEvent) -> None:
        """Request the audio once, pass its events to `take`, and return when the answer is complete.

        Raises:
            TTSError: There is no connection or no answer, the service refused, or the answer broke off.
        """
        ...


StillWanted: TypeAlias = Callable[[], Awaitable[bool]]
"""A function that says whether to send the request, now that there is a slot for it."""


@attrs.frozen
class Service:
    """The service, over the hot connections of one conversation.

    Attributes:
        http: The connections.
        limiter: The limiter that has a slot for each request; None: requests need no slot.
        outlives: Whether an answer that has begun may be read to its end when the conversation has ended.
        background: Whether no caller waits for the audio (a prefetch).
    """

    http: HttpConnections
    limiter: Limiter | None
    outlives: bool = False
    background: bool = False

    async def ask(self, request: SpeechRequest, take: OnEvent, still_wanted: StillWanted | None = None) -> None:
        """Wait for a slot, send the request if it is still wanted, and pass the answer to `take` as it comes."""
        while True:
            limit = nullcontext() if self.limiter is None else self.limiter.slot(background=self.background)
            async with limit as slot:
                if still_wanted is not None and not await still_wanted():
                    return None
                await take(SlotAcquired())
                try:
                    return await self._ask(request, take, slot)
                except _SlotLost:
                    pass

    async def _ask(self, request: SpeechRequest, take: OnEvent, slot: object) -> None:
        if self.outlives and self.http.closed:
            raise TTSConnectionError("the conversation that was to request this text has ended")

        try:
            await self._send(request, take, slot)
        except ConcurrencyError as error:
            if self.limiter is not None:
                learn_from(error, self.limiter)
            raise

    async def _send(self, request: SpeechRequest, take: OnEvent, slot: object) -> None:
        """Send the request in a slot, and pass the answer on."""

        async def on_connection() -> None:
            if has_lapsed(slot):
                raise _SlotLost
            await take(RequestSent())

        lines = TimedLines() if request.timed else None
        async with self.http.stream(request, on_connection, outlives=self.outlives) as response:
            answered = ResponseStarted(
                credits=header_number(response.headers, "character-cost"),
                request_id=response.headers.get("request-id"),
                trace_id=response.headers.get("x-trace-id"),
                concurrency=header_number(response.headers, "maximum-concurrent-requests"),
                dialed=response.dialed,
            )
            if self.limiter is not None and answered.concurrency is not None:
                self.limiter.learn(answered.concurrency)
            await take(answered)
            async for chunk in response:
                for piece in [AudioReceived(chunk)] if lines is None else lines.feed(chunk):
                    await take(piece)
            for piece in lines.end() if lines else ():
                await take(piece)
