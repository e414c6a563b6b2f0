"""What became of a dial, or of an open socket, as an error of the tree.

The peer may refuse the handshake, hang up in it, or answer as no WebSocket server does.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import h11
import trio
import trio_websocket
import wsproto.utilities

from tts_trio.config.config import TTSConfig
from tts_trio.errors import ProtocolError, TTSConnectionError, TTSError, unexpected
from tts_trio.errors.classification import classify_response
from tts_trio.errors.redaction import guarded_logger, redact
from tts_trio.transport.server_stream import HungUp, ServerStream
from tts_trio.transport.streams import dial_failed

logger = guarded_logger(__name__)

_QUOTED = 80  # characters of an answer that is none


def explain(error: Exception, config: TTSConfig, stream: ServerStream | None) -> TTSError:
    """Return what broke a dial, or an open socket, as an error of the tree.

    Args:
        error: The exception that ended the dial, or the socket.
        config: The configuration that was dialed with.
        stream: The stream of the dial; None where it was not open yet.
    """
    where = urlsplit(config.base_url).netloc
    refusal = _refusal(bytes(stream.answer)) if stream is not None and not stream.established else None
    match error:
        case TTSError():
            return error
        case trio_websocket.ConnectionRejected():
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in error.headers or ()}
            return classify_response(error.status_code, headers, error.body or b"")
        case _ if refusal is not None:
            return refusal
        case trio.TooSlowError():
            step = "connecting" if stream is None else "in the WebSocket handshake"
            return TTSConnectionError(f"no connection to {where} within {config.timeouts.connect:g} s (still {step})")
        case HungUp():
            return TTSConnectionError(f"{where} hung up in the WebSocket handshake")
        case OSError() | trio.BrokenResourceError():
            return dial_failed(config, where, error)
        case trio_websocket.ConnectionClosed():
            return TTSConnectionError(f"no connection to {where}: {error}")
        case h11.ProtocolError() | wsproto.utilities.ProtocolError() if stream is not None:
            answer = redact(stream.answer.decode("latin-1"))[:_QUOTED]
            return ProtocolError(f"{where} does not answer as a WebSocket server but with {answer!r}")
        case _:
            logger.error("a task of a WebSocket to %s failed", where, exc_info=error)
            return unexpected(f"connection to {where}", error)


def trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the service's id of a connection, from its answer to the handshake; None if it gave none."""
    return next((redact(value.decode("latin-1")) for name, value in headers if name == b"x-trace-id"), None)


def _refusal(answer: bytes) -> TTSError | None:
    """Return the refusal that trio-websocket could not read because it was cut short; None if it was none."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "-")]))
    body = b""
    try:
        peer.receive_data(answer)
        response = peer.next_event()
        if not isinstance(response, h11.Response):
            return None
        while isinstance(data := peer.next_event(), h11.Data):
            body += data.data
    except h11.ProtocolError:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    return classify_response(response.status_code, headers, body)
