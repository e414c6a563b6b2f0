"""The channels of an utterance, without `async`. Their calls run in the loop of `sync/loop.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Self, TypeVar

import attrs
import trio

from tts_trio.config.formats import AudioFormat
from tts_trio.speech import channels, playout
from tts_trio.speech.results import Outcome, Timeline, Usage, Word
from tts_trio.sync.loop import Portal, call

T = TypeVar("T")


@attrs.frozen
class Remote:
    """The async audio channel in the loop, for calls from other threads."""

    audio: channels.AudioChannel
    portal: Portal

    def ask(self, question: Callable[[], T]) -> T:
        """Call a function about the channel in the loop, where the channel changes.

        A closed channel does not change any more, and its loop may have ended: the function is then called here.
        """
        try:
            return question() if self.audio.closed else self.portal.call(question)
        except RuntimeError:
            if not self.audio.closed:
                raise
            return question()  # the channel was closed and the loop ended in between

    def receive(self, pieces: trio.abc.ReceiveChannel[bytes]) -> bytes:
        """Wait for the next piece of the channel, or of a channel of frames over it."""
        return self.wait(pieces.receive)

    def wait(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call an async function about the channel in the loop, and wait for its result."""
        try:
            return call(self.portal, function)
        except RuntimeError:
            if not self.audio.closed:
                raise
            raise trio.ClosedResourceError("this audio channel was closed") from None  # and the loop has ended

    def each(self, pieces: trio.abc.ReceiveChannel[bytes]) -> Generator[bytes]:
        """Give the pieces of the channel, or of a channel of frames over it, until its end."""
        while True:
            try:
                piece = self.receive(pieces)
            except trio.EndOfChannel:
                return
            except trio.ClosedResourceError:
                if self.audio.dismissed:
                    return
                raise
            yield piece

    def heard(self) -> Generator[Word]:
        """Give the words that the listener hears, also when the channel was closed and its loop has ended."""
        words = self.ask(self.audio.heard)
        while True:
            try:
                word = words.receive_nowait() if self.audio.closed else call(self.portal, words.receive)
            except trio.EndOfChannel:
                return
            except RuntimeError:
                if not self.audio.closed:
                    raise
                continue  # the channel was closed and the loop ended in between
            yield word


