"""One clock for a whole call, for telephone lines that want a frame all the time."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

import trio

from tts_trio.config.formats import AudioFormat
from tts_trio.config.validators import require
from tts_trio.errors import ConfigurationError, TTSError
from tts_trio.speech.channels import AudioChannel
from tts_trio.speech.frames import silent_frame
from tts_trio.speech.playback import Slots
from tts_trio.speech.playout import PacedFrames


class Line:
    """The frames of a line that wants one every `ms` milliseconds, for a whole call: speech, or else silence.

    One task takes the frames, `async for frame in line`, from the beginning of the call to its end. Frame n is given n
    times `ms` after the first one, whatever is played. The utterances are played from any other task:

        async with tts.speak(llm_tokens) as audio:
            frames = line.play(audio)
            await frames.wait_played()
        history.append(audio.spoken(frames.played_ms))

    A barge-in is to leave the block of the utterance, as without a line: the next frame is silence already.
    """

    def __init__(self, format: AudioFormat, ms: int = 20) -> None:  # noqa: A002 - as `AudioChannel.format`
        """Make the line of a call.

        Args:
            format: The format of the frames, and of all that is played: `config.format`.
            ms: The length of a frame, in whole milliseconds.

        Raises:
            TypeError: `format` is not an `AudioFormat`.
            ConfigurationError: The format is mp3 or opus, which cannot be cut into frames of equal length; or `ms`
                milliseconds are not a whole number of samples.
        """
        require("format", format, AudioFormat)
        self.format: AudioFormat = format
        self._ms = ms
        self._slots = Slots(silent_frame(format, ms), ms)
        self._playing: deque[tuple[AudioChannel, PacedFrames]] = deque()
        self._closed = False

    def play(self, audio: AudioChannel) -> PacedFrames:
        """Play an utterance, after those that are played. It does not wait: `wait_played` of its frames does.

        Args:
            audio: The audio, of which nothing was received yet.

        Returns:
            The frames of the utterance, which the line takes: they tell how much was heard, and can be paused.

        Raises:
            ConfigurationError: The audio has another format than the line.
            trio.ClosedResourceError: The line was closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this line was closed")
        if audio.format != self.format:
            raise ConfigurationError(
                f"output_format: {audio.format.name!r} cannot be played on a line of {self.format.name}; give both the "
                "same format",
                field="output_format",
            )
        frames = audio.paced(self._ms, silence=True)
        frames.slots = self._slots
        self._playing.append((audio, frames))
        return frames

    async def receive(self) -> bytes:
        """Wait until the next frame is due, and return it.

        Raises:
            trio.ClosedResourceError: The line was closed.
        """
        if self._slots.next <= trio.current_time():
            await trio.lowlevel.checkpoint()
        while self._slots.next > trio.current_time():  # noqa: ASYNC110 - another task may have taken this frame
            await trio.sleep_until(self._slots.next)
        if self._closed:
            raise trio.ClosedResourceError("this line was closed")
        while self._playing:
            _, frames = self._playing[0]
            try:
                return frames.receive_nowait()
            except (trio.EndOfChannel, trio.ClosedResourceError, TTSError):  # `wait_played` raises what is to be raised
                self._playing.popleft()
        self._slots.take(trio.current_time())
        return self._slots.silence

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except trio.ClosedResourceError:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the line at the end of the call: an iteration ends, and what is played is interrupted."""
        self._closed = True
        for audio, _ in self._playing:
            audio.close()
        self._playing.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
