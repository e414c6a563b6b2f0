"""`LimiterSlot`: the slot of the user's limiter that a reply holds from its first phrase until it ends."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tts_trio.config.protocols import Limiter
from tts_trio.errors import ConcurrencyError
from tts_trio.limits.backoff import Backoff
from tts_trio.limits.limiter import has_lapsed, learn_from
from tts_trio.speech.utterance import Utterance

_REFUSED = Backoff(first=0.2)  # after a refusal for the plan's concurrency


class LimiterSlot:
    """Has an utterance admitted while it holds a slot. No phrase is sent before it is."""

    def __init__(self, limiter: Limiter, utterance: Utterance, *, background: bool) -> None:
        """Hold the utterance back; `hold` has to be run in a task.

        Args:
            limiter: The limiter of the configuration.
            utterance: The utterance of the reply.
            background: Whether no caller waits for the audio (a prefetch).
        """
        utterance.admitted = False
        self._limiter = limiter
        self._utterance = utterance
        self._background = background
        self._slot: object = None
        self._wanted = trio.Event()
        self._lost = trio.Event()
        self._scope = trio.CancelScope()
        self._refusals = 0
        self._pause = 0.0  # seconds to wait after a refusal before the next slot

    async def hold(self, changed: Callable[[], None]) -> None:
        """Hold a slot from the first phrase on; after a loss of it, or a refusal of the service, wait for another one.

        Args:
            changed: A function that is called when the utterance was admitted.

        Raises:
            ConcurrencyError: There was none in time.
        """
        await self._wanted.wait()
        with self._scope:
            while True:
                async with self._limiter.slot(background=self._background) as self._slot:
                    self._lost = trio.Event()
                    self._utterance.admitted = True
                    changed()
                    await self._lost.wait()
                await trio.sleep(self._pause)
                self._pause = 0.0

    def want(self, *, connected: bool) -> None:
        """Note that there are phrases to send; where there is a connection, a slot that has lapsed is lost."""
        self._wanted.set()
        if connected and has_lapsed(self._slot):
            self._lose()

    def refused(self, error: ConcurrencyError) -> None:
        """Note that the service refused to speak for the plan's concurrency, although there was a slot."""
        self._refusals += 1
        self._pause = _REFUSED.after(self._refusals)
        learn_from(error, self._limiter)
        self._lose()

    def give_back(self) -> None:
        """Give the slot back for good: what speaks on needs none."""
        self._scope.cancel(reason="the service speaks no more of this reply")
        self._utterance.admitted = True

    def _lose(self) -> None:
        """Give the slot back, and send no phrase before there is another one."""
        self._utterance.admitted = False
        self._lost.set()
