"""Decides whether text whose connection was lost is sent again over another one, or given to the fallback."""

from __future__ import annotations

from typing import Literal, TypeAlias

from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConcurrencyError, EmptyAudioError, TTSError

Carrier: TypeAlias = Literal["websocket", "http", "elsewhere"]
"""What carries a part of an utterance; "elsewhere" is a function of the user's."""


class Replays:
    """Counts how often a part of an utterance was sent again, and says whether it may be once more.

    Attributes:
        count: The number of replays. A refusal for the plan's concurrency does not count where there is a limiter: the
            text then waits for a slot.
        given_up_for: The error for which the rest goes to `fallback`; None: it does not.
        in_fallback: Whether the connection in use is the fallback's.
    """

    def __init__(self, config: TTSConfig, *, falls_back: bool = True) -> None:
        """Begin an utterance.

        Args:
            config: The configuration.
            falls_back: Whether the utterance has a fallback at all: a static text has none.
        """
        self.count: int = 0
        self.given_up_for: TTSError | None = None
        self.in_fallback: bool = False
        self._config = config
        self._fallback = config.fallback if falls_back else None
        self._came_empty = False  # whether the last connection reported the end and sent no audio

    def allow(self, error: TTSError) -> bool:
        """Whether the text may be sent again after this error, or given to the fallback."""
        return self._may_replay(error) or self._can_fall_back(error)

    def note(self, error: TTSError) -> None:
        """Note that the text is sent again after this error, or given to the fallback."""
        if self._may_replay(error):
            self.count += not self._waits_for_slot(error)
            self._came_empty = isinstance(error, EmptyAudioError)
        else:
            self.given_up_for = error

    @property
    def fallen_back(self) -> bool:
        """Whether the rest goes to the fallback."""
        return self.given_up_for is not None

    def give_up(self, error: TTSError) -> bool:
        """Give the rest to the fallback, since there is no connection; False: there is no fallback that helps."""
        if not self._can_fall_back(error):
            return False
        self.given_up_for = error
        return True

    def connected(self) -> Carrier:
        """Note another connection, and return what it is."""
        self.in_fallback = self.fallen_back
        if not self.in_fallback:
            return "websocket"
        return "elsewhere" if callable(self._fallback) else "http"

    def _may_replay(self, error: TTSError) -> bool:
        """Whether the text may be sent again to the service. After two empty answers it may not."""
        if not error.retryable or (isinstance(error, EmptyAudioError) and self._came_empty):
            return False
        if self.in_fallback and callable(self._fallback):
            return False
        return self._waits_for_slot(error) or self.count < self._config.max_replays

    def _can_fall_back(self, error: TTSError) -> bool:
        """Whether there is a fallback, which is not in use yet. The service would fail by some errors over HTTP too."""
        if self.in_fallback or self._fallback is None:
            return False
        return error.retryable or self._fallback != "http"

    def _waits_for_slot(self, error: TTSError) -> bool:
        """Whether the plan's concurrency refused the text and a limiter queues it, within `timeouts.reply`."""
        return isinstance(error, ConcurrencyError) and self._config.limiter is not None
