"""The words of one utterance, and estimates of their times, for where the service says none."""

from __future__ import annotations

import bisect

from tts_trio.speech.results import Word
from tts_trio.speech.sent_text import SentText
from tts_trio.speech.timed_words import Origin, Reached


class EstimatedWords:
    """The words as they are heard if all characters last equally long."""

    __slots__ = ("_characters_a_second", "_origin", "_sent", "_told", "_whole_ms")

    def __init__(self, sent: SentText, origin: Origin, characters_a_second: float) -> None:
        """Estimate the words of a text that is sent.

        Args:
            sent: The text.
            origin: Where it begins in the utterance.
            characters_a_second: How fast it is spoken, as far as that is known before its end.
        """
        self._sent = sent
        self._origin = origin
        self._characters_a_second = characters_a_second
        self._whole_ms: float | None = None
        self._told: tuple[Word, ...] = ()  # as they were last given out

    def end(self, ms: float) -> None:
        """Note how long all of the text sounds."""
        self._whole_ms = ms
        self._told = ()

    def until(self, ms: float) -> tuple[Word, ...]:
        """Return the words that have ended by a time; what was made for an earlier call is not made again."""
        count = self._count(ms)
        if count != len(self._told):
            text, origin, end_ms = self._sent.text, self._origin, self._end_ms
            more = slice(len(self._told), count)
            self._told += tuple(
                origin.word(text, start, end, end_ms(start), end_ms(end), estimated=True)
                for start, end in zip(self._sent.starts[more], self._sent.ends[more], strict=True)
            )
        return self._told

    def reached(self, ms: float) -> Reached:
        """Return how far the text has been spoken by a time."""
        count = self._count(ms)
        if not count:
            return Reached(0, 0.0)
        end = self._sent.ends[count - 1]
        return Reached(end, self._end_ms(end))

    def _count(self, ms: float) -> int:
        return bisect.bisect_right(self._sent.ends, ms, key=self._end_ms)

    def _end_ms(self, offset: int) -> float:
        """When the text up to an offset has been spoken."""
        if self._whole_ms is None:
            return 1000 * offset / self._characters_a_second
        return self._whole_ms * (offset / self._sent.length)  # exactly all of it for the last word
