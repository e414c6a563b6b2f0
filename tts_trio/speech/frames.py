"""Frames of one length: what telephone lines take."""

from __future__ import annotations

import trio

from tts_trio.config.validators import whole
from tts_trio.errors import ConfigurationError, TTSError
from tts_trio.speech.utterance import Utterance


async def next_piece(pieces: trio.abc.ReceiveChannel[bytes], utterance: Utterance) -> bytes:
    """Return what an iteration over a channel, or over frames that are made of it, gives next.

    Raises:
        StopAsyncIteration: The utterance is finished, or `audio.close()` was called: who did so knows.
        TTSError: It failed.
        trio.ClosedResourceError: Its block was left, or that of its manager.
    """
    try:
        return await pieces.receive()
    except trio.EndOfChannel:
        raise StopAsyncIteration from None
    except trio.ClosedResourceError:
        if not utterance.dismissed:
            raise
        raise StopAsyncIteration from None


class Frames(trio.abc.ReceiveChannel[bytes]):
    """Audio in frames of exactly one length; made by `audio.frames(ms=20)`.

    The last one is filled up with the format's own silence. Of 20 ms of `ulaw_8000`, a frame has 160 bytes.
    """

    def __init__(self, audio: trio.abc.ReceiveChannel[bytes], utterance: Utterance, ms: int) -> None:
        """Cut the audio of an utterance's channel; see `AudioChannel.frames`."""
        whole(1, 10_000).check("ms", ms)
        sound = utterance.format
        if sound.silence is None:
            raise ConfigurationError(
                f"output_format: {sound.name!r} cannot be cut into frames of {ms} ms, since its samples are not "
                "separate in the bytes; use ulaw_8000, alaw_8000 or one of pcm_*",
                field="output_format",
            )
        samples, rest = divmod(sound.sample_rate * ms, 1000)
        if rest:
            raise ConfigurationError(
                f"ms: {ms!r} ms are not a whole number of samples at {sound.sample_rate} Hz; use 20", field="ms"
            )
        self._audio = audio
        self._utterance = utterance
        self._silence = sound.silence
        self._size = samples * len(sound.silence)
        self._held = bytearray()

    async def receive(self) -> bytes:
        """Return the next frame.

        Raises:
            trio.EndOfChannel: The utterance is finished.
            TTSError: It failed; what came before was returned.
            trio.ClosedResourceError: The audio was closed, or its block was left.
        """
        await trio.lowlevel.checkpoint()
        while len(self._held) < self._size or self._utterance.playback.left:
            try:
                self._held += await self._audio.receive()
            except (trio.EndOfChannel, TTSError):  # raised again by the next call
                if not self._held:
                    raise
                self._held += self._silence * ((self._size - len(self._held)) // len(self._silence))
        frame = bytes(self._held[: self._size])
        del self._held[: self._size]
        return frame

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._utterance)

    async def aclose(self) -> None:
        """Close the audio: what is not finished is interrupted."""
        await self._audio.aclose()
