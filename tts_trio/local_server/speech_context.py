"""One utterance of a text-to-speech WebSocket: its settings, its schedule, and its client's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from tts_trio.local_server import errors
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.parameters import Parameters
from tts_trio.local_server.socket_parameters import parse_schedule, speed_of
from tts_trio.local_server.speech import silence
from tts_trio.local_server.utterance import Utterance

_SCHEDULE = (120, 160, 250, 290)  # characters before a generation; the last one repeats
_TAIL_MS = (9, 10, 26, 33)  # of the last audio message before isFinal: 436, 494, 1288, 1574 bytes at pcm_24000
_STREAMED_CODECS = ("mp3", "opus")
_TRIGGER_MINIMUM = 50  # characters below which try_trigger_generation does nothing


@attrs.define(eq=False, kw_only=True)
class SpeechContext(Utterance):
    """All of a stream-input socket, or one context of a multi-stream-input socket.

    Attributes:
        schedule: Lengths of text that are generated without being told to.
        settings: What the first message said for good.
        flushed: All text so far was flushed.
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
    def settled(cls, first: Mapping[str, Any], parameters: Parameters, behaviour: Behaviour) -> dict[str, Any]:
        """Give the speed, the schedule, and what later messages may repeat but not change."""
        schedule = parse_schedule(first) or _SCHEDULE
        return {"speed": speed_of(first), "schedule": schedule, "settings": _settings(first)}

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
            if text.isspace() and self.behaviour.blank_in_auto_mode == "silence":
                self._order("", now)
            self.generate(now)
            return
        threshold = self.schedule[min(self._generations, len(self.schedule) - 1)]
        if len(self._text) >= threshold or (trigger and len(self._text) > _TRIGGER_MINIMUM):
            self.generate(now)


def _settings(message: Mapping[str, Any]) -> dict[str, Any]:
    config = message.get("generation_config") or message.get("generator_config")  # its name in older documentation
    return {"voice_settings": message.get("voice_settings"), "generation_config": config}
