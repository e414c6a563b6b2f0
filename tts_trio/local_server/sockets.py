"""The paths of the WebSockets: which core serves each, and how its URL is checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.body import SocketQuery, SpeechSocketQuery, parse_query
from tts_trio.local_server.catalog import DEFAULT_DIALOGUE_SOCKET_MODEL, DEFAULT_MODEL, Model
from tts_trio.local_server.dialogue_sockets import DialogueInput, MultiDialogueInput
from tts_trio.local_server.encoding import STREAMED_FORMATS
from tts_trio.local_server.parameters import Parameters, Request, find_format, find_language, find_model, normalizes
from tts_trio.local_server.socket_core import SocketCore
from tts_trio.local_server.speech_sockets import MultiStreamInput, StreamInput

_RARE_FORMATS = {"mp3_24000_48", "pcm_32000", "pcm_48000"}
_LONGEST_INACTIVITY = 180

Q = TypeVar("Q", bound=SocketQuery)


def parse_websocket(request: Request, voice_id: str, behavior: Behavior) -> Parameters:
    """Check the URL of a text-to-speech WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = _read(SpeechSocketQuery, request)
    model = find_model(query.model_id or DEFAULT_MODEL)
    if model.dialogue_voices:
        raise errors.NO_SOCKET_MODEL.given(model_id=model.model_id)
    timeout = min(query.inactivity_timeout, _LONGEST_INACTIVITY)
    latency = query.optimize_streaming_latency
    return _settle(
        query, voice_id, model, behavior, latency, auto_mode=query.auto_mode, inactivity_timeout=timeout
    )  # fmt: skip


def parse_dialogue_websocket(request: Request, behavior: Behavior) -> Parameters:
    """Check the URL of a text-to-dialogue WebSocket.

    Raises:
        ServiceError: The upgrade is refused.
    """
    query = _read(SocketQuery, request)
    model = find_model(query.model_id or DEFAULT_DIALOGUE_SOCKET_MODEL, dialogue=True)
    return _settle(query, "", model, behavior)


def _read(kind: type[Q], request: Request) -> Q:
    try:
        return parse_query(kind, request.query)
    except errors.InvalidBody as invalid:
        complaint = invalid.complaints[0]
        name = complaint["loc"][-1]
        raise errors.invalid_parameter(name, f"{name}: {complaint['msg']}") from None


def _settle(
    query: SocketQuery, voice_id: str, model: Model, behavior: Behavior, latency: int | None = None, **others: Any
) -> Parameters:
    output_format = find_format(query.output_format, behavior, STREAMED_FORMATS)
    if output_format in _RARE_FORMATS and not behavior.rare_formats_on_websocket:
        raise errors.INVALID_FORMAT.given(output_format=output_format)
    return Parameters(
        voice_id,
        model,
        output_format,
        find_language(query.language_code, model, behavior),
        normalizes(query.apply_text_normalization, model, behavior, latency),
        sync_alignment=query.sync_alignment,
        **others,
    )


SOCKETS: dict[str, tuple[type[SocketCore[Any]], Callable[..., Parameters]]] = {
    r"/v1/text-to-speech/([^/]*)/stream-input": (StreamInput, parse_websocket),
    r"/v1/text-to-speech/([^/]*)/multi-stream-input": (MultiStreamInput, parse_websocket),
    r"/v1/text-to-dialogue/stream-input": (DialogueInput, parse_dialogue_websocket),
    r"/v1/text-to-dialogue/multi-stream-input": (MultiDialogueInput, parse_dialogue_websocket),
}
"""By the pattern of the path, whose group is the voice id: what speaks there, and what reads its URL."""


def open_core(request: Request, account: Account, now: float) -> SocketCore[Any] | None:
    """Make the core for the WebSocket at this path; None: there is none.

    Raises:
        ServiceError: The upgrade is refused.
    """
    for pattern, (core, parse) in SOCKETS.items():
        if match := re.fullmatch(pattern, request.path):
            parameters = parse(request, *match.groups(), account.behavior)
            if account.behavior.over_concurrency == "upgrade":
                account.admit(now)
            return core(request, parameters, account, now)
    return None
