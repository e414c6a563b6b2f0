"""Decides whether text whose connection was lost is sent again over another one."""

from __future__ import annotations

from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConcurrencyError, EmptyAudioError, TTSError


class Replays:
    """Counts how often a part of an utterance was sent again, and says whether it may be once more.

    Attributes:
        count: The number of replays. A refusal for the plan's concurrency does not count where there is a limiter: the
            text then waits for a slot.
    """

    def __init__(self, config: TTSConfig) -> None:
        self.count: int = 0
        self._config = config
        self._came_empty = False  # whether the last connection reported the end and sent no audio

    def allow(self, error: TTSError) -> bool:
        """Whether the text may be sent again after this error. After two empty answers it may not."""
        if not error.retryable or (isinstance(error, EmptyAudioError) and self._came_empty):
            return False
        return self._waits_for_slot(error) or self.count < self._config.max_replays

    def note(self, error: TTSError) -> None:
        """Note that the text is sent again after this error."""
        self.count += not self._waits_for_slot(error)
        self._came_empty = isinstance(error, EmptyAudioError)

    def _waits_for_slot(self, error: TTSError) -> bool:
        """Whether the plan's concurrency refused the text and a limiter queues it, within `timeouts.reply`."""
        return isinstance(error, ConcurrencyError) and self._config.limiter is not None
