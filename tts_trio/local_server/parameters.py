"""The parameters of the speech in requests and URLs, and the checks that all endpoints share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tts_trio.local_server import body, catalog, errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.encoding import OUTPUT_FORMATS, STREAMED_FORMATS, check_encodable
from tts_trio.local_server.speech import Order, single_spaced

SETTINGS = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
    "clone_strength": (0.0, 1.0),
}
"""The range of each number in `voice_settings`."""

_NO_LATENCY_BUT_NO_NORMALIZER = 4
_STABILITIES = (0.0, 0.5, 1.0)  # that the v3 models accept
_OVERLONG_PERCENT = 110  # of the documented limit, which the service still accepts
_TAG = re.compile(r"\[[^\]]*\]")
_RARE_FORMATS = {"mp3_24000_48", "pcm_32000", "pcm_48000"}
_LONGEST_INACTIVITY = 180
_SILENT = {"Zs", "Zl", "Zp", "Cc", "Cf", "So"}  # the Unicode categories of blanks and emoji
_EMOJI_PARTS = {"\N{VARIATION SELECTOR-16}", *map(chr, range(0x1F3FB, 0x1F400))}  # the last ones are skin tones


@attrs.frozen
class Request:
    """An HTTP request. An upgrade to WebSocket is one, too."""

    method: str
    path: str  # without the query
    query: Mapping[str, str]  # the last value of each parameter
    headers: Mapping[str, str]  # the names are in lower case
    body: bytes = b""

    def credentials(self) -> str:
        """Return the API key or the bearer token of the headers; "" if there is neither."""
        return self.headers.get("xi-api-key") or bearer(self.headers.get("authorization", ""))


@attrs.frozen
class Parameters:
    """The parameters of the speech in a request, or in the URL of a WebSocket."""

    model: catalog.Model
    output_format: str
    language_code: str | None  # None: no language is given, or the model does not speak the language
    normalize: bool  # numbers become words
    voice_id: str = ""  # of a text-to-speech WebSocket, whose core checks the id
    speed: float = 1.0  # of the voice settings
    logging: bool = True  # the request goes into the history; False: zero retention
    auto_mode: bool = False  # each text message of a WebSocket is a segment
    sync_alignment: bool = False  # each audio message of a WebSocket has an alignment
    inactivity_timeout: float = 20  # the seconds without text after which a WebSocket times out

    def order(self, text: str) -> Order:
        """Make the order for a text that is a stream of its own."""
        return Order(single_spaced(text), self.output_format, self.language_code, self.speed, self.normalize)


def bearer(authorization: str) -> str:
    """Return the token of an `Authorization` header."""
    return authorization.removeprefix("Bearer ").strip()


def authenticate(request: Request, account: Account) -> None:
    """Raise a `ServiceError` unless an HTTP request has an accepted key."""
    key = request.credentials()
    if not key:
        raise errors.MISSING_KEY.given()
    try:
        account.check_key(key)
    except errors.ServiceError:
        if re.fullmatch(r"(sk_)?[0-9a-f]{8,}", key):
            raise errors.MALFORMED_KEY.given() from None
        raise


def check_voice(voice_id: str, behavior: Behavior, refusal: errors.ServiceError) -> None:
    """Raise `refusal` if the voice is unknown, and another `ServiceError` if the voice is above the plan."""
    if voice_id in behavior.forbidden_voices:
        raise errors.PAID_PLAN_REQUIRED.given()
    known = re.fullmatch(r"[A-Za-z0-9_-]+", voice_id) if behavior.voices is None else voice_id in behavior.voices
    if not known:
        raise refusal.given(voice_id=voice_id)


def check_settings(settings: body.VoiceSettings) -> None:
    """Raise a `ServiceError` if a voice setting is out of its range."""
    for name, (low, high) in SETTINGS.items():
        given = getattr(settings, name)
        if given is not None and not low <= given <= high:
            raise errors.INVALID_SETTINGS.given(name=name, low=low, high=high, given=given)


def _find_model(model_id: str, *, dialogue: bool = False) -> catalog.Model:
    """Return a model.

    Raises:
        ServiceError: The model does not exist, or a dialogue is wanted and the model speaks none.
    """
    model = catalog.MODELS.get(model_id)
    if model is None:
        raise errors.MODEL_NOT_FOUND.given(model_id=model_id)
    if dialogue and not model.dialogue_voices:
        raise errors.NO_DIALOGUE_MODEL.given(model_id=model_id)
    return model


def _find_format(output_format: str, behavior: Behavior, allowed: Sequence[str]) -> str:
    """Return the output format, after checking that the client may ask for it.

    Raises:
        ServiceError: The format does not exist, is above the account's tier, or needs PyAV, which is not installed.
    """
    if output_format not in allowed:
        raise errors.INVALID_FORMAT.given(output_format=output_format)
    if output_format in behavior.forbidden_formats:
        raise errors.FORMAT_NOT_ALLOWED.given(output_format=output_format)
    try:
        check_encodable(output_format)
    except ImportError as error:
        raise attrs.evolve(errors.INVALID_FORMAT, message=str(error)) from None
    return output_format


def _find_language(language_code: str | None, model: catalog.Model, behavior: Behavior) -> str | None:
    """Return the language if the model speaks it, else None.

    Raises:
        ServiceError: The model does not speak the language, and `unsupported_language` is "reject".
    """
    if not language_code or language_code in model.languages:
        return language_code or None
    if behavior.unsupported_language == "reject":
        raise errors.UNSUPPORTED_LANGUAGE.given(language_code=language_code, model_id=model.model_id)
    return None


def _normalizes(choice: str | None, query: body.Query, model: catalog.Model, behavior: Behavior) -> bool:
    """Return whether numbers become words. `choice` is `apply_text_normalization`."""
    if isinstance(query, body.SpeechQuery) and query.optimize_streaming_latency == _NO_LATENCY_BUT_NO_NORMALIZER:
        return False
    by_itself = model.normalizes or behavior.fast_models_normalize
    return by_itself if choice in {None, "auto"} else choice == "on"


def parse_http(
    request: Request, voice_id: str | None, behavior: Behavior, *, whole: bool
) -> tuple[tuple[body.Line, ...], Parameters]:
    """Check a request for speech, and return its lines and parameters.

    Args:
        request: The request.
        voice_id: The voice of a text-to-speech request, which has one line; None: text-to-dialogue.
        behavior: The server's behavior.
        whole: Whether the answer is a whole file, for which more formats exist.

    Raises:
        InvalidBody: The body or the query is not valid (422).
        ServiceError: The service would refuse the request for another reason.
    """
    content_type = request.headers.get("content-type", "")
    formats = OUTPUT_FORMATS if whole else STREAMED_FORMATS
    if voice_id is None:
        said = body.parse_body(body.DialogueBody, request.body, content_type)
        query = body.validate(body.Query, request.query, "query")
        lines, settings = tuple(said.inputs), said.settings or body.VoiceSettings()
        model = _find_model(said.model_id or catalog.DEFAULT_DIALOGUE_MODEL, dialogue=True)
        parameters = _settle(said, query, model, behavior, formats)
    else:
        said = body.parse_body(body.SpeechBody, request.body, content_type)
        query = body.validate(body.SpeechQuery, request.query, "query")
        lines, settings = (body.Line(text=said.text, voice_id=voice_id),), said.voice_settings or body.VoiceSettings()
        model = _find_model(said.model_id or catalog.DEFAULT_MODEL)
        if model.model_id.startswith("eleven_v4") and not behavior.v4_over_text_to_speech:
            raise errors.NO_SPEECH_MODEL.given(model_id=model.model_id)
        fields = {
            "previous_text": said.previous_text or None,
            "next_text": said.next_text or None,
            "optimize_streaming_latency": query.optimize_streaming_latency,
        }
        for field, given in fields.items():
            if model.is_v3 and given is not None:
                raise errors.NOT_SUPPORTED_WITH_MODEL.given(field=field, model_id=model.model_id)
        parameters = _settle(said, query, model, behavior, formats, speed=settings.speed or 1.0)
    voices = dict.fromkeys(line.voice_id for line in lines)
    for voice in voices:
        check_voice(voice, behavior, errors.VOICE_NOT_FOUND)
    if voice_id is None and len(voices) > model.dialogue_voices:
        raise errors.TOO_MANY_VOICES.given(limit=model.dialogue_voices)
    _check_text([line.text for line in lines], model, behavior)
    check_settings(settings)
    if model.is_v3 and settings.stability is not None and settings.stability not in _STABILITIES:
        raise errors.INVALID_STABILITY.given(allowed=list(_STABILITIES))
    return lines, parameters


def parse_websocket(request: Request, voice_id: str | None, behavior: Behavior) -> Parameters:
    """Check the URL of a WebSocket, and return its parameters. `voice_id` is None at text-to-dialogue.

    Raises:
        ServiceError: The upgrade is refused.
    """
    rare = () if behavior.rare_formats_on_websocket else _RARE_FORMATS
    formats = [output_format for output_format in STREAMED_FORMATS if output_format not in rare]
    if voice_id is None:
        query = body.parse_for_socket(body.SocketQuery, request.query)
        model = _find_model(query.model_id or catalog.DEFAULT_DIALOGUE_SOCKET_MODEL, dialogue=True)
        return _settle(query, query, model, behavior, formats, sync_alignment=query.sync_alignment)
    query = body.parse_for_socket(body.SpeechSocketQuery, request.query)
    model = _find_model(query.model_id or catalog.DEFAULT_MODEL)
    if model.dialogue_voices:
        raise errors.NO_SOCKET_MODEL.given(model_id=model.model_id)
    return _settle(
        query, query, model, behavior, formats, sync_alignment=query.sync_alignment, voice_id=voice_id,
        auto_mode=query.auto_mode, inactivity_timeout=min(query.inactivity_timeout, _LONGEST_INACTIVITY),
    )  # fmt: skip


def _settle(
    said: body.Body | body.SocketQuery, query: body.Query, model: catalog.Model, behavior: Behavior,
    formats: Sequence[str], **others: Any,
) -> Parameters:  # fmt: skip
    return Parameters(
        model,
        _find_format(query.output_format, behavior, formats),
        _find_language(said.language_code, model, behavior),
        _normalizes(said.apply_text_normalization, query, model, behavior),
        logging=query.enable_logging,
        **others,
    )


def _check_text(texts: list[str], model: catalog.Model, behavior: Behavior) -> None:
    """Refuse texts that are too long together. Models that speak dialogues also refuse an empty text."""
    for position, text in enumerate(texts):
        if model.dialogue_voices and _is_empty(text):
            raise errors.EMPTY_TEXT.given(position=position)
    characters = sum(map(len, texts))
    if characters * 100 > model.characters * _OVERLONG_PERCENT:
        raise errors.TEXT_TOO_LONG.given(code=behavior.too_long_code, limit=model.characters, given=characters)


def _is_empty(text: str) -> bool:
    """Return whether a text consists of blanks, tags ("[laughs]") and emoji alone."""
    rest = _TAG.sub("", text)
    return all(unicodedata.category(character) in _SILENT or character in _EMOJI_PARTS for character in rest)
