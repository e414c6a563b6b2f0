"""The base class of the two drivers, each of which runs an utterance in a task of the manager."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import trio

from tts_trio._nurseries import WaitingTasks
from tts_trio.config.config import TTSConfig
from tts_trio.errors import TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.speech.channels import AudioChannel
from tts_trio.speech.utterance import Utterance

if TYPE_CHECKING:
    from tts_trio.config.utterance_record import UtteranceRecord

logger = guarded_logger(__name__)


class Driver(ABC):
    """Runs one utterance in a task of the manager, which a cancellation of the caller's task does not reach.

    The utterance decides what happens when, and the driver does it. The caller's channels, the service and the timers
    change the utterance, and call `changed` after each change. The channels hold the driver, which holds neither: when
    the caller has let go of them, nothing of the utterance is left to the garbage collector.

    Attributes:
        kind: The kind of utterance, as in `UtteranceRecord`.
        utterance: The state of the utterance.
    """

    __slots__ = ("_config", "_now", "_readers", "utterance")

    kind: ClassVar[Literal["reply", "static text"]]

    def __init__(self, config: TTSConfig, *, static: bool = False) -> None:
        """Begin an utterance.

        Args:
            config: The voice, the format and the timeouts.
            static: Whether it is a static text.
        """
        self._now = trio.lowlevel.current_clock().current_time  # which `trio.current_time` calls
        self.utterance: Utterance = Utterance(config, self._now(), static=static)
        self._config: TTSConfig = config
        self._readers = WaitingTasks()

    def audio_channel(self) -> AudioChannel:
        """Make the channel that gives the audio to the caller. Call it once."""
        return AudioChannel(self.utterance, self.changed, self._readers)

    async def run(self) -> None:
        """Speak until the utterance ends. Its failure is noted in the utterance, and not raised."""
        utterance = self.utterance
        try:
            await self._speak()
        except TTSError as error:
            utterance.fail(error, trio.current_time())
        except Exception as error:
            logger.exception("the task of an utterance failed")
            utterance.fail(unexpected("utterance", error), trio.current_time())
        finally:
            if utterance.ended is None:
                utterance.interrupt(trio.current_time())
            self.changed()

    @abstractmethod
    async def _speak(self) -> None:
        """Speak until the utterance ends, or raise by what it failed."""

    @abstractmethod
    def changed(self) -> None:
        """Act on a change of the utterance."""

    @trio.lowlevel.enable_ki_protection
    def leave(self) -> None:
        """End the caller's block: interrupt an unfinished utterance, and let tasks that still read get an error.

        This waits for no I/O: the task of the socket closes the socket.
        """
        if not self.utterance.playback.left:
            self.utterance.leave(trio.current_time(), dismissed=False)
            self.changed()

    def record(self) -> UtteranceRecord:
        """Return what became of the utterance, whose block is left now."""
        from tts_trio.config.utterance_record import UtteranceRecord  # loaded late: few ask for it

        now = trio.current_time()
        utterance, segments, playback = self.utterance, self.utterance.segments, self.utterance.playback
        timeline, usage = utterance.timeline, utterance.usage
        zero = timeline.started if timeline.first_text is None else timeline.first_text

        def ms(when: float | None) -> float | None:
            return None if when is None else (when - zero) * 1000

        silence = segments.leading_silence and segments.leading_silence.seconds
        delivered = timeline.first_delivered
        return UtteranceRecord(
            kind=self.kind,
            end=utterance.ended,
            error=utterance.error,
            voice_id=self._config.voice_id,
            model_id=self._config.model_id,
            connection=utterance.connection,
            cached=segments.begins_from_memory or (timeline.first_received is not None and not usage.characters),
            replays=usage.replays,
            hedge=utterance.hedge,
            hedged_characters=usage.hedged_characters,
            characters=usage.characters,
            credits=usage.credits,
            started_ms=(timeline.started - zero) * 1000,
            connected_ms=ms(timeline.connected),
            first_text_ms=ms(timeline.first_text),
            first_sent_ms=ms(timeline.first_sent),
            first_received_ms=ms(timeline.first_received),
            first_delivered_ms=ms(delivered),
            first_audible_ms=None if silence is None or delivered is None else ms(delivered + silence),
            ended_ms=ms(timeline.ended),
            left_ms=(now - zero) * 1000,
            audio_ms=segments.received_seconds * 1000,
            discarded_bytes=segments.waiting_bytes,
            underruns=playback.underruns if playback.paced else 0,
            underrun_ms=playback.silence * 1000 if playback.paced else 0.0,
            request_id=usage.request_id,
            trace_id=usage.trace_id,
        )

    def _wake_readers(self) -> None:
        """Wake the tasks that wait for audio, if there is audio, or the utterance has ended, as when one leaves it."""
        if self.utterance.segments.waiting or self.utterance.ended is not None:
            self._readers.wake()
