"""HTTP requests for speech, checked as the service checks them."""

from __future__ import annotations

import re
import unicodedata

from tts_trio.local_server import errors
from tts_trio.local_server.behaviour import Behaviour
from tts_trio.local_server.body import (
    DialogueBody,
    Line,
    Query,
    SpeechBody,
    SpeechQuery,
    VoiceSettings,
    parse_body,
    parse_query,
)
from tts_trio.local_server.catalogue import DEFAULT_DIALOGUE_MODEL, DEFAULT_MODEL, Model
from tts_trio.local_server.encoding import OUTPUT_FORMATS, STREAMED_FORMATS
from tts_trio.local_server.parameters import (
    Parameters,
    Request,
    check_settings,
    find_format,
    find_language,
    find_model,
    known_voice,
    normalises,
)

_STABILITIES = (0.0, 0.5, 1.0)  # of the v3 models
_OVERLONG_PERCENT = 110  # of the documented limit: so much is taken
_TAG = re.compile(r"\[[^\]]*\]")
_EMOJI_PARTS = {"\N{VARIATION SELECTOR-16}", *map(chr, range(0x1F3FB, 0x1F400))}  # and skin tones


def parse_http(
    request: Request, voice_id: str | None, behaviour: Behaviour, *, whole: bool
) -> tuple[tuple[Line, ...], Parameters]:
    """Check a request for speech, and return its lines and parameters.

    Args:
        request: The request.
        voice_id: The voice of a text-to-speech request, which has one line; None: text-to-dialogue.
        behaviour: The server's.
        whole: The answer is a whole file, for which there are more formats.

    Raises:
        InvalidBody: 422.
        ServiceError: Anything else that is wrong with it.
    """
    content_type = request.headers.get("content-type", "")
    latency, speed = None, 1.0
    if voice_id is None:
        body = parse_body(DialogueBody, request.body, content_type)
        query = parse_query(Query, request.query)
        lines, settings = tuple(body.inputs), body.settings or VoiceSettings()
        model = find_model(body.model_id or DEFAULT_DIALOGUE_MODEL, dialogue=True)
    else:
        body = parse_body(SpeechBody, request.body, content_type)
        query = parse_query(SpeechQuery, request.query)
        lines, settings = (Line(text=body.text, voice_id=voice_id),), body.voice_settings or VoiceSettings()
        model = find_model(body.model_id or DEFAULT_MODEL)
        latency, speed = query.optimize_streaming_latency, settings.speed or 1.0
        if model.is_v4 and not behaviour.v4_over_text_to_speech:
            raise errors.NO_SPEECH_MODEL.given(model_id=model.model_id)
        if model.is_v3:
            fields = {"previous_text": body.previous_text or None, "next_text": body.next_text or None}
            for field, given in {**fields, "optimize_streaming_latency": latency}.items():
                if given is not None:
                    raise errors.NOT_SUPPORTED_WITH_MODEL.given(field=field, model_id=model.model_id)
    output_format = find_format(query.output_format, behaviour, OUTPUT_FORMATS if whole else STREAMED_FORMATS)
    voices = dict.fromkeys(line.voice_id for line in lines)
    for voice in voices:
        if not known_voice(voice, behaviour):
            raise errors.VOICE_NOT_FOUND.given(voice_id=voice)
    if voice_id is None and len(voices) > model.dialogue_voices:
        raise errors.TOO_MANY_VOICES.given(limit=model.dialogue_voices)
    _check_text([line.text for line in lines], model, behaviour)
    _check_settings(settings, model)
    language = find_language(body.language_code, model, behaviour)
    normalise = normalises(body.apply_text_normalization, model, behaviour, latency)
    return lines, Parameters("", model, output_format, language, normalise, speed, query.enable_logging)


def _check_text(texts: list[str], model: Model, behaviour: Behaviour) -> None:
    """Refuse too much text, and for the dialogue models none at all."""
    for position, text in enumerate(texts):
        if model.dialogue_voices and _is_empty(text):
            raise errors.EMPTY_TEXT.given(position=position)
    characters = sum(map(len, texts))
    if characters * 100 > model.characters * _OVERLONG_PERCENT:
        raise errors.TEXT_TOO_LONG.given(code=behaviour.too_long_code, limit=model.characters, given=characters)


def _is_empty(text: str) -> bool:
    """Say whether nothing but blanks, tags ("[laughs]") and emoji are in a text."""
    return not any(map(_is_text, _TAG.sub("", text)))


def _is_text(character: str) -> bool:
    return unicodedata.category(character) not in {"Zs", "Zl", "Zp", "Cc", "Cf", "So"} and character not in _EMOJI_PARTS


def _check_settings(settings: VoiceSettings, model: Model) -> None:
    check_settings(settings)
    if model.is_v3 and settings.stability is not None and settings.stability not in _STABILITIES:
        raise errors.INVALID_STABILITY.given(allowed=list(_STABILITIES))
