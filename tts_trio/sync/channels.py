"""The channels of one utterance, without `async`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self, TypeVar

import attrs
import trio
from anyio.from_thread import BlockingPortal

from tts_trio.config.formats import AudioFormat
from tts_trio.speech import channels, playout
from tts_trio.speech.results import Outcome, Timeline, Usage, Word
from tts_trio.sync.loop import call

T = TypeVar("T")


@attrs.frozen
class Remote:
    """An audio channel in the loop, asked from other threads."""

    audio: channels.AudioChannel
    portal: BlockingPortal

    def ask(self, question: Callable[[], T]) -> T:
        """Ask over there, where it changes; when it is closed it does not, and there may be nobody left to ask."""
        try:
            return question() if self.audio.closed else self.portal.call(question)
        except RuntimeError:
            if not self.audio.closed:
                raise
            return question()  # it was closed, and the loop ended, in between

    def receive(self, pieces: trio.abc.ReceiveChannel[bytes]) -> bytes:
        """Wait for the next piece of the channel, or of one that is made of it."""
        try:
            return call(self.portal, pieces.receive)
        except RuntimeError:
            if not self.audio.closed:
                raise
            raise trio.ClosedResourceError("this audio channel was closed") from None  # and its loop has ended

    def each(self, pieces: trio.abc.ReceiveChannel[bytes]) -> Generator[bytes]:
        """Give what comes out of the channel, or out of one that is made of it."""
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


class AudioChannel:
    """The sound of one utterance as it comes; see `tts_trio.AudioChannel`.

    An iteration ends with the utterance, or when another thread calls `close`: `outcome` tells which.

    Attributes:
        remote: That channel, in the loop.
    """

    def __init__(self, audio: channels.AudioChannel, portal: BlockingPortal) -> None:
        self.format: AudioFormat = audio.format
        self.remote: Remote = Remote(audio, portal)

    def __iter__(self) -> Generator[bytes]:
        return self.remote.each(self.remote.audio)

    def receive(self) -> bytes:
        """Return the next piece of audio; raises what `tts_trio.AudioChannel.receive` does."""
        return self.remote.receive(self.remote.audio)

    def frames(self, ms: int = 20) -> Generator[bytes]:
        """Give this audio in frames of one length, as they come; see `tts_trio.AudioChannel.frames`."""
        return self.remote.each(self.remote.audio.frames(ms))

    def paced(self, ms: int = 20, *, lead_ms: float = 200.0) -> PacedFrames:
        """Give this audio by the clock, in frames; see `tts_trio.AudioChannel.paced`."""
        return PacedFrames(self.remote.ask(lambda: self.remote.audio.paced(ms, lead_ms=lead_ms)), self)

    def close(self) -> None:
        """Interrupt what is not finished, and drop what was not delivered; see `tts_trio.AudioChannel.close`.

        From any thread. When it is closed already, or its block was left, this does nothing.
        """
        self.remote.ask(self.remote.audio.close)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose times are known so far; times are in milliseconds of this audio."""
        return self.remote.ask(lambda: self.remote.audio.words)

    def spoken(self, until_ms: float) -> str:
        """Return the text that is heard in the first `until_ms` milliseconds of this audio, in whole words."""
        return self.remote.ask(lambda: self.remote.audio.spoken(until_ms))

    @property
    def received_ms(self) -> float:
        """How much audio came from the service so far, in milliseconds."""
        return self.remote.ask(lambda: self.remote.audio.received_ms)

    @property
    def timeline(self) -> Timeline:
        """When its parts happened, by the clock of the loop that all threads share."""
        return self.remote.ask(lambda: self.remote.audio.timeline)

    @property
    def usage(self) -> Usage:
        """What it cost, and the service's ids of it."""
        return self.remote.ask(lambda: self.remote.audio.usage)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended and what was delivered; None while it goes on."""
        return self.remote.ask(lambda: self.remote.audio.outcome)


class PacedFrames:
    """The frames of an utterance when they are due; see `tts_trio.PacedFrames`."""

    def __init__(self, frames: playout.PacedFrames, audio: AudioChannel) -> None:
        self._frames = frames
        self._audio = audio

    def __iter__(self) -> Generator[bytes]:
        return self._audio.remote.each(self._frames)

    @property
    def played_ms(self) -> float:
        """How much the caller has heard, in milliseconds: until now, or until the audio was closed."""
        return self._audio.remote.ask(lambda: self._frames.played_ms)

    @property
    def unplayed_ms(self) -> float:
        """How much audio came from the service and was not played, in milliseconds; the lead is a part of it."""
        return self._audio.remote.ask(lambda: self._frames.unplayed_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard nothing because no frame was there when it was due."""
        return self._audio.remote.ask(lambda: self._frames.underruns)

    @property
    def underrun_ms(self) -> float:
        """How long these silences were, all together, in milliseconds."""
        return self._audio.remote.ask(lambda: self._frames.underrun_ms)


class TextChannel:
    """The text of one reply, in pieces of any size; see `tts_trio.TextChannel`."""

    def __init__(self, text: channels.TextChannel, portal: BlockingPortal) -> None:
        self._text = text
        self._portal = portal

    def send(self, value: str | None) -> None:
        """Add a piece of text, from any thread; raises what `tts_trio.TextChannel.send` does."""
        self._portal.call(self._text.send_nowait, value)

    def close(self) -> None:
        """Say that the reply is complete: its rest is spoken, and the audio ends after it."""
        self._portal.call(self._text.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._text.__exit__, kind, error, traceback)
