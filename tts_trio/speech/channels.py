"""The two ends that the caller holds: `TextChannel` takes the reply's text, `AudioChannel` gives its sound.

Both are trio channels with the methods of trio's memory channels.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Protocol

import attrs
import trio

from tts_trio.config.formats import AudioFormat
from tts_trio.speech.alignment import Word
from tts_trio.speech.frames import Frames, next_piece
from tts_trio.speech.playback import Listener
from tts_trio.speech.results import Outcome, Timeline
from tts_trio.speech.utterance import Utterance


@attrs.frozen
class Usage:
    """What an utterance cost, and the ids to tell the service's support.

    Attributes:
        characters: Characters of text handed to the service, those of replays included.
        credits: What the service says that it charged (`character-cost`); None where it does not say (WebSocket).
        request_id: The service's id of the request; None where it gives none (WebSocket).
        trace_id: The service's trace id of the request or of the WebSocket's handshake.
    """

    characters: int
    credits: int | None = None
    request_id: str | None = None
    trace_id: str | None = None


class Speech(Protocol):
    """What an `AudioChannel` needs to know of the utterance behind it."""

    kind: ClassVar[str]

    @property
    def utterance(self) -> Utterance:
        """The state of the utterance."""
        ...

    @property
    def usage(self) -> Usage:
        """What it cost so far."""
        ...

    def deliver(self) -> bytes:
        """Take the next piece of audio, to be handed to the caller; `b""` if there is none."""
        ...

    def hand_over(self, seconds: float) -> None:
        """Count so much audio as handed to the far end now."""
        ...

    def interrupt(self) -> None:
        """Stop what is not finished."""
        ...


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
        dismissed: Whether `close` was called before its block was left.
    """

    def __init__(self, speech: Speech, format: AudioFormat) -> None:  # noqa: A002 - what it is called everywhere
        self.format = format
        self._speech = speech
        self._waiting = trio.lowlevel.ParkingLot()
        self._received = False  # the caller has called receive
        self._closed = False
        self.dismissed = False

    async def receive(self) -> bytes:
        """Return the next piece of audio.

        Raises:
            trio.EndOfChannel: The utterance is finished.
            TTSError: It failed; what came before was returned.
            trio.ClosedResourceError: The channel was closed, or its block was left.
        """
        self._received = True
        await trio.lowlevel.checkpoint()
        while not self._closed and self._speech.utterance.ended is None and not self._speech.utterance.undelivered:
            await self._waiting.park()
        return self.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> bytes:
        """Like `receive`, without waiting.

        Raises:
            trio.WouldBlock: No audio is there yet.
        """
        self._received = True
        if self._closed:
            raise trio.ClosedResourceError("this audio channel was closed")
        if chunk := self._speech.deliver():
            return chunk
        if self._speech.utterance.ended is None:
            raise trio.WouldBlock
        self._raise_failure()
        raise trio.EndOfChannel

    async def __anext__(self) -> bytes:
        return await next_piece(self, self)

    def close(self) -> None:
        """Interrupt what is not finished, and drop what was not delivered. At once, without any waiting.

        An iteration over the audio, or over frames of it, ends then as at the end of the utterance, and `outcome` tells
        which it was; `receive` raises `trio.ClosedResourceError`. When it is closed already, or its block was left,
        this does nothing, wherever it is called.
        """
        if not self._closed:
            self.dismissed = True
            self.leave()

    @trio.lowlevel.enable_ki_protection
    def leave(self) -> None:
        """Do what `close` does, for the end of a block: who still iterates gets `trio.ClosedResourceError`."""
        if self._closed:
            return
        self._closed = True
        utterance = self._speech.utterance
        self.listener.leave(trio.current_time(), whole=utterance.ended == "finished" and not utterance.undelivered)
        self._speech.interrupt()
        self.wake()

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
        return Frames(self, ms)

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its block was left."""
        return self._closed

    def statistics(self) -> AudioStatistics:
        """Return how many pieces wait, and how many tasks wait for one."""
        return AudioStatistics(self._speech.utterance.undelivered, len(self._waiting))

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that have come so far; times are in milliseconds of the audio of this channel.

        Where the service does not time words (`sync_alignment=False`, `fallback="http"`, a static text without
        `static_timestamps`), their times are estimated by the length of the text: `Word.estimated`.
        """
        return self._speech.utterance.words

    def spoken(self, until_ms: float) -> str:
        """Return the text that is heard in the first `until_ms` milliseconds of this audio, in whole words.

        Where the service does not time words, that is estimated in proportion to the sound: see `words`.
        """
        return self._speech.utterance.spoken(until_ms)

    @property
    def received_ms(self) -> float:
        """How much audio came from the service so far, in milliseconds."""
        return self._speech.utterance.received_seconds * 1000

    @property
    def listener(self) -> Listener:
        """What was handed to the far end, and what was heard there; for a pacer."""
        return self._speech.utterance.listener

    def hand_over(self, seconds: float) -> None:
        """Count so much audio as handed to the far end now; for a pacer."""
        self._speech.hand_over(seconds)

    @property
    def timeline(self) -> Timeline:
        """When its parts happened, by trio's clock."""
        return self._speech.utterance.timeline

    @property
    def usage(self) -> Usage:
        """What it cost, and the service's ids of it."""
        return self._speech.usage

    @property
    def outcome(self) -> Outcome | None:
        """How it ended and what was delivered; None while it goes on."""
        return self._speech.utterance.outcome

    def wake(self) -> None:
        """Have those who wait look again: there may be audio, or the end; for the utterance's side."""
        self._waiting.unpark_all()

    def raise_unseen_failure(self) -> None:
        """Raise the utterance's failure if the caller never called `receive` and so could not learn of it."""
        if not self._received:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if (error := self._speech.utterance.error) is not None:
            raise error


class TextChannel(trio.abc.SendChannel[str | None]):
    """The text of one reply, in pieces of any size: `await text.send(token)`; `text.close()` when it is complete.

    Closing it means that the reply is complete. `with text:` closes it at its end, but not when an error or a
    cancellation comes out of it: then the reply is abandoned, and no tail of it is spoken.
    """

    def __init__(
        self, accept: Callable[[str], None], complete: Callable[[], None], abandon: Callable[[], None]
    ) -> None:
        self._accept = accept
        self._complete = complete
        self._abandon = abandon
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
        self._accept("" if value is None else value)

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Say that the reply is complete: its rest is spoken, and the audio ends after it."""
        if not self._closed:
            self._closed = True
            self._complete()

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
            self._abandon()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)
