"""The WebSockets: which path leads to which core."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tts_trio.local_server.account import Account
from tts_trio.local_server.multi_stream_input import MultiStreamInput
from tts_trio.local_server.parameters import Parameters, Request
from tts_trio.local_server.socket_core import SocketCore
from tts_trio.local_server.socket_parameters import parse_dialogue_websocket, parse_websocket
from tts_trio.local_server.stream_input import StreamInput
from tts_trio.local_server.text_to_dialogue import DialogueInput, MultiDialogueInput

SOCKETS: dict[str, tuple[type[SocketCore[Any]], Callable[..., Parameters]]] = {
    r"/v1/text-to-speech/([^/]*)/stream-input": (StreamInput, parse_websocket),
    r"/v1/text-to-speech/([^/]*)/multi-stream-input": (MultiStreamInput, parse_websocket),
    r"/v1/text-to-dialogue/stream-input": (DialogueInput, parse_dialogue_websocket),
    r"/v1/text-to-dialogue/multi-stream-input": (MultiDialogueInput, parse_dialogue_websocket),
}
"""By the pattern of the path, whose group is the voice id: what speaks there, and what reads its URL."""


def open_core(request: Request, account: Account, now: float) -> SocketCore[Any] | None:
    """Make what speaks on the WebSocket that is asked for; None: there is none at this path.

    Raises:
        ServiceError: The upgrade is refused.
    """
    for pattern, (core, parse) in SOCKETS.items():
        if match := re.fullmatch(pattern, request.path):
            parameters = parse(request, *match.groups(), account.behaviour)
            if account.behaviour.over_concurrency == "upgrade":
                account.admit(now)
            return core(request, parameters, account, now)
    return None
