"""The task that runs an LLM's reply: it sends the phrases over a hot connection, and replays them over another one.

The utterance (`utterance.py`) decides what happens when, and the reply does it. The reply runs in a task of the
manager, which a cancellation of the caller's task does not reach. The caller's task only queues text and takes audio,
and neither waits for the network.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import trio

from tts_trio._nurseries import single_error
from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConcurrencyError, TTSError
from tts_trio.limits.backoff import Backoff
from tts_trio.speech.channels import TextChannel
from tts_trio.speech.driver import Driver
from tts_trio.speech.replays import Replays
from tts_trio.speech.results import Receipt
from tts_trio.transport.connection import Connection
from tts_trio.transport.timers import Timer, has_expired
from tts_trio.wire.events import AudioReceived, Final

if TYPE_CHECKING:
    from tts_trio.config.filler import Filler
    from tts_trio.speech.fallback import PhraseByPhrase
    from tts_trio.speech.hedged_connection import HedgedConnection
    from tts_trio.speech.interjections import Clip, Interjections
    from tts_trio.speech.limiter_slot import LimiterSlot
    from tts_trio.speech.openings import OpeningRecorder, Openings
    from tts_trio.transport.http import HttpConnections

logger = logging.getLogger(__name__)

_REPLAY = Backoff(first=0.2, longest=0.2)  # before each replay but the first
_SOON = 1.0  # seconds: audio puts off a timer that would fire by then, which costs a fifth of waking its task

AcquireConnection: TypeAlias = Callable[[], Awaitable[Connection]]
"""Waits up to `timeouts.connect` for a hot connection, and returns it; raises a `TTSError` if there is none."""

AcquireSpare: TypeAlias = Callable[[Connection], Connection | None]
"""Acquires a second connection that is free at once, for the same text; returns None if there is none."""

ReplyConnection: TypeAlias = "Connection | HedgedConnection | PhraseByPhrase"


class Reply(Driver):
    """Runs an LLM's reply: the caller sends its text in pieces, and the reply sends it on in phrases."""

    __slots__ = (
        "_acquire", "_acquiring", "_connection", "_going_on", "_hedged", "_http", "_interjections", "_only_listens",
        "_opening", "_openings", "_recorder", "_replayed", "_slot", "_timer",
    )  # fmt: skip

    kind: ClassVar[Literal["reply", "static text"]] = "reply"

    def __init__(
        self,
        config: TTSConfig,
        acquire: AcquireConnection,
        http: HttpConnections,
        connection: Connection | None,
        openings: Openings | None = None,
        acquire_spare: AcquireSpare | None = None,
        *,
        background: bool = False,
    ) -> None:
        """Begin a reply.

        Args:
            config: The voice, the format and the timeouts.
            acquire: Acquires the next connection when one was lost or has ended. The reply closes it.
            http: The HTTP connections for `fallback="http"`.
            connection: The first connection; None: there was none, so the fallback speaks.
            openings: What its first phrases can be said from, and are kept in; None: nothing.
            acquire_spare: Acquires a second connection for `hedge`; None: the reply is not hedged.
            background: Whether no caller waits for the audio (a prefetch).
        """
        super().__init__(config)
        self._openings = openings
        self._opening = openings  # from which the next phrase may be said; None: from nothing, or no more
        self._recorder: OpeningRecorder | None = None
        self._only_listens = False  # whether the utterance did after the last change
        self._slot: LimiterSlot | None = None
        self._acquire = acquire
        self._http = http
        self._replayed = 0  # how many replays have begun
        self._acquiring: trio.CancelScope | None = None  # the wait for another connection
        self._connection: ReplyConnection | None = None
        self._hedged: HedgedConnection | None = None
        self._interjections: Interjections | None = None
        self._going_on = False  # whether a task acquires another connection
        self._timer = Timer()
        if config.limiter is not None:
            from tts_trio.speech.limiter_slot import LimiterSlot  # loaded late: not all have a limiter

            self._slot = LimiterSlot(config.limiter, self.utterance, background=background)
        if connection is not None:
            self._record_anew()
            if config.hedge is not None and acquire_spare is not None:
                self._hedged = self._hedge(connection, acquire_spare)
            self._use(self._hedged or connection)

    def text_channel(self) -> TextChannel:
        """Make the channel that takes the text of the caller. Call it once."""
        return TextChannel(self.utterance, self._accepted, self.changed)

    def fill(self, filler: Filler, ask: Callable[[], Awaitable[Clip]]) -> None:
        """Say a filler while the LLM is silent; `ask` returns its audio. Call it before `run`."""
        from tts_trio.speech.interjections import Interjections  # loaded late: few ask for it

        self._interjections = Interjections(filler, ask, self.utterance)

    async def _speak(self) -> None:
        """Keep the deadlines until the utterance ends; other tasks acquire the next connection when one has ended."""
        hedged, self._hedged = self._hedged, None  # the connection, which holds the reply: this would close a cycle
        if self._slot is None and self._interjections is None and hedged is None:
            while self._connection is not None and self.utterance.ended is None:
                await self._keep_deadlines()
        if self.utterance.ended is None:
            await self._speak_with_tasks(hedged)

    async def _speak_with_tasks(self, hedged: HedgedConnection | None) -> None:
        """Do the same with a nursery, which most replies never need."""
        with single_error:
            async with trio.open_nursery() as nursery:
                if self._slot is not None:
                    nursery.start_soon(self._hold_slot, self._slot)
                if self._interjections is not None:
                    nursery.start_soon(self._interjections.run, self.changed)
                if hedged is not None:
                    nursery.start_soon(hedged.run)
                while self.utterance.ended is None:
                    if self._connection is None and not self._going_on:
                        self._going_on = True
                        nursery.start_soon(self._go_on, nursery)
                    await self._keep_deadlines()
                if nursery.child_tasks:
                    nursery.cancel_scope.cancel(reason="the utterance has ended")

    @trio.lowlevel.enable_ki_protection
    async def _go_on(self, nursery: trio.Nursery) -> None:
        """Speak over another connection."""
        connection = await self._another_connection(nursery)
        self._going_on = False
        self._use(connection)

    @trio.lowlevel.enable_ki_protection
    async def _hold_slot(self, slot: LimiterSlot) -> None:
        """Hold a slot until the utterance ends. If there is none in time, a fallback of the user's needs none."""
        try:
            await slot.hold(self.changed)
        except ConcurrencyError as error:
            if not callable(self._config.fallback) or not self.utterance.replays.give_up(error):
                raise
            self._stop_acquiring()
            self.utterance.lost(error, trio.current_time())
            self.changed()

    async def _keep_deadlines(self) -> None:
        await self._timer.wait(self.utterance.deadline())
        if self.utterance.deadline() > trio.current_time():  # it has moved on since the timer was set
            return
        await has_expired(self.utterance.overdue_at)
        error = self.utterance.expire(trio.current_time())
        if error is not None and self._connection is not None:
            self._connection.abandon(error)
        if self.utterance.replays.fallen_back:
            self._stop_acquiring()
        self.changed()

    def _stop_acquiring(self) -> None:
        if self._acquiring is not None:
            self._acquiring.cancel(reason="the fallback speaks")

    async def _another_connection(self, nursery: trio.Nursery) -> ReplyConnection:
        self._recorder = None  # which knows what went over the last connection only
        connection = None
        if not self.utterance.replays.fallen_back:
            with trio.CancelScope() as self._acquiring:
                connection = await self._acquire_again()
        if connection is None:
            return self._fallback(nursery)
        self._record_anew()
        return connection

    async def _acquire_again(self) -> Connection | None:
        """Wait for the next connection; return None if there is none, and the fallback goes on."""
        replays = self.utterance.replays
        if replays.count > max(1, self._replayed):  # the first replay at once, the others spread out over all calls
            await trio.sleep(_REPLAY.after(replays.count - 1))
        self._replayed = replays.count
        try:
            return await self._acquire()
        except TTSError as error:
            if not replays.give_up(error):
                raise
            return None

    def _fallback(self, nursery: trio.Nursery) -> PhraseByPhrase:
        from tts_trio.speech.fallback import PhrasesElsewhere, PhrasesOverHttp  # loaded late: few ask for it

        source, replays = self._config.fallback, self.utterance.replays
        if not replays.in_fallback:
            logger.warning("the fallback speaks the rest of a reply: %s", replays.given_up_for)
        if not callable(source):
            return PhrasesOverHttp(self._config, self._http, self.utterance.segments.said, nursery)
        if self._slot is not None:
            self._slot.give_back()
            self._slot = None
        return PhrasesElsewhere(self._config, source, nursery)

    def _hedge(self, connection: Connection, acquire_spare: AcquireSpare) -> HedgedConnection | None:
        """Put a second connection behind the first one, if the configuration asks for that; None if it does not."""
        from tts_trio.limits.hedging import Hedging  # loaded late: few ask for it
        from tts_trio.speech.hedged_connection import HedgedConnection

        hedging = Hedging.of_replies(self._config)
        if hedging is None:
            return None
        return HedgedConnection(connection, acquire_spare, hedging, self._config.limiter, self.utterance)

    def _use(self, connection: ReplyConnection) -> None:
        self._connection = connection
        self.utterance.connected()
        self._note_trace_id(connection)
        connection.take(self._on_event if self._recorder is None else self._record, self._on_loss)
        self.changed()

    def _record_anew(self) -> None:
        """Look for openings to keep in the audio of the next connection, unless some has come over another one."""
        if self._openings is not None and not self.utterance.segments.heard:
            from tts_trio.speech.openings import OpeningRecorder  # loaded late: few ask for it

            self._recorder = OpeningRecorder(self._config, self._openings)

    def _record(self, event: AudioReceived | Final) -> None:
        """Take an event of a connection whose audio may be that of an opening to keep."""
        if self._recorder is not None:
            if isinstance(event, Final):
                self._recorder.final()
            else:
                self._recorder.received(event)
        self._on_event(event)

    def _on_event(self, event: AudioReceived | Final) -> None:
        utterance, now = self.utterance, self._now()
        error = utterance.receive(event, now)
        if error is not None and self._connection is not None:
            self._connection.abandon(error)
        if not (self._only_listens and utterance.has_connection):
            self.changed()
            return
        if utterance.segments.waiting:
            self._readers.wake()
        if self._timer.fires_at - now < _SOON:
            self._timer.put_off(utterance.deadline())

    def _on_loss(self, error: TTSError) -> None:
        if self._slot is not None and isinstance(error, ConcurrencyError):
            self._slot.refused(error)
        self.utterance.lost(error, trio.current_time())
        self.changed()

    def _note_trace_id(self, connection: ReplyConnection) -> None:
        if connection.trace_id is not None:
            self.utterance.receipt = Receipt(trace_id=connection.trace_id)

    def _accepted(self) -> None:
        """Act on a piece of text. Most make no phrase, and change only when one is made of what there is."""
        if self._interjections is not None:
            self._interjections.text_came()
        utterance = self.utterance
        if utterance.phrases or utterance.unread or self._opening is not None:
            self.changed()
        elif self._timer.fires_at > self._now() + utterance.quiet:
            self._timer.bring_forward(utterance.text_deadline())

    def changed(self) -> None:
        """Send what the utterance has to send, close a connection that has ended, and wake the readers."""
        now = self._now()
        if self._opening is not None and self.utterance.say_from_memory(self._opening, now):
            self._opening = None
        if self._slot is not None and self.utterance.phrases:
            self._slot.want(connected=self._connection is not None)
        phrases = self.utterance.phrases_to_send(now)
        ends = self.utterance.end_to_send(now)
        if phrases or ends:
            assert self._connection is not None, phrases
            self._connection.send_text(*phrases, ends=ends)
            self._timer.put_off(self.utterance.deadline())  # the wait for more text is over
        if self._recorder is not None:
            for phrase in phrases:
                self._recorder.sent(phrase, recalled=self.utterance.segments.recalled)
        if self._connection is not None and not self.utterance.has_connection:
            self._note_trace_id(self._connection)
            self._connection.close()
            self._connection = None
        self._only_listens = self.utterance.only_listens
        self._timer.bring_forward(self.utterance.deadline())
        if self._interjections is not None:
            self._interjections.changed()
        self._wake_readers()
        if self._connection is None:  # another one is needed, or the utterance has ended
            self._timer.fire()


async def begin_reply(
    config: TTSConfig,
    acquire: AcquireConnection,
    http: HttpConnections,
    openings: Openings | None,
    acquire_spare: AcquireSpare | None,
    *,
    background: bool = False,
) -> Reply:
    """Wait for a connection, and begin a reply over it; or with the fallback, where there is none.

    The arguments are those of `Reply`.

    Raises:
        TTSError: There is no connection, and no fallback; or a retry cannot help.
    """
    began = trio.current_time()
    connection = failure = None
    try:
        connection = await acquire()
    except TTSError as error:
        if not Replays(config).give_up(error):
            raise
        failure = error
    try:
        reply = Reply(config, acquire, http, connection, openings, acquire_spare, background=background)
    except BaseException:  # the user's `phrase_policy` may raise
        if connection is not None:
            connection.close()
        raise
    if failure is not None:
        reply.utterance.replays.give_up(failure)
    moments = reply.utterance.moments
    if connection is not None:
        moments["connected"] = moments["started"]
        reply.utterance.connection = "dialed" if connection.hot_since > began else "reused"
    moments["started"] = began
    return reply
