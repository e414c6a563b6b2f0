"""Sends the text of a reply over a second connection as well, when its first audio is late; the first audio wins.

How the two end. The text goes over both, until one of these happens:

1. Audio comes over one of them. It is the reply's only connection from now on, as if there had been no other. The other
   one is closed in the same turn of the loop, and nothing of it is heard: a closed connection reports nothing more.
2. One of them is lost, or reports its end without audio. The other one goes on, and the reply does not learn of it.
3. Both are lost. The reply learns of the second loss, and replays its text as after any other.
4. The reply closes or abandons its connection: it has ended, or no audio came within `timeouts.first_audio`, which
   counts from when the text was sent first. Both are closed.

After each of these there is no race any more, and the second slot of the limiter is given back, since the reply holds
one itself. Nothing here waits for the second connection: it is hot, or there is none.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial

import trio

from tts_trio.config.protocols import Limiter
from tts_trio.errors import ConcurrencyError, EmptyAudioError, TTSError
from tts_trio.limits.hedging import Hedging
from tts_trio.limits.limiter import learn_from, with_free_slot
from tts_trio.speech.report import Report
from tts_trio.transport.connection import Connection
from tts_trio.transport.timers import until_late
from tts_trio.wire.events import AudioReceived, Final

logger = logging.getLogger(__name__)

_LONGEST_SILENCE = 96_000  # bytes: a second of the largest format, and no blank has more


class HedgedConnection:
    """Takes the place of a `Connection` for a reply, with a second one behind it.

    Attributes:
        trace_id: The service's id of the socket that carries the reply, or carried it last; None where it gave none.
    """

    def __init__(
        self,
        connection: Connection,
        acquire_spare: Callable[[Connection], Connection | None],
        hedging: Hedging,
        limiter: Limiter | None,
        report: Report,
    ) -> None:
        """Prepare; `run` has to be run in a task.

        Args:
            connection: The first connection.
            acquire_spare: Acquires a connection that is free at once, on another socket than that of the given one if
                there is one; returns None if there is none.
            hedging: When the first audio is late, and what may be spent.
            limiter: The limiter that has a slot for each connection that speaks; None: they need none.
            report: Where the second sending is noted.
        """
        self.trace_id: str | None = connection.trace_id
        self._first = connection
        self._acquire_spare = acquire_spare
        self._hedging = hedging
        self._limiter = limiter
        self._report = report
        self._sent_at = {connection: math.inf}  # when the text was sent first over those that may carry the reply
        self._begun_at = self._late_at = math.inf
        self._characters = 0
        self._phrases: list[str] = []  # for a second connection
        self._silence: dict[Connection, list[AudioReceived]] = {}  # which decides nothing, before their first sound
        self._is_complete = False
        self._begun = trio.Event()  # a phrase was sent
        self._over = trio.Event()  # there is no second connection, and will be none
        self._closed = False
        self._heard = False
        self._in_time = False
        self._on_event: Callable[[AudioReceived | Final], None]
        self._on_loss: Callable[[TTSError], None]

    def take(self, on_event: Callable[[AudioReceived | Final], None], on_loss: Callable[[TTSError], None]) -> None:
        """Report what comes for the reply, as `Connection.take` does."""
        self._on_event, self._on_loss = on_event, on_loss
        self._listen(self._first)

    def send_text(self, *phrases: str, ends: bool = False) -> None:
        """Send phrases over each connection, as `Connection.send_text` does."""
        if not self._begun.is_set():
            self._begun_at = self._sent_at[self._first] = trio.current_time()
            self._late_at = self._begun_at + self._hedging.after()
            self._begun.set()
        characters = sum(map(len, phrases))
        self._characters += characters
        if not self._over.is_set():
            self._phrases += phrases
        self._is_complete = ends
        for connection in tuple(self._sent_at):
            connection.send_text(*phrases, ends=ends)
        if len(self._sent_at) > 1:
            self._report.hedged_characters += characters

    def close(self) -> None:
        """End the reply's use of each connection, as `Connection.close` does."""
        if self._closed:
            return
        self._closed = True
        self._over.set()
        for connection in tuple(self._sent_at):
            connection.close()
        if self._in_time:
            self._hedging.budget.earn(self._characters)
        elif not self._heard:
            self._hedging.unanswered(trio.current_time() - self._begun_at)

    def abandon(self, error: TTSError) -> None:
        """Do what `close` does, and retire the sockets: the second one did not answer in time either."""
        for connection in tuple(self._sent_at):
            connection.abandon(error)
        self._sent_at.clear()
        self.close()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Wait until the first audio is late, and send the text over a second connection then."""
        await self._begun.wait()
        await until_late(self._due)
        await with_free_slot(self._limiter, self._race)

    def _due(self) -> float:
        return math.inf if self._over.is_set() else self._late_at

    async def _race(self) -> None:
        """Send the text over a second connection, and wait until one of the two is left."""
        characters = self._characters
        if self._over.is_set() or not self._hedging.budget.spend(characters):
            return
        second = self._acquire_spare(self._first)
        if second is None:
            self._hedging.budget.refund(characters)
            return
        self._report.hedge = "lost"
        self._report.hedged_characters += characters
        self._sent_at[second] = trio.current_time()
        self._listen(second)
        second.send_text(*self._phrases, ends=self._is_complete)
        await self._over.wait()

    def _listen(self, connection: Connection) -> None:
        connection.take(partial(self._receive, connection), partial(self._lose, connection))

    def _receive(self, connection: Connection, event: AudioReceived | Final) -> None:
        """Take what comes before it is decided which connection carries the reply."""
        if isinstance(event, AudioReceived) and _may_be_of_a_blank(event) and self._holds(connection, event):
            return
        if isinstance(event, AudioReceived) or len(self._sent_at) == 1:
            silence = self._silence.pop(connection, [])
            if silence or isinstance(event, AudioReceived):
                self._win(connection)
            for each in (*silence, event):
                if not self._closed:  # by what the reply does with the one before
                    self._on_event(each)
        else:
            connection.close()
            self._lose(connection, EmptyAudioError("the service reported the end and sent no audio for the text"))

    def _holds(self, connection: Connection, silence: AudioReceived) -> bool:
        """Hold silence until it is decided whether it is heard; False: there is too much of it for a blank's."""
        if silence.audio:
            held = self._silence.setdefault(connection, [])
            if sum(len(each.audio) for each in held) + len(silence.audio) > _LONGEST_SILENCE:
                return False
            held.append(silence)
        return True

    def _win(self, connection: Connection) -> None:
        now = trio.current_time()
        self._heard = True
        self._in_time = now <= self._late_at
        self._hedging.times.add(now - self._sent_at[connection])
        if connection is not self._first:
            self._report.hedge = "won"
        for other in [other for other in self._sent_at if other is not connection]:
            del self._sent_at[other]
            other.close()
        self.trace_id = connection.trace_id
        self._over.set()
        connection.take(self._on_event, self._on_loss)

    def _lose(self, connection: Connection, error: TTSError) -> None:
        self._sent_at.pop(connection, None)
        self._over.set()
        if not self._sent_at:
            self._on_loss(error)
            return
        logger.info("one of the two connections of a reply was lost, and the other one goes on: %s", error)
        if self._limiter is not None and isinstance(error, ConcurrencyError):
            learn_from(error, self._limiter)


def _may_be_of_a_blank(event: AudioReceived) -> bool:
    """Whether a sound has no times and is silent, as the service may answer a blank; it tells nothing of the text."""
    is_silent = event.audio == event.audio[:1] * len(event.audio)
    return is_silent and event.alignment is None and event.normalized_alignment is None
