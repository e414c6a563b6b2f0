"""Cuts audio into frames of one length, as telephone lines take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tts_trio.config.formats import AudioFormat
from tts_trio.config.validators import whole
from tts_trio.errors import ConfigurationError, TTSError
from tts_trio.speech.utterance import Utterance

if TYPE_CHECKING:
    from tts_trio.speech.channels import AudioChannel


async def next_piece(pieces: trio.abc.ReceiveChannel[bytes], utterance: Utterance) -> bytes:
    """Return the next piece of an iteration over an audio channel, or over its frames.

    Raises:
        StopAsyncIteration: The utterance is finished, or `audio.close()` was called.
        TTSError: The utterance failed.
        trio.ClosedResourceError: The block of the utterance, or of its manager, was left.
    """
    try:
        return await pieces.receive()
    except trio.EndOfChannel:
        raise StopAsyncIteration from None
    except trio.ClosedResourceError:
        if not utterance.dismissed:
            raise
        raise StopAsyncIteration from None


def silent_frame(sound: AudioFormat, ms: int) -> bytes:
    """Return a frame of silence.

    Raises:
        ConfigurationError: As of `AudioChannel.frames`.
    """
    whole(1, 10_000).check("ms", ms)
    if sound.silence is None:
        raise ConfigurationError(
            f"output_format: {sound.name!r} cannot be cut into frames of equal length; it must be ulaw_8000, "
            "alaw_8000 or one of pcm_*",
            field="output_format",
        )
    samples, rest = divmod(sound.sample_rate * ms, 1000)
    if rest:
        raise ConfigurationError(
            f"ms: {ms!r} is not allowed at {sound.sample_rate} Hz, as a frame must have a whole number of samples; "
            "20 is allowed",
            field="ms",
        )
    return sound.silence * samples


class Frames(trio.abc.ReceiveChannel[bytes]):
    """The audio of an utterance in frames of exactly one length, returned by `audio.frames(ms=20)`.

    The last frame is filled up with the format's own silence. A frame of 20 ms of `ulaw_8000` has 160 bytes.
    """

    def __init__(self, audio: AudioChannel, utterance: Utterance, ms: int) -> None:
        """Cut an audio channel into frames; see `AudioChannel.frames`."""
        silence = silent_frame(utterance.format, ms)
        self._audio = audio
        self._utterance = utterance
        self._silence = silence
        self._size = len(silence)
        self._held = bytearray()

    async def receive(self) -> bytes:
        """Wait for the next frame, and return it.

        Raises:
            trio.EndOfChannel: The utterance is finished.
            TTSError: The utterance failed. The frames of all audio received before were returned.
            trio.ClosedResourceError: The audio was closed, or the block of the utterance was left.
        """
        if len(self._held) >= self._size:
            await trio.lowlevel.checkpoint()
        while len(self._held) < self._size or self._utterance.playback.left:
            try:
                self._held += await self._audio.receive()
            except (trio.EndOfChannel, TTSError):  # the channel raises it again for the next frame
                if not self._held:
                    raise
                self._fill()
        return self._cut()

    def receive_nowait(self) -> bytes:
        """Return the next frame without waiting; it also raises what `receive` does.

        Raises:
            trio.WouldBlock: The audio of a whole frame has not come yet.
        """
        while len(self._held) < self._size or self._utterance.playback.left:
            try:
                self._held += self._audio.receive_nowait()
            except (trio.EndOfChannel, TTSError):
                if not self._held:
                    raise
                self._fill()
        return self._cut()

    def _fill(self) -> None:
        self._held += self._silence[len(self._held) :]

    def _cut(self) -> bytes:
        frame = bytes(self._held[: self._size])
        del self._held[: self._size]
        return frame

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._utterance)

    async def aclose(self) -> None:
        """Close the audio, which interrupts an unfinished utterance."""
        await self._audio.aclose()
