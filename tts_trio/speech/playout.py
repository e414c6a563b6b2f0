"""Audio by the clock, for telephone lines: as little ahead of the caller's ear as the way there needs."""

from __future__ import annotations

import trio

from tts_trio.config.validators import seconds
from tts_trio.errors import TTSError
from tts_trio.speech.channels import AudioChannel
from tts_trio.speech.frames import next_piece


class PacedFrames(trio.abc.ReceiveChannel[bytes]):
    """The frames of an utterance when they are due; made by `paced`.

    What it tells stays valid when the block of the utterance is left.
    """

    def __init__(self, audio: AudioChannel, lead: float, ms: int) -> None:
        """Pace a channel's audio; see `paced`."""
        self._frames = audio.frames(ms)
        seconds(ms / 1000).check("lead", lead)
        self._audio = audio
        self._lead = lead
        self._seconds = ms / 1000
        self._due = b""  # the next frame, while it waits for its time
        self._listener = audio.listener
        self._listener.paced = True

    async def receive(self) -> bytes:
        """Return the next frame, when all but `lead` seconds of those before it have been played.

        Raises:
            trio.EndOfChannel: The utterance is finished, and has been played to its end.
            TTSError: It failed; what came before was returned, and has been played.
            trio.ClosedResourceError: The audio was closed, or its block was left.
        """
        try:
            self._due = self._due or await self._frames.receive()
        except (trio.EndOfChannel, TTSError):
            await trio.sleep_until(self._listener.silent_from)  # noqa: ASYNC120 - the next call raises the same again
            raise
        await trio.sleep_until(self._listener.silent_from - self._lead)
        if self._audio.closed:
            raise trio.ClosedResourceError("this audio channel was closed")
        frame, self._due = self._due, b""
        self._audio.hand_over(self._seconds)
        return frame

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._audio)

    async def aclose(self) -> None:
        """Close the audio: what is not finished is interrupted, and what was not played never is."""
        await self._audio.aclose()

    @property
    def played_ms(self) -> float:
        """How much the caller has heard, in milliseconds: until now, or until the audio was closed."""
        now = 0.0 if self._audio.closed else trio.current_time()  # what is closed may have outlived trio's run
        return self._listener.heard(now) * 1000

    @property
    def unplayed_ms(self) -> float:
        """How much audio came from the service and was not played, in milliseconds; the lead is a part of it."""
        return max(0.0, self._audio.received_ms - self.played_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard nothing because no frame was there when it was due.

        A silence counts when it is over: by the next frame, or by a barge-in.
        """
        return self._listener.underruns

    @property
    def underrun_ms(self) -> float:
        """How long these silences were, all together, in milliseconds."""
        return self._listener.silence * 1000


def paced(audio: AudioChannel, lead: float = 0.2, *, ms: int = 20) -> PacedFrames:
    """Give the audio of an utterance by the clock, in frames, for a far end that plays what it gets in real time.

    A frame is given `lead` seconds before it is due, and never earlier, so that a barge-in finds little that is still
    to be played. Leaving the block of the utterance, or closing `audio`, ends it at once; `audio.spoken(played_ms)`
    is then what the caller heard, while `audio.outcome` counts what was taken from the channel.

        async with tts.speak(llm_tokens) as audio:
            frames = paced(audio)
            async for frame in frames:  # ends when the last one has been played
                await line.send(frame)
        history.append(audio.spoken(frames.played_ms))

    Args:
        audio: Of PCM or one of the telephone codecs. It is not read by anybody else then.
        lead: How far the far end is ahead of the caller's ear, in seconds, against jitter on the way and in this
            process; at least one frame.
        ms: The length of a frame, in milliseconds.

    Returns:
        The frames, as an async iterable; and what was played of them.

    Raises:
        ConfigurationError: The format cannot be cut into frames, or `lead` is shorter than one.
    """
    return PacedFrames(audio, lead, ms)
