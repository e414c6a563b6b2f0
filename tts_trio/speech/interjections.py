"""Says a filler in a reply whose LLM is silent.

A filler is said as a whole: its audio is put behind all audio that has come, and before all that will come, in one turn
of the loop. So nothing cuts it, and nothing waits for it but the caller's ear. It may be said as long as these hold:

1. The reply goes on, and its text was not closed.
2. Nothing is to be said: no text waits to be cut or sent, and the audio of the text that was sent has come.
3. Nothing is to be heard: all audio was taken, and played by the clock of the far end.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from tts_trio.config.filler import Filler
from tts_trio.errors import TTSError
from tts_trio.errors.redaction import guarded_logger
from tts_trio.speech.utterance import Utterance
from tts_trio.transport.timers import Timer
from tts_trio.wire.events import AudioReceived

logger = guarded_logger(__name__)


@attrs.frozen
class Clip:
    """The audio of a filler.

    Attributes:
        audio: The audio as it came.
        charged: Whether the service charges for it, since it comes from no cache.
    """

    audio: Sequence[AudioReceived]
    charged: bool


class Interjections:
    """Says a filler whenever it is due in one reply."""

    def __init__(self, filler: Filler, ask: Callable[[], Awaitable[Clip]], utterance: Utterance) -> None:
        """Prepare; `run` has to be run in a task.

        Args:
            filler: The filler.
            ask: Returns its audio; raises a `TTSError` where there is none.
            utterance: The reply.
        """
        self._filler = filler
        self._ask = ask
        self._utterance = utterance
        self._last_text = trio.current_time()
        self._not_before = -math.inf  # when it may be said again
        self._clip: Clip | None = None
        self._timer = Timer()
        utterance.fills = True

    def text_came(self) -> None:
        """Note that the LLM has written something."""
        self._last_text = trio.current_time()

    def changed(self) -> None:
        """Note that the utterance has changed."""
        self._timer.bring_forward(self._due())

    @trio.lowlevel.enable_ki_protection
    async def run(self, on_said: Callable[[], None]) -> None:
        """Wait until the filler is due, and say it; again and again, if it is to be said more than once.

        Args:
            on_said: A function that is called when the filler was put into the reply's audio.
        """
        while self._not_before < math.inf:
            await self._timer.wait(self._due())
            if self._due() > trio.current_time():
                continue
            clip = self._clip or await self._get()
            if self._due() <= trio.current_time():  # nothing has come meanwhile
                self._say(clip)
                on_said()

    async def _get(self) -> Clip:
        """Return the audio; where it cannot be had, there is none, so that it is said in silence."""
        try:
            self._clip = await self._ask()
        except TTSError as error:
            logger.warning("a filler is left out: %s", error)
            return Clip((), charged=False)
        self._utterance.filler_characters += len(self._filler.text) if self._clip.charged else 0
        return self._clip

    def _say(self, clip: Clip) -> None:
        every = math.inf if self._filler.every is None else self._filler.every
        utterance = self._utterance
        seconds = utterance.segments.interject(self._filler.text, clip.audio, connected=utterance.has_connection)
        self._not_before = trio.current_time() + seconds + every

    def _due(self) -> float:
        """Return when the filler is to be said if nothing happens before; infinity while it is not."""
        playback = self._utterance.playback
        if playback.left or playback.paused or not self._is_quiet():
            return math.inf
        silent_from = max(self._last_text, playback.silent_from)
        return max(silent_from + self._filler.after, self._not_before)

    def _is_quiet(self) -> bool:
        """Whether the text goes on, and all of it was spoken, and taken."""
        utterance = self._utterance
        if utterance.ended is not None or utterance.phrases or math.isinf(utterance.text_deadline()):
            return False
        return utterance.segments.at_rest and utterance.deadlines.since is None
