"""The protocol, sans-IO: no trio, no sockets, no clock."""

from __future__ import annotations

from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.wire.endpoint import Endpoint
from tts_trio.wire.multi_stream_input import MultiStreamInput
from tts_trio.wire.stream_input import StreamInput
from tts_trio.wire.text_to_dialogue import TextToDialogue

_ENDPOINTS: dict[str, type[Endpoint]] = {
    "stream-input": StreamInput,
    "multi-stream-input": MultiStreamInput,
    "text-to-dialogue": TextToDialogue,
}


def endpoint_for(config: TTSConfig) -> Endpoint:
    """Return the frames of the endpoint that the configuration, or its model, asks for."""
    return _ENDPOINTS[websocket_endpoint(config)](config)
