"""The WebSockets of text-to-speech and text-to-dialogue: `stream-input` and `multi-stream-input` of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import attrs

from tts_trio.local_server import errors, parameters
from tts_trio.local_server.account import Account
from tts_trio.local_server.body import VoiceSettings, is_object, parse_for_socket
from tts_trio.local_server.encoding import Encoder
from tts_trio.local_server.parameters import Parameters, Request, check_voice
from tts_trio.local_server.socket_core import ContextSocket, SocketCore, field_of
from tts_trio.local_server.speech import Alignment, Clip, tagged
from tts_trio.local_server.utterance import Utterance

_SCHEDULE = (120, 160, 250, 290)  # characters before each generation; the last number repeats
_TAIL_MS = (9, 10, 26, 33)  # lengths of the last audio message before isFinal: 436, 494, 1288, 1574 bytes at pcm_24000
_STREAMED_CODECS = ("mp3", "opus")
_TRIGGER_MINIMUM = 50  # characters; with fewer, try_trigger_generation does nothing

_LEAST_CHARACTERS = 40  # of a dialogue; a generation without a flush needs so many characters and so many words
_LEAST_WORDS = 8
_OVERRUN = 1413 / 1233  # the length of an alignment over that of its sound, as measured on the live API
_FIRST_ONLY = ("voices", "voice_settings", "pronunciation_dictionary_locators")


# --- text-to-speech


@attrs.define(eq=False, kw_only=True)
class SpeechContext(Utterance):
    """The one utterance of a stream-input socket, or one context of a multi-stream-input socket."""

    flushed: bool = attrs.field(default=False, init=False)  # whether the client has flushed all its text
    _schedule: tuple[int, ...] = attrs.field(init=False)  # the characters before each generation
    _stream: Encoder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        voice_settings, config = _settings(self.first).values()
        self.speed, self._schedule = _speed(voice_settings), _chunk_lengths(config) or _SCHEDULE
        self._stream = Encoder(self.parameters.output_format)
        if self.parameters.output_format.startswith(_STREAMED_CODECS):
            self._encoder = self._stream

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message. A message may repeat the settings of the first one, but not change them."""
        settled = _settings(self.first)
        for field, given in _settings(message).items():
            if given is not None and given != settled[field]:
                raise errors.SETTINGS_CHANGED.given(field=field)
        text = field_of(message, "text", str)
        if text is not None:
            self.heard_at = now
        if text:
            self.flushed = False
            self._add(text, now, trigger=message.get("try_trigger_generation") is True)
        if message.get("flush") is True:
            self.flushed = True
            self.generate(now)

    def _order(self, text: str, now: float) -> None:
        """Order speech. An exhausted quota ends a context without an error, unless `quota_on_contexts` is "error"."""
        try:
            super()._order(text, now)
        except errors.QuotaExceeded:
            if not self.spelling.contexts or self.behavior.quota_on_contexts == "error":
                raise
            self.end(now)

    def _tail(self) -> bytes:
        """Return a moment of silence, and the bytes that the encoder has held back."""
        rate = self._stream.source_rate
        samples = rate * _TAIL_MS[self._generations % len(_TAIL_MS)] // 1000
        return self._stream.encode(bytes(2 * samples), rate) + self._stream.flush()

    def _add(self, text: str, now: float, *, trigger: bool) -> None:
        self._text += text
        if self.parameters.auto_mode:
            if text.isspace() and self.behavior.blank_in_auto_mode == "silence":
                self._order("", now)
            self.generate(now)
            return
        threshold = self._schedule[min(self._generations, len(self._schedule) - 1)]
        if len(self._text) >= threshold or (trigger and len(self._text) > _TRIGGER_MINIMUM):
            self.generate(now)


