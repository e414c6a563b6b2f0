"""Gives audio at the speed at which it is played, for telephone lines, with a short lead over the caller's ear."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tts_trio.config.validators import number
from tts_trio.errors import TTSError
from tts_trio.speech.frames import Frames, next_piece
from tts_trio.speech.utterance import Utterance


class PacedFrames(trio.abc.ReceiveChannel[bytes]):
    """The frames of an utterance, each when it is due, returned by `audio.paced()`.

    The properties stay valid when the block of the utterance was left.
    """

    def __init__(
        self, frames: Frames, utterance: Utterance, changed: Callable[[], None], ms: int, lead_ms: float
    ) -> None:
        """Pace the frames of an utterance; see `AudioChannel.paced`.

        Args:
            frames: The frames.
            utterance: The utterance, whose `playback` counts the frames that were returned.
            changed: The function to call after each change of the utterance.
            ms: The length of a frame, in milliseconds.
            lead_ms: As in `AudioChannel.paced`.
        """
        number(ms, 1e9, "a number of milliseconds").check("lead_ms", lead_ms)
        self._frames = frames
        self._utterance = utterance
        self._changed = changed
        self._lead = lead_ms / 1000
        self._seconds = ms / 1000
        self._due = b""  # the next frame, while it waits for its time
        self._playback = utterance.playback
        self._playback.paced = True

    async def receive(self) -> bytes:
        """Wait until all but `lead_ms` of the earlier frames were played, and return the next frame.

        Raises:
            trio.EndOfChannel: The utterance is finished, and was played to its end.
            TTSError: The utterance failed. The frames of all audio received before were returned and played.
            trio.ClosedResourceError: The audio was closed, or the block of the utterance was left.
        """
        try:
            self._due = self._due or await self._frames.receive()
        except (trio.EndOfChannel, TTSError):
            await trio.sleep_until(self._playback.silent_from)  # noqa: ASYNC120 - the next call raises the same again
            raise
        await trio.sleep_until(self._playback.silent_from - self._lead)
        if self._playback.left:
            raise trio.ClosedResourceError("this audio channel was closed")
        frame, self._due = self._due, b""
        self._playback.give(self._seconds, trio.current_time())
        if self._utterance.waits_for_playback:
            self._changed()
        return frame

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._utterance)

    async def aclose(self) -> None:
        """Close the audio, which interrupts an unfinished utterance. Frames that were not played are dropped."""
        await self._frames.aclose()

    @property
    def played_ms(self) -> float:
        """How much audio the caller has heard until now, or until the audio was closed, in milliseconds."""
        now = 0.0 if self._playback.left else trio.current_time()  # a closed one may be read outside of `trio.run`
        return self._playback.heard(now) * 1000

    @property
    def unplayed_ms(self) -> float:
        """How much audio has come from the service and was not heard yet, in milliseconds; it includes the lead."""
        return max(0.0, self._utterance.segments.received_seconds * 1000 - self.played_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard a gap because no frame had come when it was due.

        A gap counts when the next frame or a barge-in has ended it.
        """
        return self._playback.underruns

    @property
    def underrun_ms(self) -> float:
        """The sum of these gaps, in milliseconds."""
        return self._playback.silence * 1000
