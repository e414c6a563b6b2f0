"""One upgraded connection, which connects a core such as `StreamInput` to trio through wsproto."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
import wsproto.events as ws
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState

from tts_trio.local_server import errors
from tts_trio.local_server.behavior import Fault
from tts_trio.local_server.body import is_object, json_or_raw
from tts_trio.local_server.http_api import Headers
from tts_trio.local_server.parameters import Request
from tts_trio.local_server.record import CloseReceived, CloseSent, Received, Record, Sent
from tts_trio.local_server.service import Scope, Service
from tts_trio.local_server.socket_core import SocketCore
from tts_trio.local_server.speech import Order
from tts_trio.local_server.utterance import Close, Send, Spelling, Utterance
from tts_trio.local_server.wire import FrameBoundary, HangUp, Wire

_CLOSING_SECONDS = 10.0  # for which the server waits for the client's half of the closing handshake
_INTERNAL_ERROR = 1011
_NO_BASE64 = "@@not base64@@"


def fault_message(fault: Fault, spelling: Spelling, context_id: str | None = None) -> str | bytes | None:
    """Make the extra message that a fault sends before another one; None if the fault sends none."""
    match fault.action:
        case "invalid_json":
            return '{"audio": "AAAA", "isFinal": nul'
        case "bad_base64":
            return json.dumps({**spelling.audio(b"", None, None, context_id), "audio": _NO_BASE64})
        case "unknown_frame":
            return '{"type": "weather_report", "sky": "clear"}'
        case "binary_frame":
            return b"\x00\x01\x02\x03"
        case "huge_frame":
            frame = '{"type": "padding", "padding": "%s"}'
            return frame % ("x" * (int(fault.value or 0) - len(frame) + 2))
        case "early_final":
            return json.dumps(spelling.final(context_id))
        case _:
            return None


class WebSocketSession:
    """Serves one socket until it ends. The `core` decides which messages are sent."""

    def __init__(self, wire: Wire, request: Request, core: SocketCore[Any], service: Service) -> None:
        self._wire = wire
        self._service = service
        self._core = core
        self._protocol = WSConnection(ConnectionType.SERVER)
        self.boundary = FrameBoundary()  # of the client's bytes
        self._scope = Scope(request.path)
        self._scopes: dict[Utterance, Scope] = {}  # of the utterances that have not ended
        self._text: list[str] = []  # the fragments of a message
        self._wake = trio.Event()
        self._pong = trio.Event()
        self._to_render, self._orders = trio.open_memory_channel[Order](float("inf"))
        self._nursery: trio.Nursery
        self._hang_up: HangUp | None = None

    def accept(self, upgrade_headers: list[tuple[bytes, bytes]], headers: Headers) -> bytes:
        """Accept the upgrade that h11 has read, and return the bytes of the answer with status 101.

        Raises:
            wsproto.utilities.RemoteProtocolError: The upgrade is not valid.
        """
        self._protocol.initiate_upgrade_connection(upgrade_headers, "/")
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        accepted = self._protocol.send(ws.AcceptConnection(extra_headers=encoded))
        for _ in self._protocol.events():
            pass  # the request, which h11 has read
        return accepted

    async def run(self, trailing: bytes) -> None:
        """Serve the socket until it ends.

        Args:
            trailing: The bytes that the client has sent after its request.

        Raises:
            HangUp: The connection must be dropped.
        """
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._until_over, lambda: self._listen(trailing))
            self._nursery.start_soon(self._until_over, self._render)
            self._nursery.start_soon(self._until_over, self._ping)
            await self._until_over(self._talk)
        if self._hang_up:
            raise self._hang_up

    async def _until_over(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task, and end the session when the task ends."""
        try:
            await task()
        except HangUp as hang_up:
            self._hang_up = hang_up
        self._nursery.cancel_scope.cancel()

    # --- input

    async def _listen(self, trailing: bytes) -> None:
        data = trailing or await self._wire.receive()
        while data:
            self.boundary.feed(data)
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                await self._take(event)
            data = await self._wire.receive()

    async def _take(self, event: ws.Event) -> None:
        match event:
            case ws.TextMessage():
                self._text.append(event.data)
                if event.message_finished:
                    self._take_text("".join(self._text))
                    self._text.clear()
            case ws.BytesMessage():
                self._wire.record(Received, frame="binary", message=bytes(event.data))
            case ws.Ping():
                self._wire.record(Received, frame="ping", message=bytes(event.payload))
                await self._write(event.response(), kind="pong")
            case ws.Pong():
                self._wire.record(Received, frame="pong", message=bytes(event.payload))
                self._pong.set()
            case ws.CloseConnection() if self._protocol.state is ConnectionState.OPEN:  # the bytes are not WebSocket
                await self._write(ws.CloseConnection(event.code), CloseSent, code=int(event.code), reason="")
                raise HangUp(reset=False)
            case ws.CloseConnection():
                await self._take_close(int(event.code), event.reason or "")
            case _:
                pass

    def _take_text(self, text: str) -> None:
        message = json_or_raw(text)
        context_id = message.get("context_id") if is_object(message) else None
        self._wire.record(Received, frame="text", message=message, context_id=context_id)
        self._core.receive(message, trio.current_time())
        self._wake.set()

    async def _take_close(self, code: int, reason: str) -> None:
        self._wire.record(CloseReceived, code=code, reason=reason)
        self._core.gone()
        if self._protocol.state is ConnectionState.REMOTE_CLOSING:
            await self._wire.pass_point("close", self._scope)
            await self._wire.send(self._protocol.send(ws.CloseConnection(code, reason)))
            self._wire.record(CloseSent, code=code, reason=reason)
        self._nursery.cancel_scope.cancel()

    # --- output

    async def _render(self) -> None:
        async for order in self._orders:
            self._core.rendered(await self._service.speak(order), trio.current_time())
            self._wake.set()

    async def _talk(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self._wake = trio.Event()
            match self._core.take(trio.current_time()):
                case None:
                    with trio.CancelScope(deadline=self._core.due):
                        await self._wake.wait()
                case Order() as order:
                    self._to_render.send_nowait(order)
                case Send() as send:
                    await self._say(send)
                case Close() as close:
                    await self._close(close.code, close.reason)
                    return

    async def _say(self, send: Send) -> None:
        """Send a message of the core, and apply the faults that strike before the message."""
        faults: list[Fault] = []
        if send.utterance and (send.kind == "audio" or send.kind == "final"):
            scope = self._scopes.setdefault(send.utterance, Scope(self._scope.path))
            if send.kind == "final":
                del self._scopes[send.utterance]
            faults = await self._wire.pass_point(send.kind, scope, partial(self._apply, send))
        if send.utterance and faults and faults[-1].action == "context_error":
            frame = errors.by_name(str(faults[-1].value)).frame()
            await self._send_error(self._core.spelling.named(frame, send.context_id), send.context_id)
            self._core.drop(send.utterance, trio.current_time())
        elif self._protocol.state is ConnectionState.OPEN and await self._wire.send_message(
            json.dumps(send.message),
            lambda text, last: self._encode(ws.TextMessage(text, message_finished=last)),
            faults,
        ):
            about = {"size": send.size, "text": send.text, "error": send.message.get("error", "")}
            self._wire.record(Sent, kind=send.kind, context_id=send.context_id, **about)

    async def _apply(self, send: Send, fault: Fault) -> bool:
        """Apply a fault that sends an extra message, or that ends the connection. Return False for other faults."""
        extra = fault_message(fault, self._core.spelling, send.context_id)
        if extra is not None:
            event = ws.TextMessage(extra) if isinstance(extra, str) else ws.BytesMessage(extra)
            await self._write(event, kind="fault", size=len(extra), context_id=send.context_id)
        elif fault.action == "close":
            await self._close(int(fault.value or 0), "")
            raise HangUp(reset=False)
        elif fault.action == "error_frame":
            error = errors.by_name(str(fault.value))
            await self._send_error(error.frame())
            await trio.sleep(self._service.account.behavior.close_delay)
            await self._close(errors.POLICY_VIOLATION, error.reason())
            raise HangUp(reset=False)
        return extra is not None

    async def _send_error(self, frame: dict[str, Any], context_id: str | None = None) -> None:
        event = ws.TextMessage(json.dumps(frame))
        await self._write(event, kind="error", error=frame["error"], context_id=context_id)

    async def _close(self, code: int, reason: str) -> None:
        """Start the closing handshake, and wait for the client's Close, at which `_take_close` ends the session."""
        await self._wire.pass_point("close", self._scope)
        await self._write(ws.CloseConnection(code, reason), CloseSent, code=code, reason=reason)
        await trio.sleep(_CLOSING_SECONDS)

    async def _write(self, event: ws.Event, what: type[Record] = Sent, **fields: Any) -> None:
        """Send an event and record it, unless the closing handshake has started."""
        if data := self._encode(event):
            await self._wire.send(data)
            self._wire.record(what, **fields)

    def _encode(self, event: ws.Event) -> bytes:
        """Encode an event. Return no bytes once the closing handshake has started."""
        return self._protocol.send(event) if self._protocol.state is ConnectionState.OPEN else b""

    async def _ping(self) -> None:
        """Ping every `ping_interval`, and close with 1011 if no pong comes within `ping_timeout`."""
        while True:
            behavior = self._service.account.behavior
            if behavior.ping_interval is None:
                await trio.sleep_forever()
            await trio.sleep(behavior.ping_interval)
            self._pong = trio.Event()
            await self._write(ws.Ping(b"tick"), kind="ping")
            with trio.move_on_after(behavior.ping_timeout):
                await self._pong.wait()
                continue
            await self._close(_INTERNAL_ERROR, "keepalive ping timeout")
            return