class AudioChannel:
    """The audio of one utterance as it comes; see `tts_trio.AudioChannel`.

    An iteration ends at the end of the utterance, or when another thread calls `close`; `outcome` tells which.

    Attributes:
        format: The format of the audio.
        remote: The `tts_trio.AudioChannel` in the loop.
    """

    def __init__(self, audio: channels.AudioChannel, portal: Portal) -> None:
        self.format: AudioFormat = audio.format
        self.remote: Remote = Remote(audio, portal)

    def __iter__(self) -> Generator[bytes]:
        return self.remote.each(self.remote.audio)

    def receive(self) -> bytes:
        """Wait for the next piece of audio, and return it; it raises what `tts_trio.AudioChannel.receive` does."""
        return self.remote.receive(self.remote.audio)

    def frames(self, ms: int = 20) -> Generator[bytes]:
        """Iterate over the audio in frames of `ms` milliseconds; see `tts_trio.AudioChannel.frames`."""
        return self.remote.each(self.remote.audio.frames(ms))

    def paced(self, ms: int = 20, *, lead_ms: float | None = None, silence: bool = False) -> PacedFrames:
        """Return the audio in frames of `ms` milliseconds, each when it is due; see `tts_trio.AudioChannel.paced`."""
        paced = self.remote.audio.paced
        return PacedFrames(self.remote.ask(lambda: paced(ms, lead_ms=lead_ms, silence=silence)), self)

    def close(self) -> None:
        """Interrupt the utterance, and drop the audio that was not delivered; see `tts_trio.AudioChannel.close`.

        Any thread may call it. It does nothing when the channel is closed, or the block of the utterance was left.
        """
        self.remote.ask(self.remote.audio.close)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known so far, in milliseconds from the beginning of the audio."""
        return self.remote.ask(lambda: self.remote.audio.words)

    @property
    def characters(self) -> tuple[Word, ...]:
        """The characters of `words`, each with its times; see `tts_trio.AudioChannel.characters`."""
        return self.remote.ask(lambda: self.remote.audio.characters)

    def source_of(self, word: Word) -> tuple[int, int]:
        """Return where the accepted text begins and ends that a word is said for, in characters."""
        return self.remote.ask(lambda: self.remote.audio.source_of(word))

    def heard(self) -> Generator[Word]:
        """Iterate over the words that the listener hears, each when he has heard it; see `tts_trio.AudioChannel.heard`.

        Another thread reads the audio meanwhile.
        """
        return self.remote.heard()

    def spoken(self, until_ms: float) -> str:
        """Return the whole words that sound in the first `until_ms` milliseconds of the audio."""
        return self.remote.ask(lambda: self.remote.audio.spoken(until_ms))

    @property
    def received_ms(self) -> float:
        """How much audio has come from the service so far, in milliseconds."""
        return self.remote.ask(lambda: self.remote.audio.received_ms)

    @property
    def timeline(self) -> Timeline:
        """When the parts of the utterance happened, in seconds of the loop's clock."""
        return self.remote.ask(lambda: self.remote.audio.timeline)

    @property
    def usage(self) -> Usage:
        """What the utterance cost, and the service's ids of it."""
        return self.remote.ask(lambda: self.remote.audio.usage)

    @property
    def outcome(self) -> Outcome | None:
        """How the utterance ended and what was delivered; None while it goes on."""
        return self.remote.ask(lambda: self.remote.audio.outcome)


class PacedFrames:
    """The frames of an utterance, each when it is due; see `tts_trio.PacedFrames`."""

    def __init__(self, frames: playout.PacedFrames, audio: AudioChannel) -> None:
        self._frames = frames
        self._audio = audio

    def __iter__(self) -> Generator[bytes]:
        return self._audio.remote.each(self._frames)

    def wait_played(self) -> None:
        """Wait until all was played, while another thread takes the frames; see `tts_trio.PacedFrames.wait_played`."""
        self._audio.remote.wait(self._frames.wait_played)

    def pause(self) -> None:
        """Give no more frames for now; see `tts_trio.PacedFrames.pause`. Any thread may call it."""
        self._audio.remote.ask(self._frames.pause)

    def resume(self) -> None:
        """Go on after `pause`, from where the caller was. Any thread may call it."""
        self._audio.remote.ask(self._frames.resume)

    @property
    def played_ms(self) -> float:
        """How much audio the caller has heard until now, or until the audio was closed, in milliseconds."""
        return self._audio.remote.ask(lambda: self._frames.played_ms)

    @property
    def unplayed_ms(self) -> float:
        """How much audio has come from the service and was not heard yet, in milliseconds; it includes the lead."""
        return self._audio.remote.ask(lambda: self._frames.unplayed_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard a gap because no frame had come when it was due."""
        return self._audio.remote.ask(lambda: self._frames.underruns)

    @property
    def underrun_ms(self) -> float:
        """The sum of these gaps, in milliseconds."""
        return self._audio.remote.ask(lambda: self._frames.underrun_ms)


class TextChannel:
    """The text of one reply; see `tts_trio.TextChannel`."""

    def __init__(self, text: channels.TextChannel, portal: Portal) -> None:
        self._text = text
        self._portal = portal

    def send(self, value: str | None) -> None:
        """Add a piece of text of any size, from any thread; it raises what `tts_trio.TextChannel.send` does."""
        self._portal.call(self._text.send_nowait, value)

    def close(self) -> None:
        """Close the text: the reply is complete, its rest is spoken, and then the audio ends."""
        self._portal.call(self._text.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._portal.is_ours:
            self._portal.call(self._text.__exit__, kind, error, traceback)
