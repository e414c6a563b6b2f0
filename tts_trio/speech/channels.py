"""The two ends that the caller holds: `TextChannel` takes the reply's text, `AudioChannel` gives its sound.

Both are trio channels with the methods of trio's memory channels. Neither holds text or audio: they change the
utterance, and call `changed` so that its driver does what the change asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import attrs
import trio

from tts_trio.config.formats import AudioFormat
from tts_trio.speech.frames import Frames, next_piece
from tts_trio.speech.playout import PacedFrames
from tts_trio.speech.results import Outcome, Timeline, Usage, Word
from tts_trio.speech.utterance import Utterance


@attrs.frozen
class AudioStatistics:
    """The state of an `AudioChannel`, named as in `trio.MemoryChannelStatistics`.

    Attributes:
        current_buffer_used: How many pieces of audio wait to be received.
        tasks_waiting_receive: How many tasks wait for one.
    """

    current_buffer_used: int
    tasks_waiting_receive: int


class AudioChannel(trio.abc.ReceiveChannel[bytes]):
    """The sound of one utterance as it comes: `async for chunk in audio`, in whole samples, of any length.

    A failure of the utterance is raised by `receive` after all audio that came before it. What is told about the
    utterance stays valid when the block is left.

    Attributes:
        format: The format of the audio.
    """

    def __init__(self, utterance: Utterance, changed: Callable[[], None], readers: trio.lowlevel.ParkingLot) -> None:
        """Give the sound of an utterance; made by its driver.

        Args:
            utterance: What has the audio.
            changed: Called after every change of the utterance that is made here.
            readers: Where tasks wait in `receive`; the driver wakes them when `utterance.readable` has become true.
        """
        self.format: AudioFormat = utterance.format
        self._utterance = utterance
        self._changed = changed
        self._readers = readers

    async def receive(self) -> bytes:
        """Return the next piece of audio.

        Raises:
            trio.EndOfChannel: The utterance is finished.
            TTSError: It failed; what came before was returned.
            trio.ClosedResourceError: The channel was closed, or its block was left.
        """
        self._utterance.awaited = True
        if self._utterance.readable:
            await trio.lowlevel.checkpoint()
        while not self._utterance.readable:
            await self._readers.park()
        return self.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> bytes:
        """Like `receive`, without waiting.

        Raises:
            trio.WouldBlock: No audio is there yet.
        """
        utterance = self._utterance
        utterance.awaited = True
        if utterance.playback.left:
            raise trio.ClosedResourceError("this audio channel was closed")
        if chunk := utterance.deliver(trio.current_time()):
            if utterance.waits_for_playback:
                self._changed()
            return chunk
        if utterance.ended is None:
            raise trio.WouldBlock
        if (error := utterance.error) is not None:
            raise error
        raise trio.EndOfChannel

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._utterance)

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Interrupt what is not finished, and drop what was not delivered. At once, without any waiting.

        An iteration over the audio, or over frames of it, ends then as at the end of the utterance, and `outcome` tells
        which it was; `receive` raises `trio.ClosedResourceError`. When it is closed already, or its block was left,
        this does nothing, wherever it is called.
        """
        if not self._utterance.playback.left:
            self._utterance.leave(trio.current_time(), dismissed=True)
            self._changed()

    async def aclose(self) -> None:
        """Do what `close` does."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> AudioChannel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()  # without a checkpoint, whose cancellation would take the place of the body's own error

    def frames(self, ms: int = 20) -> Frames:
        """Give this audio in frames of one length, as they come; `paced` gives them when they are due.

        Args:
            ms: The length of a frame. The last one is filled up with the format's silence.

        Returns:
            A channel, which is read instead of this one: `async for frame in audio.frames()`.

        Raises:
            ConfigurationError: The format is mp3 or opus, which have frames of their own; or so many milliseconds are
                not a whole number of samples.
        """
        return Frames(self, self._utterance, ms)

    def paced(self, ms: int = 20, *, lead_ms: float = 200.0) -> PacedFrames:
        """Give this audio by the clock, in frames, for a far end that plays what it gets in real time.

        A frame is given `lead_ms` before it is due, and never earlier, so that a barge-in finds little that is
        still to be played. Leaving the block of the utterance, or closing `audio`, ends it at once;
        `audio.spoken(played_ms)` is then what the caller heard, while `audio.outcome` counts what was taken from the
        channel.

            async with tts.speak(llm_tokens) as audio:
                frames = audio.paced()
                async for frame in frames:  # ends when the last one has been played
                    await line.send(frame)
            history.append(audio.spoken(frames.played_ms))

        Args:
            ms: The length of a frame, in milliseconds.
            lead_ms: How far the far end is ahead of the caller's ear, in milliseconds, against jitter on the way and in
                this process; at least one frame.

        Returns:
            The frames, which are read instead of this channel, as an async iterable; and what was played of them.

        Raises:
            ConfigurationError: The format is none of PCM and of the telephone codecs, so that it cannot be cut into
                frames; or `lead_ms` is shorter than a frame.
        """
        return PacedFrames(self.frames(ms), self._utterance, self._changed, ms, lead_ms)

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its block was left."""
        return self._utterance.playback.left

    @property
    def dismissed(self) -> bool:
        """Whether `close` was called before its block was left."""
        return self._utterance.dismissed

    def statistics(self) -> AudioStatistics:
        """Return how many pieces wait, and how many tasks wait for one."""
        return AudioStatistics(self._utterance.segments.waiting, len(self._readers))

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that have come so far; times are in milliseconds of the audio of this channel.

        Where the service does not time words (`sync_alignment=False`, `fallback="http"`, a static text without
        `static_timestamps`), their times are estimated by the length of the text: `Word.estimated`.
        """
        return self._utterance.segments.words

    def spoken(self, until_ms: float) -> str:
        """Return the text that is heard in the first `until_ms` milliseconds of this audio, in whole words.

        Where the service does not time words, that is estimated in proportion to the sound: see `words`.
        """
        return self._utterance.spoken(until_ms)

    @property
    def received_ms(self) -> float:
        """How much audio came from the service so far, in milliseconds."""
        return self._utterance.segments.received_seconds * 1000

    @property
    def timeline(self) -> Timeline:
        """When its parts happened, by trio's clock."""
        return self._utterance.timeline

    @property
    def usage(self) -> Usage:
        """What it cost, and the service's ids of it."""
        return self._utterance.usage

    @property
    def outcome(self) -> Outcome | None:
        """How it ended and what was delivered; None while it goes on."""
        return self._utterance.outcome


