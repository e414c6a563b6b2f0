"""One utterance of a text-to-dialogue WebSocket: its voices, its buffer, and its client's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs
from pydantic import ValidationError

from tts_trio.local_server import errors
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import VoiceSettings
from tts_trio.local_server.parameters import Parameters, check_settings, known_voice
from tts_trio.local_server.speech import Alignment, Clip, tagged
from tts_trio.local_server.utterance import Utterance

_LEAST_CHARACTERS = 40  # both are wanted before a generation that nothing else asks for
_LEAST_WORDS = 8
_OVERRUN = 1413 / 1233  # by so much an alignment was longer than its sound, when somebody measured it live
_FIRST_ONLY = ("voices", "voice_settings", "pronunciation_dictionary_locators")


@attrs.define(eq=False, kw_only=True)
class DialogueContext(Utterance):
    """All of a text-to-dialogue socket, or one context of one with contexts.

    Attributes:
        voices: Who may speak here.
    """

    voices: tuple[str, ...]

    @classmethod
    def settled(cls, first: Mapping[str, Any], parameters: Parameters, behaviour: Behaviour) -> dict[str, Any]:
        """Give the voices, which only the first message names."""
        voices: Any = first.get("voices")
        if not isinstance(voices, list) or not voices:
            raise errors.invalid_parameter("voices", "The first message must name the voices.")
        listed = tuple(map(str, cast("list[Any]", voices)))
        for voice_id in listed:
            if not known_voice(voice_id, behaviour):
                raise errors.VOICE_DOES_NOT_EXIST.given(voice_id=voice_id)
        if len(set(listed)) > parameters.model.dialogue_voices:
            raise errors.TOO_MANY_VOICES.given(limit=parameters.model.dialogue_voices)
        check_settings(_settings(first))
        return {"voices": listed}

    def refuse_settings(self, later: Mapping[str, Any]) -> None:
        """Refuse what belongs into the first message."""
        for field in _FIRST_ONLY:
            if later.get(field) is not None:
                raise errors.FIRST_MESSAGE_ONLY.given(field=field)

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message, the first one included.

        Raises:
            ServiceError: It is of a wrong form, or costs more than there is.
        """
        self.heard_at = now
        inputs: Any = message.get("inputs") or []
        if not isinstance(inputs, list):
            raise errors.invalid_parameter("inputs", "inputs is a list.")
        for item in cast("list[Any]", inputs):
            self._add(item, now)
        if message.get("flush") is True or (
            len(self._text) >= _LEAST_CHARACTERS and len(self._text.split()) >= _LEAST_WORDS
        ):
            self.generate(now)

    def _add(self, item: Any, now: float) -> None:
        line = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        text = line.get("text")
        if not isinstance(text, str):
            raise errors.invalid_parameter("inputs", "Every input has a text and a voice_id.")
        if line.get("voice_id") not in self.voices:
            raise errors.invalid_parameter("voice_id", f"The voice {line.get('voice_id')} is not one of the voices.")
        if line.get("new_turn") is True:
            self.generate(now)
        self._text += text

    def speak(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order: each is a file of its own, and the first mp3 of them has a tag."""
        if self.parameters.output_format.startswith("mp3") and not self._sounds:
            clip = tagged(clip, alone=self.behaviour.id3_tag == "alone")
        super().speak(clip, now)

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Only `sync_alignment` aligns here, and then each message with sound for itself."""
        if not self.parameters.sync_alignment or clip.slices[index].end_ms == 0:
            return None, None
        alignment, normalised = super()._alignments(clip, index)
        if alignment and alignment.chars and self.behaviour.alignment == "overrunning":
            alignment = alignment.stretched(_OVERRUN)
        return alignment, normalised


def _settings(first: Mapping[str, Any]) -> VoiceSettings:
    try:
        return VoiceSettings.model_validate(first.get("voice_settings") or {})
    except ValidationError as error:
        complaint = error.errors()[0]
        field = ".".join(map(str, ["voice_settings", *complaint["loc"]]))
        raise errors.invalid_parameter("voice_settings", f"{field}: {complaint['msg']}") from None
