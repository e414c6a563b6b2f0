"""Audio by the clock, for telephone lines: as little ahead of the caller's ear as the way there needs."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tts_trio.config.validators import number
from tts_trio.errors import TTSError
from tts_trio.speech.frames import Frames, next_piece
from tts_trio.speech.utterance import Utterance


class PacedFrames(trio.abc.ReceiveChannel[bytes]):
    """The frames of an utterance when they are due; made by `audio.paced()`.

    What it tells stays valid when the block of the utterance is left.
    """

    def __init__(
        self, frames: Frames, utterance: Utterance, changed: Callable[[], None], ms: int, lead_ms: float
    ) -> None:
        """Pace the frames of an utterance, of so many milliseconds each; see `AudioChannel.paced`.

        Args:
            frames: What is given when it is due.
            utterance: Whose playback counts the frames given.
            changed: Called after every change of the utterance that is made here.
            ms: The length of a frame.
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
        """Return the next frame, when all but `lead_ms` of those before it have been played.

        Raises:
            trio.EndOfChannel: The utterance is finished, and has been played to its end.
            TTSError: It failed; what came before was returned, and has been played.
            trio.ClosedResourceError: The audio was closed, or its block was left.
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
        """Close the audio: what is not finished is interrupted, and what was not played never is."""
        await self._frames.aclose()

    @property
    def played_ms(self) -> float:
        """How much the caller has heard, in milliseconds: until now, or until the audio was closed."""
        now = 0.0 if self._playback.left else trio.current_time()  # what is closed may have outlived trio's run
        return self._playback.heard(now) * 1000

    @property
    def unplayed_ms(self) -> float:
        """How much audio came from the service and was not played, in milliseconds; the lead is a part of it."""
        return max(0.0, self._utterance.segments.received_seconds * 1000 - self.played_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard nothing because no frame was there when it was due.

        A silence counts when it is over: by the next frame, or by a barge-in.
        """
        return self._playback.underruns

    @property
    def underrun_ms(self) -> float:
        """How long these silences were, all together, in milliseconds."""
        return self._playback.silence * 1000
