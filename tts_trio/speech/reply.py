"""The task that runs an LLM's reply: its text leaves in phrases over a connection that is already hot.

The utterance knows what is to happen when (`utterance.py`); here it is made to happen, in a task of the manager's, out
of reach of the caller's cancellation: what the caller's task does is to hand over text and to take audio, and neither
waits for the network.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import trio

from tts_trio._nurseries import single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.protocols import Limiter
from tts_trio.errors import ConcurrencyError, TTSConnectionError, TTSError
from tts_trio.limits.backoff import Backoff
from tts_trio.limits.limiter import has_lapsed, learn_from
from tts_trio.speech.channels import TextChannel
from tts_trio.speech.driver import Driver
from tts_trio.speech.http_fallback import PhrasesOverHttp
from tts_trio.speech.results import Receipt
from tts_trio.transport.connection import Connection
from tts_trio.transport.timers import has_expired
from tts_trio.wire.events import AudioReceived, Final

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

logger = logging.getLogger(__name__)

_REPLAY = Backoff(first=0.2, longest=0.2)  # from the second replay on
_REFUSED = Backoff(first=0.2)


AcquireConnection: TypeAlias = Callable[[], Awaitable[Connection]]
"""Returns a hot connection; waits for one up to `timeouts.connect`, and raises a `TTSError` without one."""


class Reply(Driver):
    """An LLM's reply: its text comes in pieces, and leaves in phrases over a connection that is already hot."""

    kind: ClassVar[str] = "reply"

    def __init__(
        self,
        config: TTSConfig,
        acquire: AcquireConnection,
        http: HttpConnections,
        connection: Connection | None,
    ) -> None:
        """Begin a reply.

        Args:
            config: The voice, the format, the deadlines.
            acquire: Takes another connection when one is over; this reply closes it.
            http: What speaks it if there is none, with `fallback="http"`.
            connection: The one to begin with; None: there was none to be had, so it is spoken over HTTP.
        """
        super().__init__(config)
        self.text: TextChannel = TextChannel(self.utterance, self.changed)
        self.utterance.admitted = config.limiter is None
        self._has_phrases = trio.Event()
        self._slot: object = None
        self._slot_lost = trio.Event()
        self._refusals = 0
        self._pause = 0.0  # seconds, after a refusal
        self._config = config
        self._acquire = acquire
        self._http = http
        self._over_http = connection is None
        self._connection: Connection | PhrasesOverHttp | None = None
        self._connection_over = trio.Event()
        self._scope = trio.CancelScope()
        self._timer = trio.CancelScope()
        if connection is None:
            self._connection_over.set()
        else:
            self._use(connection)

    async def run(self) -> None:
        """Keep the deadlines, and go on over another connection where one is over, until the utterance ends."""
        with self._ending(), self._scope, single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_deadlines)
                if self._config.limiter is not None:
                    nursery.start_soon(self._hold_slot, self._config.limiter)
                while True:
                    await self._connection_over.wait()
                    self._use(await self._another_connection(nursery))

    @trio.lowlevel.enable_ki_protection
    async def _hold_slot(self, limiter: Limiter) -> None:
        """Hold a slot from the first phrase until the utterance has ended; another one where it is lost or refused."""
        await self._has_phrases.wait()
        while True:
            async with limiter.slot() as self._slot:
                self._slot_lost = trio.Event()
                self.utterance.admitted = True
                self.changed()
                await self._slot_lost.wait()
            await trio.sleep(self._pause)
            self._pause = 0.0

    def _lose_slot(self) -> None:
        """Let nothing leave before there is another slot."""
        self.utterance.admitted = False
        self._slot_lost.set()

    @trio.lowlevel.enable_ki_protection
    async def _keep_deadlines(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.utterance.deadline()) as self._timer:
                await trio.sleep_forever()
            await has_expired(self.utterance.overdue_at)
            error = self.utterance.expire(trio.current_time())
            if error is not None and self._connection is not None:
                self._connection.abandon(error)
            self.changed()

    async def _another_connection(self, nursery: trio.Nursery) -> Connection | PhrasesOverHttp:
        if self.utterance.replays.count > 1:  # the first time at once, then not all calls in the same instant
            await trio.sleep(_REPLAY.after(self.utterance.replays.count - 1))
        if not self._over_http:
            try:
                return await self._acquire()
            except TTSConnectionError as error:
                if self._config.fallback is None:
                    raise
                logger.warning("a reply goes on over HTTP: %s", error)
                self._over_http = True
        return PhrasesOverHttp(self._config, self._http, nursery)

    def _use(self, connection: Connection | PhrasesOverHttp) -> None:
        self._connection = connection
        self._connection_over = trio.Event()
        self.utterance.connected()
        self._note_trace_id(connection)
        connection.take(self._on_event, self._on_loss)
        self.changed()

    def _on_event(self, event: AudioReceived | Final) -> None:
        error = self.utterance.receive(event, trio.current_time())
        if error is not None and self._connection is not None:
            self._connection.abandon(error)
        self.changed()

    def _on_loss(self, error: TTSError) -> None:
        if self._config.limiter is not None and isinstance(error, ConcurrencyError):
            self._refusals += 1
            self._pause = _REFUSED.after(self._refusals)
            learn_from(error, self._config.limiter)
            self._lose_slot()
        self.utterance.lost(error, trio.current_time())
        self.changed()

    def _note_trace_id(self, connection: Connection | PhrasesOverHttp) -> None:
        if connection.trace_id is not None:
            self.utterance.receipt = Receipt(trace_id=connection.trace_id)

    def changed(self) -> None:
        """Do what the state of the utterance asks for, after any change of it."""
        now = trio.current_time()
        if self.utterance.has_phrases:
            self._has_phrases.set()
        if self._connection is not None:
            if self.utterance.has_phrases and has_lapsed(self._slot):
                self._lose_slot()
            for phrase in self.utterance.phrases_to_send(now):
                self._connection.send_text(phrase)
            if self.utterance.end_to_send(now):
                self._connection.end_text()
        if self._connection is not None and not self.utterance.has_connection:
            self._note_trace_id(self._connection)
            self._connection.close()
            self._connection = None
            self._connection_over.set()
        self._timer.deadline = self.utterance.deadline()
        self._wake_readers()
        if self.utterance.ended is not None:
            self._scope.cancel(reason="the utterance has ended")
