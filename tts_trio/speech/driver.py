"""The base class of the two drivers, each of which runs an utterance in a task of the manager."""

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
    """Runs one utterance in a task of the manager, which a cancellation of the caller's task does not reach.

    The utterance decides what happens when, and the driver does it. The caller's channels, the service and the timers
    change the utterance, and call `changed` after each change.

    Attributes:
        kind: The kind of utterance for telemetry: "reply" or "static text".
        utterance: The state of the utterance.
        audio: The channel that gives the audio to the caller.
    """

    kind: ClassVar[str]

    def __init__(self, config: TTSConfig, *, resumes: bool = True) -> None:
        """Begin an utterance.

        Args:
            config: The voice, the format and the timeouts.
            resumes: Whether the rest can be requested over another connection after some audio has come.
        """
        self.utterance: Utterance = Utterance(config, trio.current_time(), resumes=resumes)
        self._model_id = config.model_id
        self._readers = trio.lowlevel.ParkingLot()
        self.audio: AudioChannel = AudioChannel(self.utterance, self.changed, self._readers)

    @abstractmethod
    async def run(self) -> None:
        """Speak until the utterance ends. Its failure is noted in the utterance, and not raised."""

    @abstractmethod
    def changed(self) -> None:
        """Act on a change of the utterance."""

    @trio.lowlevel.enable_ki_protection
    def leave(self) -> None:
        """End the caller's block: interrupt an unfinished utterance, and let tasks that still read get an error.

        This does no I/O: the task of the socket closes the socket.
        """
        if not self.utterance.playback.left:
            self.utterance.leave(trio.current_time(), dismissed=False)
            self.changed()

    @property
    def summary(self) -> Summary:
        """The results of the utterance, for telemetry."""
        utterance, segments = self.utterance, self.utterance.segments
        unasked = utterance.timeline.first_received is not None and not utterance.usage.characters
        return Summary(
            end=utterance.ended,
            error=utterance.error,
            model_id=self._model_id,
            timeline=utterance.timeline,
            usage=utterance.usage,
            cached=unasked or segments.begins_from_memory,
            received_seconds=segments.received_seconds,
            discarded_bytes=segments.waiting_bytes,
        )

    def _wake_readers(self) -> None:
        """Wake the tasks that wait for audio, if there is audio, or the utterance has ended."""
        if self.utterance.readable:
            self._readers.unpark_all()

    @contextmanager
    def _ending(self) -> Generator[None]:
        """End the utterance at the end of this block: as failed by its exception, or else as interrupted."""
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
