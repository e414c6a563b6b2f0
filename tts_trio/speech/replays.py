"""Whether text that was lost with its connection is sent again over another one."""

from __future__ import annotations

from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConcurrencyError, EmptyAudioError, TTSError


class Replays:
    """How often a part of an utterance was sent again, and whether it may be once more.

    Attributes:
        count: How often; not counted is what the plan's concurrency refused, for it waits until a slot is free.
    """

    def __init__(self, config: TTSConfig) -> None:
        self.count: int = 0
        self._config = config
        self._came_empty = False  # the last connection reported its end and gave no sound

    def allow(self, error: TTSError) -> bool:
        """Whether the text may be sent once more after this loss. What came empty twice will do so again."""
        if not error.retryable or (isinstance(error, EmptyAudioError) and self._came_empty):
            return False
        return self._waits_for_slot(error) or self.count < self._config.max_replays

    def note(self, error: TTSError) -> None:
        """Note that it is sent again after this loss."""
        self.count += not self._waits_for_slot(error)
        self._came_empty = isinstance(error, EmptyAudioError)

    def _waits_for_slot(self, error: TTSError) -> bool:
        """Whether it was refused for now, and is sent when the limiter has a slot again, within `timeouts.reply`."""
        return isinstance(error, ConcurrencyError) and self._config.limiter is not None
