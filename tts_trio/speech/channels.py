"""The two channels of the caller: `TextChannel` takes the text of a reply, and `AudioChannel` gives its audio.

Both are trio channels with the methods of trio's memory channels. Neither holds text or audio: they change the
utterance, and then call `changed`, by which its driver acts on the change.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from tts_trio._nurseries import WaitingTasks
from tts_trio.config.formats import AudioFormat
from tts_trio.config.validators import is_a
from tts_trio.speech.frames import Frames, silent_frame
from tts_trio.speech.playback import Slots
from tts_trio.speech.playout import PacedFrames
from tts_trio.speech.results import AudioStatistics, Outcome, Timeline, Usage, Word
from tts_trio.speech.utterance import Utterance

if TYPE_CHECKING:
    from tts_trio.speech.heard import HeardWords


class AudioChannel(trio.abc.ReceiveChannel[bytes]):
    """The audio of one utterance as it comes: `async for chunk in audio`, in pieces of whole samples, of any length.

    When the utterance fails, `receive` returns all audio that came before, and then raises the error. The properties
    stay valid when the block of the utterance was left.

    Attributes:
        format: The format of the audio.
    """

    def __init__(self, utterance: Utterance, changed: Callable[[], None], readers: WaitingTasks) -> None:
        """Make the channel of an utterance; its driver does.

        The driver is told of each change of the utterance by `changed`. The tasks in `receive` wait in `readers`, and
        the driver wakes them when there is audio, or when the utterance has ended.
        """
        self.format: AudioFormat = utterance.format
        self._utterance = utterance
        self._changed = changed
        self._readers = readers
        self._now = trio.lowlevel.current_clock().current_time  # which `trio.current_time` calls
        self._changes: WaitingTasks | None = None  # those wait here who want to know what is heard

    async def receive(self) -> bytes:
        """Wait for the next piece of audio, and return it.

        Raises:
            trio.EndOfChannel: The utterance is finished.
            TTSError: The utterance failed. All audio that came before was returned.
            trio.ClosedResourceError: The channel was closed, or the block of the utterance was left.
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:  # `receive_nowait` raises what has ended the iteration
            pass
        return self.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> bytes:
        """Return the next piece of audio without waiting; it also raises what `receive` does.

        Raises:
            trio.WouldBlock: No audio has come yet.
        """
        self._utterance.awaited = True
        if piece := self._take(trio.current_time):
            return piece
        raise trio.WouldBlock

    @trio.lowlevel.enable_ki_protection
    def _take(self, now: Callable[[], float]) -> bytes:
        """Return the next piece of audio; `b""` if none has come yet."""
        utterance = self._utterance
        if utterance.playback.left:
            raise trio.ClosedResourceError("this audio channel was closed")
        if piece := utterance.deliver(now()):
            if utterance.waits_for_playback:
                self._changed()
        elif utterance.ended is not None:
            raise utterance.error or trio.EndOfChannel
        return piece

    async def __anext__(self) -> bytes:
        utterance = self._utterance
        utterance.awaited = True
        if utterance.segments.waiting or utterance.ended is not None:
            await trio.lowlevel.checkpoint()
        else:
            await self._readers.wait()
        try:
            while not (piece := self._take(self._now)):
                await self._readers.wait()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            if utterance.playback.left and not utterance.dismissed:
                raise
            raise StopAsyncIteration from None
        return piece

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Interrupt an unfinished utterance, and drop the audio that was not delivered, without waiting.

        An iteration over the audio or its frames then ends as at the end of the utterance, and `outcome` tells which of
        the two it was. `receive` raises `trio.ClosedResourceError`. On a closed channel, or when the block of the
        utterance was left, `close` does nothing, even outside of `trio.run`.
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
        self.close()  # without a checkpoint, at which a cancellation would replace the error of the body

    def frames(self, ms: int = 20) -> Frames:
        """Return the audio in frames of one length, as they come. `paced` gives each frame when it is due.

        Args:
            ms: The length of a frame, in whole milliseconds. The last frame is filled up with the format's silence.

        Returns:
            A channel to read in place of this one: `async for frame in audio.frames()`.

        Raises:
            ConfigurationError: The format is mp3 or opus, which cannot be cut into frames of equal length; or `ms`
                milliseconds are not a whole number of samples.
        """
        return Frames(self, self._utterance, ms)

    def paced(self, ms: int = 20, *, lead_ms: float | None = None, silence: bool = False) -> PacedFrames:
        """Return the audio in frames that are given by the clock, for a far end that plays them in real time.

        Each frame is given `lead_ms` before the caller hears it, and never earlier, so that after a barge-in the far
        end has little left to play. Leaving the block of the utterance, or closing `audio`, ends the frames at once.
        `audio.spoken(frames.played_ms)` is then the text that the caller heard, while `audio.outcome` counts all audio
        that was taken from the channel.

            async with tts.speak(llm_tokens) as audio:
                frames = audio.paced()
                async for frame in frames:  # ends when the last frame was played
                    await line.send(frame)
            history.append(audio.spoken(frames.played_ms))

        Args:
            ms: The length of a frame, in whole milliseconds.
            lead_ms: How many milliseconds of audio the far end has ahead of the caller's ear, against jitter on the
                network and in this process; at least one frame. None: 200 ms.
            silence: Whether to give a frame of silence wherever no audio has come: before the first audio, and while
                the LLM pauses. Frame n is then given n times `ms` after the first one, and none ahead of its time, so
                that `lead_ms` is not allowed. For all utterances of a call there is `Line`.

        Returns:
            A channel to read in place of this one, which also tells how much was played.

        Raises:
            ConfigurationError: The format is mp3 or opus, which cannot be cut into frames of equal length; `ms`
                milliseconds are not a whole number of samples; `lead_ms` is shorter than a frame, or is given with
                `silence`; or `silence` is neither True nor False.
        """
        is_a(bool).check("silence", silence)
        slots = Slots(silent_frame(self.format, ms), ms) if silence else None
        return PacedFrames(self.frames(ms), self._utterance, self._changed, self._when_heard(), ms, lead_ms, slots)

    @property
    def closed(self) -> bool:
        """Whether the channel was closed, or the block of the utterance was left."""
        return self._utterance.playback.left

    @property
    def dismissed(self) -> bool:
        """Whether `close` was called before the block of the utterance was left."""
        return self._utterance.dismissed

    def statistics(self) -> AudioStatistics:
        """Return how many pieces of audio wait, and how many tasks wait for one."""
        return AudioStatistics(len(self._utterance.segments.waiting), len(self._readers))

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose audio has come so far, with times in milliseconds from the beginning of the audio.

        If the service sends no times (`sync_alignment=False`, a `fallback` of yours, a static text without
        `static_timestamps`), they are estimated by the length of the text, and `Word.estimated` is True.
        """
        return self._utterance.segments.words

    @property
    def characters(self) -> tuple[Word, ...]:
        """The characters of `words`, each as a `Word` of its own, for the lips of an avatar.

        A mark behind a word has no length. Where the service sent no times of the characters, as for "42", which it
        reads otherwise than it is written, all characters of the word last as long, and are marked as estimated.
        """
        return self._utterance.segments.characters

    def source_of(self, word: Word) -> tuple[int, int]:
        """Return where the accepted text begins and ends that a word is said for, in characters.

        Each word of what `transforms` have changed stands for all of that: "fifty" and "cents" for "$0.50".

        Args:
            word: One of `words`, or of `characters`.
        """
        return self._utterance.segments.source_of(word)

    def heard(self) -> HeardWords:
        """Return the words that the listener hears, each when he has heard it, for captions and for the history.

        A channel to read beside this one, in another task: `async for word in audio.heard()`. It ends when all audio
        that came was heard, or when the audio was closed, or its block left; a failure is raised by the audio alone. A
        word that was not heard to its end is never given. The clock is that of `paced`, where it is used; else the
        listener plays the audio from the moment on in which its first piece was received.

        Each channel gives all words, from the first one on, also when the block of the utterance was left. Where the
        service sends no times, they are estimated: see `words`.
        """
        from tts_trio.speech.heard import HeardWords  # loaded late: few ask for it

        return HeardWords(self._utterance, self._when_heard())

    def _when_heard(self) -> WaitingTasks:
        """Return where tasks wait for a change of what is heard, and when."""
        if self._changes is None:
            self._changes = WaitingTasks()
            self._utterance.playback.on_change = self._changes.wake
        return self._changes

    def spoken(self, until_ms: float) -> str:
        """Return the whole words that sound in the first `until_ms` milliseconds of the audio.

        If the service sends no times of the words, they are estimated: see `words`.
        """
        return self._utterance.spoken(until_ms)

    @property
    def received_ms(self) -> float:
        """How much audio has come from the service so far, in milliseconds."""
        return self._utterance.segments.received_seconds * 1000

    @property
    def timeline(self) -> Timeline:
        """When the parts of the utterance happened, in seconds of trio's clock."""
        return self._utterance.timeline

    @property
    def usage(self) -> Usage:
        """What the utterance cost, and the service's ids of it."""
        return self._utterance.usage

    @property
    def outcome(self) -> Outcome | None:
        """How the utterance ended and what was delivered; None while it goes on."""
        return self._utterance.outcome


