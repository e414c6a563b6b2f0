"""Gives the words of an utterance, each when the listener has heard it."""

from __future__ import annotations

import bisect
import itertools
import math
from operator import attrgetter

import trio

from tts_trio._nurseries import WaitingTasks
from tts_trio.speech.results import Word
from tts_trio.speech.timed_words import ROUNDING_MS
from tts_trio.speech.utterance import Utterance

_ROUNDED = 1e-6  # seconds: sums of durations are not exact


class HeardWords(trio.abc.ReceiveChannel[Word]):
    """The words that the listener has heard, in order, returned by `audio.heard()`.

    The words that are known may change until they are heard: estimated times give way to times, and after a loss a word
    begins again. So a reader keeps the place in the text up to which it has given words, and not a number of words. The
    words of fillers have no place of their own in the text, but their times do not change.
    """

    def __init__(self, utterance: Utterance, changes: WaitingTasks) -> None:
        """Begin before the first word; see `AudioChannel.heard`.

        Args:
            utterance: The utterance.
            changes: Where a task waits for the next change of `utterance.playback`, or for the end of the utterance.
        """
        self._utterance = utterance
        self._changes = changes
        self._given = 0  # the end of the last word of the text, in its characters
        self._filler_ms = (-1.0, -1.0)  # the times of the last word of a filler
        self._closed = False

    async def receive(self) -> Word:
        """Wait until the listener has heard another word, and return it.

        Raises:
            trio.EndOfChannel: All audio was heard, or the caller left; all words heard until then were returned.
            trio.ClosedResourceError: This channel was closed.
        """
        await trio.lowlevel.checkpoint()
        while (due := self._due()) > trio.current_time():
            with trio.move_on_at(due):
                await self._changes.wait()
        return self.receive_nowait()

    def receive_nowait(self) -> Word:
        """Return the next word that was heard, without waiting; it also raises what `receive` does.

        Raises:
            trio.WouldBlock: No further word was heard yet.
        """
        if self._closed:
            raise trio.ClosedResourceError("this channel of heard words was closed")
        playback, word = self._utterance.playback, self._next()
        now = 0.0 if playback.left else trio.current_time()  # a closed one may be read outside of `trio.run`
        if word is not None and word.end_ms <= playback.heard(now) * 1000 + ROUNDING_MS:
            if word.filler:
                self._filler_ms = (word.start_ms, word.end_ms)
            else:
                self._given = word.end
            return word
        if over_at(self._utterance) <= now:
            raise trio.EndOfChannel
        raise trio.WouldBlock

    async def aclose(self) -> None:
        """Close this channel. The audio goes on."""
        self._closed = True
        self._changes.wake()
        await trio.lowlevel.checkpoint()

    def _next(self) -> Word | None:
        words = self._utterance.segments.words
        index = bisect.bisect_left(words, self._given, key=attrgetter("start"))
        following = itertools.islice(words, index, None)
        return next(
            (word for word in following if not word.filler or self._filler_ms < (word.start_ms, word.end_ms)), None
        )

    def _due(self) -> float:
        """Return when `receive_nowait` will not block, if nothing changes before."""
        word = self._next()
        heard_at = math.inf if word is None else self._utterance.playback.hears(word.end_ms / 1000)
        return -math.inf if self._closed else min(heard_at, over_at(self._utterance))


def over_at(utterance: Utterance) -> float:
    """Return when nothing more of an utterance will be heard; infinity if that is not known."""
    playback = utterance.playback
    if playback.left:
        return -math.inf
    if utterance.ended is None or utterance.segments.waiting:
        return math.inf
    if playback.paced and playback.given < utterance.segments.received_seconds - _ROUNDED:
        return math.inf
    return playback.silent_from
