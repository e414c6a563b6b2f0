"""The task that runs a fixed phrase: one HTTP request, whose answer is the audio."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import attrs
import trio

from tts_trio.channels import AudioChannel, Usage
from tts_trio.config import TTSConfig
from tts_trio.errors import TTSError
from tts_trio.speech import ending
from tts_trio.utterance import Utterance
from tts_trio.wire.events import AudioReceived, Final
from tts_trio.wire.http import stream_request

if TYPE_CHECKING:
    from tts_trio.http import HttpConnections


class FixedPhrase:
    """A phrase that is known as a whole: one HTTP request, whose answer is the audio."""

    def __init__(self, config: TTSConfig, http: HttpConnections, text: str) -> None:
        # An answer that has begun is never asked for again: what was delivered would be heard twice.
        self._config = config.evolve(on_lost_connection="raise")
        self.audio = AudioChannel(self, config.format)
        self.utterance = Utterance(self._config, trio.current_time())
        self.utterance.say(text, trio.current_time())
        self.usage = Usage(characters=0)
        self._http = http
        self._request = stream_request(config, text)
        self._scope = trio.CancelScope()
        self._heard_more = trio.Event()

    async def run(self) -> None:
        """Ask, and pass the answer on as it comes; ask again where that can help and nothing was heard yet."""
        try:
            with ending(self.utterance), self._scope:
                while self.utterance.ended is None:
                    await self._wait_before_retry()
                    self._begin()
                    with trio.CancelScope(deadline=self.utterance.deadline()) as timer:
                        try:
                            await self._stream(timer)
                        except TTSError as error:
                            self.utterance.lost(error, trio.current_time())
                    self.utterance.expire(trio.current_time())
        finally:
            self.audio.wake()

    def deliver(self) -> bytes:
        """Take the next piece of audio, to be handed to the caller; more may be read."""
        self._heard_more.set()
        return self.utterance.deliver(trio.current_time())

    def hand_over(self, seconds: float) -> None:
        """Count audio as handed to the far end; when more may be read, is known better now."""
        self.utterance.listener.give(seconds, trio.current_time())
        self._heard_more.set()

    def interrupt(self) -> None:
        """Stop, if it has not ended; the request is dropped by the task that made it."""
        self.utterance.interrupt(trio.current_time())
        self.audio.wake()
        self._scope.cancel(reason="the utterance has ended")

    async def _wait_before_retry(self) -> None:
        if self.utterance.replays:
            await trio.sleep(random.uniform(0.5, 1) * 0.1 * 2**self.utterance.replays)  # noqa: S311 - no secret

    def _begin(self) -> None:
        now = trio.current_time()
        self.utterance.connected()
        self.utterance.phrases_to_send(now)
        self.utterance.end_to_send(now)

    async def _stream(self, timer: trio.CancelScope) -> None:
        async with self._http.stream(self._request) as response:
            cost = response.headers.get("character-cost", "")
            self.usage = attrs.evolve(
                self.usage,
                characters=self.utterance.characters_sent,
                credits=int(cost) if cost.isdigit() else None,
                request_id=response.headers.get("request-id"),
                trace_id=response.headers.get("x-trace-id"),
            )
            async for chunk in response:
                self.utterance.receive(AudioReceived(chunk), trio.current_time())
                self.audio.wake()
                timer.deadline = math.inf
                while (room_at := self.utterance.room_at()) > trio.current_time():
                    self._heard_more = trio.Event()
                    with trio.move_on_at(room_at):
                        await self._heard_more.wait()
                    self.utterance.excuse(trio.current_time())
                timer.deadline = self.utterance.deadline()
        self.utterance.receive(Final(), trio.current_time())