class TextChannel(trio.abc.SendChannel[str | None]):
    """The text of one reply, in pieces of any size: `await text.send(token)`, and `text.close()` at its end.

    Closing the channel means that the reply is complete. A block `with text:` closes it at its end. If an error or a
    cancellation leaves the block, the reply is interrupted instead, and its remaining text is not spoken.
    """

    def __init__(self, utterance: Utterance, accepted: Callable[[], None], changed: Callable[[], None]) -> None:
        """Make the channel of an utterance; its driver does.

        It calls `accepted` when the utterance has accepted a piece of text, and `changed` after each other change.
        """
        self._utterance = utterance
        self._accepted = accepted
        self._changed = changed
        self._now = trio.lowlevel.current_clock().current_time  # which `trio.current_time` calls
        self._closed = False

    async def send(self, value: str | None) -> None:
        """Add a piece of text. This never waits for audio.

        Args:
            value: The text. "" and None, which an LLM's API may send, are skipped. Half of a surrogate pair waits for
                the other half in the next piece; a lone half becomes U+FFFD.

        Raises:
            TypeError: `value` is neither a `str` nor None.
            ConfigurationError: The reply would be longer than `max_characters`.
            UtteranceEndedError: The reply is finished, or was interrupted.
            TTSError: The reply failed.
            trio.ClosedResourceError: This channel was closed.
        """
        await trio.lowlevel.checkpoint()
        self.send_nowait(value)

    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, value: str | None) -> None:
        """Do what `send` does, without a checkpoint."""
        if self._closed:
            raise trio.ClosedResourceError("this text channel was closed")
        self._utterance.accept("" if value is None else value, self._now())
        self._accepted()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Close the text: the reply is complete, its rest is spoken, and then the audio ends."""
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
