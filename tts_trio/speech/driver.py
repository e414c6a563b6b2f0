"""What runs an utterance: its state, the channel that gives its sound, and a task that no error leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

import trio

from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.speech.channels import AudioChannel
from tts_trio.speech.results import Summary
from tts_trio.speech.utterance import Utterance

logger = guarded_logger(__name__)


class Driver(ABC):
    """Runs one utterance in a task of the manager's, out of reach of the caller's cancellation.

    The utterance says what is to happen when; the driver does it. Whatever changes the utterance, be it the caller's
    channel, the service or a timer, calls `changed` afterwards.

    Attributes:
        kind: What telemetry calls it.
        utterance: The state of the utterance.
        audio: The channel that gives the caller its sound.
    """

    kind: ClassVar[str]

    def __init__(self, config: TTSConfig, *, resumes: bool = True) -> None:
        """Begin an utterance.

        Args:
            config: The voice, the format, the deadlines.
            resumes: When a connection is lost after some audio, the rest can be had over another one.
        """
        self.utterance: Utterance = Utterance(config, trio.current_time(), resumes=resumes)
        self._readers = trio.lowlevel.ParkingLot()
        self.audio: AudioChannel = AudioChannel(self.utterance, self.changed, self._readers)

    @abstractmethod
    async def run(self) -> None:
        """Speak, until the utterance ends; a failure is the utterance's and is not raised."""

    @abstractmethod
    def changed(self) -> None:
        """Do what the state of the utterance asks for, after any change of it."""

    @trio.lowlevel.enable_ki_protection
    def leave(self) -> None:
        """End the caller's block: what is not finished is interrupted, and whoever still reads gets an error.

        Does no I/O: to close the socket is the work of the socket's own task.
        """
        if not self.utterance.playback.left:
            self.utterance.leave(trio.current_time(), dismissed=False)
            self.changed()

    @property
    def summary(self) -> Summary:
        """What telemetry is told of the utterance when it is over."""
        utterance, segments = self.utterance, self.utterance.segments
        return Summary(
            end=utterance.ended,
            error=utterance.error,
            timeline=utterance.timeline,
            usage=utterance.usage,
            received_seconds=segments.received_seconds,
            discarded_bytes=segments.waiting_bytes,
        )

    def _wake_readers(self) -> None:
        """Wake the tasks that wait for audio, if there is some, or the end."""
        if self.utterance.readable:
            self._readers.unpark_all()

    @contextmanager
    def _ending(self) -> Generator[None]:
        """End the utterance with this block: as failed by what comes out of it, else as interrupted, if it goes on."""
        utterance = self.utterance
        try:
            yield
        except TTSError as error:
            utterance.fail(error, trio.current_time())
        except Exception as error:
            logger.exception("the task of an utterance failed")
            utterance.fail(unexpected("utterance", error), trio.current_time())
        finally:
            if utterance.ended is None:
                utterance.interrupt(trio.current_time())
            self.changed()
