"""The WebSocket `/v1/text-to-speech/{voice_id}/multi-stream-input`: a context for each utterance."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tts_trio.local_server import errors
from tts_trio.local_server.context_socket import ContextSocket, context_id_of
from tts_trio.local_server.messages import SpeechSpelling
from tts_trio.local_server.speech_context import SpeechContext


class MultiStreamInput(ContextSocket[SpeechContext]):
    """One socket: one voice, one model, up to five contexts; messages without an id are the default context's."""

    @property
    def spelling(self) -> SpeechSpelling:
        """How messages are spelt here."""
        return SpeechSpelling(contexts=True, snake=self._behaviour.spelling == "snake")

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        self._check_voice(self._parameters.voice_id)
        if message.get("close_socket") is True:
            if not self._utterances or self._behaviour.close_socket == "obeyed":
                self._close_socket(now)
            return
        context_id = context_id_of(message)
        context = self._context(context_id)
        if context is None:
            if self._opens_nothing(message, context_id):
                return
            self._make_room()
            context = self._open(SpeechContext, message, now, context_id)
        with self._paying(context, now):
            context.take(message, now)
        if message.get("close_context") is True and not context.ended:
            self._close_context(context, now)

    def _opens_nothing(self, message: dict[str, Any], context_id: str | None) -> bool:
        """Any message begins a context, a flush and a keep-alive too; but not every one of them."""
        if message.get("text"):
            return False
        if message.get("close_context") is True:
            return True
        is_keep_alive = message.get("text") == "" and message.get("flush") is not True
        return is_keep_alive and context_id is None and not self._behaviour.keep_alive_opens

    def _say_rest(self, context: SpeechContext, now: float, final_delay: float = 0.0) -> None:
        with self._paying(context, now):
            super()._say_rest(context, now, final_delay)

    @contextmanager
    def _paying(self, context: SpeechContext, now: float) -> Generator[None]:
        """End a context that costs more than there is, without a word about it."""
        try:
            yield
        except errors.QuotaExceeded:
            if self._behaviour.quota_on_contexts == "error":
                raise
            context.end(now)

    def _close_context(self, context: SpeechContext, now: float) -> None:
        """What was flushed is said to its end; what was not is interrupted; and there is the race."""
        late, race = self._behaviour.late_final, self._behaviour.early_close
        if race == "none" or context.begun:
            if context.flushed:
                context.end(now, late)
            else:
                context.interrupt(now, late)
        elif race == "silent_final":
            context.lose(now, late)
        else:
            self.drop(context.number, now)
