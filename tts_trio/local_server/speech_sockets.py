"""The WebSockets `/v1/text-to-speech/{voice_id}/stream-input` and `/multi-stream-input`."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import attrs

from tts_trio.local_server import errors
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.parameters import SETTINGS, Parameters
from tts_trio.local_server.socket_core import ContextSocket, SocketCore, context_id_of
from tts_trio.local_server.speech import silence
from tts_trio.local_server.utterance import Utterance

_SCHEDULE = (120, 160, 250, 290)  # characters before a generation; the last one repeats
_TAIL_MS = (9, 10, 26, 33)  # of the last audio message before isFinal: 436, 494, 1288, 1574 bytes at pcm_24000
_STREAMED_CODECS = ("mp3", "opus")
_TRIGGER_MINIMUM = 50  # characters below which try_trigger_generation does nothing


@attrs.define(eq=False, kw_only=True)
class SpeechContext(Utterance):
    """The one utterance of a stream-input socket, or one context of a multi-stream-input socket.

    Attributes:
        schedule: The lengths of text, in characters, at which a generation begins without a flush.
        settings: The settings of the first message, which later ones may not change.
        flushed: Whether all text so far was flushed.
    """

    schedule: tuple[int, ...]
    settings: Mapping[str, Any]
    flushed: bool = attrs.field(default=False, init=False)
    _stream: Encoder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._stream = Encoder(self.parameters.output_format)
        if self.parameters.output_format.startswith(_STREAMED_CODECS):
            self._encoder = self._stream

    @classmethod
    def settled(cls, first: Mapping[str, Any], parameters: Parameters, behavior: Behavior) -> dict[str, Any]:
        """Give the speed, the schedule, and what later messages may repeat but not change."""
        settings = _settings(first)
        schedule = _schedule(settings["generation_config"])
        return {"speed": _speed(settings["voice_settings"]), "schedule": schedule, "settings": settings}

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message, the first one included.

        Raises:
            ServiceError: It changes the settings, is of a wrong form, or costs more than there is.
        """
        for field, given in _settings(message).items():
            if given is not None and given != self.settings[field]:
                raise errors.SETTINGS_CHANGED.given(field=field)
        text = message.get("text")
        if text is not None and not isinstance(text, str):
            raise errors.invalid_parameter("text", "text is a string.")
        if text is not None:
            self.heard_at = now
        if text:
            self.flushed = False
            self._add(text, now, trigger=message.get("try_trigger_generation") is True)
        if message.get("flush") is True:
            self.flushed = True
            self.generate(now)

    def _tail(self) -> bytes:
        return silence(self._stream, _TAIL_MS[self._generations % len(_TAIL_MS)])

    def _add(self, text: str, now: float, *, trigger: bool) -> None:
        self._text += text
        if self.parameters.auto_mode:
            if text.isspace() and self.behavior.blank_in_auto_mode == "silence":
                self._order("", now)
            self.generate(now)
            return
        threshold = self.schedule[min(self._generations, len(self.schedule) - 1)]
        if len(self._text) >= threshold or (trigger and len(self._text) > _TRIGGER_MINIMUM):
            self.generate(now)


class StreamInput(SocketCore[SpeechContext]):
    """One socket: one voice, one model, one utterance."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        if not self._utterances:
            self._check_voice(self._parameters.voice_id)
            self._open(SpeechContext, message, self._heard_at)
        (context,) = self._utterances
        context.take(message, now)
        ends = message.get("flush") is not True or self._behavior.empty_flush_ends
        if message.get("text") == "" and ends:
            context.generate(now)
            context.end(now)
            self._ended = True

    @property
    def _idle_at(self) -> float:
        heard_at = self._utterances[0].heard_at if self._utterances else self._heard_at
        return math.inf if self._ended else heard_at + self._parameters.inactivity_timeout


class MultiStreamInput(ContextSocket[SpeechContext]):
    """One socket: one voice, one model, up to five contexts; messages without an id are the default context's."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        self._check_voice(self._parameters.voice_id)
        if message.get("close_socket") is True:
            if not self._utterances or self._behavior.close_socket == "obeyed":
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
        """Tell the messages that open no context: some keep-alives, and a close of an unknown context."""
        if message.get("text"):
            return False
        if message.get("close_context") is True:
            return True
        is_keep_alive = message.get("text") == "" and message.get("flush") is not True
        return is_keep_alive and context_id is None and not self._behavior.keep_alive_opens

    def _say_rest(self, context: SpeechContext, now: float, final_delay: float = 0.0) -> None:
        with self._paying(context, now):
            super()._say_rest(context, now, final_delay)

    @contextmanager
    def _paying(self, context: SpeechContext, now: float) -> Generator[None]:
        """End a context when the quota is exhausted, and send no error unless `quota_on_contexts` says so."""
        try:
            yield
        except errors.QuotaExceeded:
            if self._behavior.quota_on_contexts == "error":
                raise
            context.end(now)

    def _close_context(self, context: SpeechContext, now: float) -> None:
        """Say flushed text to its end, and interrupt the rest. `early_close` says what comes before the first audio."""
        late, race = self._behavior.late_final, self._behavior.early_close
        if race == "none" or context.begun:
            if context.flushed:
                context.end(now, late)
            else:
                context.interrupt(now, late)
        elif race == "silent_final":
            context.lose(now, late)
        else:
            self.drop(context.number, now)


def _settings(message: Mapping[str, Any]) -> dict[str, Any]:
    config = message.get("generation_config") or message.get("generator_config")  # its name in older documentation
    return {"voice_settings": message.get("voice_settings"), "generation_config": config}


def _speed(settings: Any) -> float:
    """Give the speed that the first message sets, clamped: a WebSocket does not refuse one out of range."""
    low, high = SETTINGS["speed"]
    speed = cast("dict[str, Any]", settings).get("speed") if isinstance(settings, dict) else None
    return float(max(low, min(speed, high))) if isinstance(speed, int | float) else 1.0


def _schedule(config: Any) -> tuple[int, ...]:
    """Give the `chunk_length_schedule` of the first message, or the usual one.

    Raises:
        ServiceError: A length is not from 50 to 500.
    """
    given: Any = cast("dict[str, Any]", config).get("chunk_length_schedule") if isinstance(config, dict) else None
    lengths = cast("list[Any]", given) if isinstance(given, list) else [given] if given else []
    if not all(isinstance(length, int) and 50 <= length <= 500 for length in lengths):
        raise errors.invalid_parameter("chunk_length_schedule", "Every chunk length is from 50 to 500.")
    return tuple(lengths) or _SCHEDULE
