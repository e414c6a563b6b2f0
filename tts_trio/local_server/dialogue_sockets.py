"""The WebSockets `/v1/text-to-dialogue/stream-input` and `/multi-stream-input`, for the v3 and v4 models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs
from pydantic import ValidationError

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.body import VoiceSettings
from tts_trio.local_server.parameters import Parameters, Request, check_settings, known_voice
from tts_trio.local_server.socket_core import ContextSocket, SocketCore, context_id_of
from tts_trio.local_server.speech import Alignment, Clip, tagged
from tts_trio.local_server.utterance import Utterance

_LEAST_CHARACTERS = 40  # both are wanted before a generation that nothing else asks for
_LEAST_WORDS = 8
_OVERRUN = 1413 / 1233  # by so much an alignment was longer than its sound, when somebody measured it live
_FIRST_ONLY = ("voices", "voice_settings", "pronunciation_dictionary_locators")


@attrs.define(eq=False, kw_only=True)
class DialogueContext(Utterance):
    """The one utterance of a text-to-dialogue socket, or one context of a socket with contexts.

    Attributes:
        voices: The ids of the voices that may speak here.
    """

    voices: tuple[str, ...]

    @classmethod
    def settled(cls, first: Mapping[str, Any], parameters: Parameters, behavior: Behavior) -> dict[str, Any]:
        """Give the voices, which only the first message names."""
        voices: Any = first.get("voices")
        if not isinstance(voices, list) or not voices:
            raise errors.invalid_parameter("voices", "The first message must name the voices.")
        listed = tuple(map(str, cast("list[Any]", voices)))
        for voice_id in listed:
            if not known_voice(voice_id, behavior):
                raise errors.VOICE_DOES_NOT_EXIST.given(voice_id=voice_id)
        if len(set(listed)) > parameters.model.dialogue_voices:
            raise errors.TOO_MANY_VOICES.given(limit=parameters.model.dialogue_voices)
        check_settings(_settings(first))
        return {"voices": listed}

    def refuse_settings(self, later: Mapping[str, Any]) -> None:
        """Refuse fields that only the first message may have."""
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
        """Take the speech of the oldest order. Each is a file of its own; the first mp3 file has an ID3 tag."""
        if self.parameters.output_format.startswith("mp3") and not self._sounds:
            clip = tagged(clip, alone=self.behavior.id3_tag == "alone")
        super().speak(clip, now)

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Align each message that has sound by itself, and only with `sync_alignment`."""
        if not self.parameters.sync_alignment or clip.slices[index].end_ms == 0:
            return None, None
        alignment, normalized = super()._alignments(clip, index)
        if alignment and alignment.chars and self.behavior.alignment == "overrunning":
            alignment = alignment.stretched(_OVERRUN)
        return alignment, normalized


class _DialogueSocket(SocketCore[DialogueContext]):
    """Holds one of the account's dialogue sessions for its whole life."""

    _dialogue = True
    _in_session = False

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        if account.behavior.over_concurrency == "upgrade":
            account.begin_session()
            self._in_session = True
        super().__init__(request, parameters, account, now)
        if not self._in_session:
            with self._refusing(now):
                account.begin_session()
                self._in_session = True

    def gone(self) -> None:
        """Note that the client is gone, and give its session back."""
        super().gone()
        if self._in_session:
            self._in_session = False
            self._account.end_session()


class DialogueInput(_DialogueSocket):
    """One socket, one utterance, ended by `close_socket`."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        self._heard_at = now
        if self._utterances:
            (context,) = self._utterances
            context.refuse_settings(message)
        else:
            context = self._open(DialogueContext, message, now)
        context.take(message, now)
        if message.get("close_socket") is True:
            context.generate(now)
            context.end(now)
            self._ended = True


class MultiDialogueInput(_DialogueSocket, ContextSocket[DialogueContext]):
    """One socket, up to five contexts; every message names one, but for a bare `close_socket`."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        context_id = context_id_of(message)
        if context_id is not None:
            self._take_for(context_id, message, now)
        elif message.get("close_socket") is not True:
            raise errors.invalid_parameter("context_id", "context_id is required.")
        if message.get("close_socket") is True:
            self._close_socket(now)

    def _take_for(self, context_id: str, message: dict[str, Any], now: float) -> None:
        if context := self._context(context_id):
            context.refuse_settings(message)
        elif any(closing.context_id == context_id for closing in self._utterances):
            raise errors.CONTEXT_IS_CLOSING.given(context_id=context_id)
        else:
            self._make_room()
            context = self._open(DialogueContext, message, now, context_id)
        context.take(message, now)
        if message.get("close_context") is True:
            self._close_context(context, now)

    def _close_context(self, context: DialogueContext, now: float) -> None:
        """Generate the rest and end the context: nothing is interrupted here (API reference)."""
        self._say_rest(context, now, self._behavior.late_final)


def _settings(first: Mapping[str, Any]) -> VoiceSettings:
    try:
        return VoiceSettings.model_validate(first.get("voice_settings") or {})
    except ValidationError as error:
        complaint = error.errors()[0]
        field = ".".join(map(str, ["voice_settings", *complaint["loc"]]))
        raise errors.invalid_parameter("voice_settings", f"{field}: {complaint['msg']}") from None
