"""The WebSocket `/v1/text-to-speech/{voice_id}/stream-input`: one utterance, ended by an empty text."""

from __future__ import annotations

import math
from typing import Any

from tts_trio.local_server.messages import Close, SpeechSpelling
from tts_trio.local_server.socket_core import NORMAL_CLOSURE, SocketCore
from tts_trio.local_server.speech_context import SpeechContext


class StreamInput(SocketCore[SpeechContext]):
    """One socket: one voice, one model, one utterance."""

    @property
    def spelling(self) -> SpeechSpelling:
        """How messages are spelt here."""
        return SpeechSpelling(snake=self._behaviour.spelling == "snake")

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        if not self._utterances:
            self._check_voice(self._parameters.voice_id)
            self._open(SpeechContext, message, self._heard_at)
        (context,) = self._utterances
        context.take(message, now)
        ends = message.get("flush") is not True or self._behaviour.empty_flush_ends
        if message.get("text") == "" and ends:
            context.generate(now)
            context.end(now)
            self._ended = True

    @property
    def _idle_at(self) -> float:
        heard_at = self._utterances[0].heard_at if self._utterances else self._heard_at
        return math.inf if self._ended else heard_at + self._parameters.inactivity_timeout

    def _finished(self, at: float) -> None:
        self._effects.append(Close(at + self._behaviour.close_delay, NORMAL_CLOSURE, ""))
