"""The handshake of a WebSocket, in which the peer may refuse, hang up, or answer as no WebSocket server does.

trio-websocket loses what the peer said, or waits for ever. Here the answer is kept, and becomes an error of the tree.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import h11
import trio
import trio_websocket
import wsproto.utilities

from tts_trio.config.config import TTSConfig
from tts_trio.errors import ProtocolError, TTSConnectionError, TTSError, unexpected
from tts_trio.errors.classification import classify_response
from tts_trio.errors.redaction import guarded_logger, redact
from tts_trio.transport.streams import dial_failed

logger = guarded_logger(__name__)

_WHOLE_TEXT = b"\x81"  # the first byte of a frame that is a whole message of text (RFC 6455, 5.2)
_QUOTED = 80  # characters of an answer that is none
_MAX_REFUSAL = 65536  # of a refused handshake, as much is kept to say why


class HandshakeStream(trio.abc.Stream):
    """A stream under trio-websocket that raises where the peer hangs up in the handshake, and keeps the answer.

    trio-websocket waits for ever for a peer that hangs up in the handshake, and loses the status of a refusal whose
    body is cut short. It may hand a message on in a later turn of the loop than that in which its bytes came, and it
    waits for whoever writes before it writes a message, so what had been written when something came is noted here.

    Attributes:
        established: Whether the WebSocket is open.
        answer: The bytes that came before it was open.
        written: How many messages of text the stream has begun to write.
        written_before: How many of them it had begun to write when the last bytes came.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.established = False
        self.answer = bytearray()
        self.written = self.written_before = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read, and raise `HungUp` where the peer hangs up in the handshake."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            if self.established:
                raise
            raise HungUp from error
        self.written_before = self.written
        if not self.established:
            self.answer += data[: _MAX_REFUSAL - len(self.answer)]
            if not data:
                raise HungUp
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write a frame, or the handshake, and raise `HungUp` where the peer hangs up in that."""
        self.written += data[:1] == _WHOLE_TEXT
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            if self.established:
                raise
            raise HungUp from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class HungUp(Exception):
    """The peer closed the connection in the middle of the handshake."""


def explain(error: Exception, config: TTSConfig, stream: HandshakeStream | None) -> TTSError:
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