class TextChannel(trio.abc.SendChannel[str | None]):
    """The text of one reply, in pieces of any size: `await text.send(token)`; `text.close()` when it is complete.

    Closing it means that the reply is complete. `with text:` closes it at its end, but not when an error or a
    cancellation comes out of it: then the reply is abandoned, and no tail of it is spoken.
    """

    def __init__(self, utterance: Utterance, changed: Callable[[], None]) -> None:
        """Take the text of an utterance; made by its driver.

        Args:
            utterance: What takes the text.
            changed: Called after every change of the utterance that is made here.
        """
        self._utterance = utterance
        self._changed = changed
        self._closed = False

    async def send(self, value: str | None) -> None:
        """Add a piece of text. It never waits for audio.

        Args:
            value: The text. "" and None, which the deltas of an LLM's API may have, are skipped. Half of a surrogate
                pair waits for the other half in the next piece; a lone one becomes U+FFFD.

        Raises:
            TypeError: It is neither a `str` nor None.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEndedError: The reply has ended.
            TTSError: The reply failed.
            trio.ClosedResourceError: This channel was closed.
        """
        await trio.lowlevel.checkpoint()
        self.send_nowait(value)

    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, value: str | None) -> None:
        """Like `send`, without a checkpoint."""
        if self._closed:
            raise trio.ClosedResourceError("this text channel was closed")
        self._utterance.accept("" if value is None else value, trio.current_time())
        self._changed()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Say that the reply is complete: its rest is spoken, and the audio ends after it."""
        if not self._closed:
            self._closed = True
            self._utterance.complete(trio.current_time())
            self._changed()

    async def aclose(self) -> None:
        """Do what `close` does."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> TextChannel:
        return self

    @trio.lowlevel.enable_ki_protection
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self._closed = True
            self._utterance.interrupt(trio.current_time())
            self._changed()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)
