"""Gives audio at the speed at which it is played, for telephone lines, with a short lead over the caller's ear."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from tts_trio._nurseries import WaitingTasks
from tts_trio.config.validators import number
from tts_trio.errors import ConfigurationError, TTSError
from tts_trio.speech.frames import Frames, next_piece
from tts_trio.speech.playback import Slots
from tts_trio.speech.utterance import Utterance

_LEAD_MS = 200.0  # ahead of the ear, if nothing else is asked for
_ROUNDED = 1e-6  # of a frame: times are not exact


class PacedFrames(trio.abc.ReceiveChannel[bytes]):
    """The frames of an utterance, each when it is due, returned by `audio.paced()`.

    The properties stay valid when the block of the utterance was left.
    """

    def __init__(
        self,
        frames: Frames,
        utterance: Utterance,
        changed: Callable[[], None],
        changes: WaitingTasks,
        ms: int,
        lead_ms: float | None,
        slots: Slots | None,
    ) -> None:
        """Pace the frames of an utterance; see `AudioChannel.paced`.

        Args:
            frames: The frames.
            utterance: The utterance, whose `playback` counts the frames that were returned.
            changed: The function to call after each change of the utterance.
            changes: Where a task waits for the next change of `utterance.playback`.
            ms: The length of a frame, in milliseconds.
            lead_ms: As in `AudioChannel.paced`.
            slots: The slots of a line that takes a frame in each of them, speech or silence; or None.
        """
        if slots is None:
            lead_ms = _LEAD_MS if lead_ms is None else lead_ms
            number(ms, 1e9, "a number of milliseconds").check("lead_ms", lead_ms)
        elif lead_ms is not None:
            raise ConfigurationError(
                "lead_ms: it is not allowed with silence=True, by which each frame is given when it is due and none "
                "ahead; leave it out",
                field="lead_ms",
            )
        self._frames = frames
        self._utterance = utterance
        self._changed = changed
        self._changes = changes
        self._lead = (lead_ms or 0.0) / 1000
        self._seconds = ms / 1000
        self.slots: Slots | None = slots
        self._paused = False
        self._next: deque[bytes] = deque()  # frames that are at hand: to be said again, or waiting for their time
        # The last frames that were given, as many as can be ahead of the ear: on a line with slots none.
        self._sent: deque[bytes] = deque(maxlen=0 if lead_ms is None else math.ceil(lead_ms / ms) + 2)
        self._asking = trio.CancelScope()  # around the wait for audio that has not come
        self._playback = utterance.playback
        self._playback.paced = True

    async def receive(self) -> bytes:
        """Wait until all but `lead_ms` of the earlier frames were played, and return the next frame.

        Raises:
            trio.EndOfChannel: The utterance is finished, and was played to its end.
            TTSError: The utterance failed. The frames of all audio received before were returned and played.
            trio.ClosedResourceError: The audio was closed, or the block of the utterance was left.
        """
        if self._due() <= trio.current_time():
            await trio.lowlevel.checkpoint()
        while (due := self._due()) > trio.current_time():
            if due < math.inf or self._paused:
                with trio.move_on_at(due):
                    await self._changes.wait()
            else:
                with trio.CancelScope() as self._asking, suppress(trio.EndOfChannel, TTSError):  # `_due` sees that too
                    self._next.append(await self._frames.receive())
        return self.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    def receive_nowait(self) -> bytes:
        """Return the next frame without waiting, if it is due; it also raises what `receive` does.

        Raises:
            trio.WouldBlock: It is not due yet.
        """
        now = trio.current_time()
        if self._due() > now:
            raise trio.WouldBlock
        slots = self.slots
        if slots is not None and (self._paused or not (self._is_over() or self._next)):
            slots.take(now)
            return slots.silence
        frame = self._next.popleft() if self._next else self._frames.receive_nowait()
        self._sent.append(frame)
        self._playback.give(self._seconds, now if slots is None else slots.take(now))
        if self._utterance.waits_for_playback:
            self._changed()
        return frame

    async def wait_played(self) -> None:
        """Wait until all was played, while another task takes the frames, or a `Line` does.

        It returns too when `audio.close()` is called.

        Raises:
            TTSError: The utterance failed. All audio that came before was played.
            trio.ClosedResourceError: The block of the utterance was left.
        """
        from tts_trio.speech.heard import over_at  # loaded late: few ask for it

        await trio.lowlevel.checkpoint()
        while (over := over_at(self._utterance)) > trio.current_time():
            with trio.move_on_at(over):
                await self._changes.wait()
        if not self._playback.left and (error := self._utterance.error) is not None:
            raise error
        if self._playback.left and not self._utterance.dismissed:
            raise trio.ClosedResourceError("this audio channel was closed")

    def _due(self) -> float:
        """Return when the next frame is due, or the end that `receive` raises; infinity while none is at hand."""
        if self._playback.left:
            raise trio.ClosedResourceError("this audio channel was closed")
        if self.slots is not None:
            return self.slots.next
        if self._paused:
            return math.inf
        if self._is_over():
            return self._playback.silent_from
        return self._playback.silent_from - self._lead if self._next else math.inf

    def _is_over(self) -> bool:
        """Take the next frame to hand, if it has come; return whether there will be none."""
        if not self._next:
            try:
                self._next.append(self._frames.receive_nowait())
            except trio.WouldBlock:
                return False
            except (trio.EndOfChannel, TTSError):
                return True
        return False

    @trio.lowlevel.enable_ki_protection
    def pause(self) -> None:
        """Give no more frames for now: the caller may have begun to speak. Tell the far end to drop what it has.

        What the far end had not played is given again after `resume`, from the beginning of the frame in which it
        stopped. Until then `receive` waits, `played_ms` stands still, and no word counts as heard; the service is asked
        for no more text than `max_lead` allows. It is a barge-in when the block of the utterance is left.

        With `silence`, and on a `Line`, silence is given meanwhile. Nothing was sent ahead then: the far end drops
        nothing, and plays to its end the frame that it has.

        A second call, or a call after the audio was closed, does nothing.
        """
        if self._paused or self._playback.left:
            return
        now = trio.current_time()
        is_over = self._is_over()
        unplayed = math.ceil((self._playback.silent_from - now) / self._seconds - _ROUNDED)
        again = [self._sent.pop() for _ in range(min(unplayed, len(self._sent)))]
        self._next.extendleft(again)
        self._paused = True
        self._playback.pause(len(again) * self._seconds, now, whole=is_over and not again)

    @trio.lowlevel.enable_ki_protection
    def resume(self) -> None:
        """Go on after `pause`, from where the caller was. It does nothing where nothing is paused."""
        if not self._paused or self._playback.left:
            return
        self._paused = False
        self._asking.cancel()
        self._playback.resume(trio.current_time(), gap=not (self._is_over() or self._next))
        if self._utterance.waits_for_playback:
            self._changed()

    async def __anext__(self) -> bytes:
        return await next_piece(self, self._utterance)

    async def aclose(self) -> None:
        """Close the audio, which interrupts an unfinished utterance. Frames that were not played are dropped."""
        await self._frames.aclose()

    @property
    def played_ms(self) -> float:
        """How much audio the caller has heard until now, or until the audio was closed, in milliseconds."""
        now = 0.0 if self._playback.left else trio.current_time()  # a closed one may be read outside of `trio.run`
        return self._playback.heard(now) * 1000

    @property
    def unplayed_ms(self) -> float:
        """How much audio has come from the service and was not heard yet, in milliseconds; it includes the lead."""
        return max(0.0, self._utterance.segments.received_seconds * 1000 - self.played_ms)

    @property
    def underruns(self) -> int:
        """How often the caller heard a gap because no frame had come when it was due.

        A gap counts when the next frame or a barge-in has ended it.
        """
        return self._playback.underruns

    @property
    def underrun_ms(self) -> float:
        """The sum of these gaps, in milliseconds."""
        return self._playback.silence * 1000