def _settings(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a message. Later messages may repeat those of the first one, but not change them."""
    config = message.get("generation_config") or message.get("generator_config")  # the name in older documentation
    return {"voice_settings": message.get("voice_settings"), "generation_config": config}


def _speed(settings: Any) -> float:
    """Return the speed of the voice settings, clamped to its range, since a WebSocket refuses no speed."""
    low, high = parameters.SETTINGS["speed"]
    speed = settings.get("speed") if is_object(settings) else None
    return float(max(low, min(speed, high))) if isinstance(speed, int | float) else 1.0


def _chunk_lengths(config: Any) -> tuple[int, ...]:
    """Return the `chunk_length_schedule` of the first message.

    Raises:
        ServiceError: A length is not a whole number from 50 to 500.
    """
    given: Any = config.get("chunk_length_schedule") if is_object(config) else None
    lengths = cast("list[Any]", given) if isinstance(given, list) else [given] if given else []
    if not all(isinstance(length, int) and 50 <= length <= 500 for length in lengths):
        raise errors.invalid_parameter("chunk_length_schedule", "Every chunk length must be from 50 to 500.")
    return tuple(lengths)


class StreamInput(SocketCore[SpeechContext]):
    """One socket: one voice, one model, one utterance."""

    _kind = SpeechContext

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        if not self._utterances:
            check_voice(self._parameters.voice_id, self._behavior, errors.VOICE_DOES_NOT_EXIST)
            self._open(message, self._heard_at)
        (context,) = self._utterances
        context.take(message, now)
        ends = message.get("flush") is not True or self._behavior.empty_flush_ends
        if message.get("text") == "" and ends:
            context.end(now)
            self._ended = True


class MultiStreamInput(ContextSocket[SpeechContext]):
    """One socket: one voice, one model, up to five contexts. A message without an id belongs to the default context."""

    _kind = SpeechContext

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        check_voice(self._parameters.voice_id, self._behavior, errors.VOICE_DOES_NOT_EXIST)
        if message.get("close_socket") is True:
            if not self._utterances or self._behavior.close_socket == "obeyed":
                self._close_socket(now)
            return
        context_id = field_of(message, "context_id", str)
        context = self._context(context_id)
        if context is None:
            if self._opens_nothing(message, context_id):
                return
            context = self._open(message, now, context_id)
        context.take(message, now)
        if message.get("close_context") is True and not context.ended:
            self._close_context(context, now)

    def _opens_nothing(self, message: dict[str, Any], context_id: str | None) -> bool:
        """Return whether a message opens no context, as some keep-alives and a close of an unknown context do."""
        if message.get("text"):
            return False
        if message.get("close_context") is True:
            return True
        is_keep_alive = message.get("text") == "" and message.get("flush") is not True
        return is_keep_alive and context_id is None and not self._behavior.keep_alive_opens

    def _close_context(self, context: SpeechContext, now: float) -> None:
        """End a context whose text is flushed; interrupt any other. `early_close` decides before the first audio."""
        late, race = self._behavior.late_final, self._behavior.early_close
        if context.begun or race == "none":
            if context.flushed:
                context.end(now, late)
            else:
                context.interrupt(now, late)
        elif race == "silent_final":
            context.interrupt(now, late, silently=True)
        else:
            self.drop(context, now)


# --- text-to-dialogue, for the v3 and v4 models


@attrs.define(eq=False, kw_only=True)
class DialogueContext(Utterance):
    """The one utterance of a text-to-dialogue socket, or one context of a socket with contexts."""

    _voices: tuple[str, ...] = attrs.field(init=False)  # the ids of the voices that the first message names

    def __attrs_post_init__(self) -> None:
        voices: Any = self.first.get("voices")
        if not isinstance(voices, list) or not voices:
            raise errors.invalid_parameter("voices", "The first message must name the voices.")
        self._voices = tuple(map(str, cast("list[Any]", voices)))
        for voice_id in self._voices:
            check_voice(voice_id, self.behavior, errors.VOICE_DOES_NOT_EXIST)
        if len(set(self._voices)) > self.parameters.model.dialogue_voices:
            raise errors.TOO_MANY_VOICES.given(limit=self.parameters.model.dialogue_voices)
        settings: Any = self.first.get("voice_settings") or {}
        parameters.check_settings(parse_for_socket(VoiceSettings, settings, "voice_settings"))

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Take a message. Only the first message may have the fields in `_FIRST_ONLY`."""
        for field in _FIRST_ONLY:
            if message is not self.first and message.get(field) is not None:
                raise errors.FIRST_MESSAGE_ONLY.given(field=field)
        self.heard_at = now
        for item in field_of(message, "inputs", list) or ():
            self._add(item, now)
        if message.get("flush") is True or (
            len(self._text) >= _LEAST_CHARACTERS and len(self._text.split()) >= _LEAST_WORDS
        ):
            self.generate(now)

    def _add(self, item: Any, now: float) -> None:
        line = item if is_object(item) else {}
        text = line.get("text")
        if not isinstance(text, str):
            raise errors.invalid_parameter("inputs", "Every input must have a text and a voice_id.")
        if line.get("voice_id") not in self._voices:
            raise errors.invalid_parameter("voice_id", f"The voice {line.get('voice_id')} is not one of the voices.")
        if line.get("new_turn") is True:
            self.generate(now)
        self._text += text

    def speak(self, clip: Clip, now: float) -> None:
        """Take the speech of the oldest order. Each clip is a file, and the first mp3 file begins with an ID3 tag."""
        if self.parameters.output_format.startswith("mp3") and not self._sounds:
            clip = tagged(clip, alone=self.behavior.id3_tag == "alone")
        super().speak(clip, now)

    def _alignments(self, clip: Clip, index: int) -> tuple[Alignment | None, Alignment | None]:
        """Return an alignment for each message that has sound, if `sync_alignment` is on."""
        if not self.parameters.sync_alignment or clip.slices[index].end_ms == 0:
            return None, None
        alignment, normalized = super()._alignments(clip, index)
        if alignment and self.behavior.alignment == "overrunning":
            alignment = alignment.stretched(_OVERRUN)
        return alignment, normalized


class _DialogueSocket(SocketCore[DialogueContext]):
    """A socket that holds one of the account's dialogue sessions until it closes."""

    _kind = DialogueContext
    _dialogue = True

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        if account.behavior.over_concurrency == "upgrade":
            account.begin_session(self)
        super().__init__(request, parameters, account, now)
        with self._refusing(now):
            account.begin_session(self)

    def gone(self) -> None:
        """Handle the end of the connection, and release the session."""
        super().gone()
        self._account.end_session(self)

    def _say(self, message: dict[str, Any], now: float, context_id: str | None = None) -> DialogueContext:
        """Pass a message to its context. Start the context if the message is its first one."""
        context = self._context(context_id) or self._open(message, now, context_id)
        context.take(message, now)
        return context


class DialogueInput(_DialogueSocket):
    """One socket with one utterance, which `close_socket` ends."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        context = self._say(message, now)
        if message.get("close_socket") is True:
            context.end(now)
            self._ended = True


class MultiDialogueInput(_DialogueSocket, ContextSocket[DialogueContext]):
    """One socket with up to five contexts. Every message names a context, except a bare `close_socket`."""

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        context_id = field_of(message, "context_id", str)
        if context_id is not None:
            context = self._say(message, now, context_id)
            if message.get("close_context") is True:
                self._close_context(context, now)
        elif message.get("close_socket") is not True:
            raise errors.invalid_parameter("context_id", "context_id is required.")
        if message.get("close_socket") is True:
            self._close_socket(now)

    def _open(self, first: Mapping[str, Any], heard_at: float, context_id: str | None = None) -> DialogueContext:
        if any(closing.context_id == context_id for closing in self._utterances):
            raise errors.CONTEXT_IS_CLOSING.given(context_id=context_id)
        return super()._open(first, heard_at, context_id)

    def _close_context(self, context: DialogueContext, now: float) -> None:
        """End a context after the rest of its text. Nothing is interrupted here (API reference)."""
        context.end(now, self._behavior.late_final)


SOCKETS: dict[str, type[SocketCore[Any]]] = {
    r"/v1/text-to-speech/([^/]*)/stream-input": StreamInput,
    r"/v1/text-to-speech/([^/]*)/multi-stream-input": MultiStreamInput,
    r"/v1/text-to-dialogue/stream-input": DialogueInput,
    r"/v1/text-to-dialogue/multi-stream-input": MultiDialogueInput,
}
"""The core of each WebSocket, by the pattern of its path. The group is the voice id."""


def open_core(request: Request, account: Account, now: float) -> SocketCore[Any] | None:
    """Make the core of the WebSocket at this path; None if the path has no WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    for pattern, core in SOCKETS.items():
        if match := re.fullmatch(pattern, request.path):
            voice_id = match[1] if match.groups() else None
            read = parameters.parse_websocket(request, voice_id, account.behavior)
            if account.behavior.over_concurrency == "upgrade":
                account.admit(now)
            return core(request, read, account, now)
    return None
