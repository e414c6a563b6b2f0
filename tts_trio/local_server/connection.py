"""One connection: TLS, HTTP/1.1 with keep-alive (h11), and the upgrade to WebSocket."""

from __future__ import annotations

import json
import ssl
from email.utils import formatdate
from http.client import responses
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11
import trio
from wsproto.events import RejectConnection
from wsproto.utilities import RemoteProtocolError

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Fault
from tts_trio.local_server.body import json_or_raw
from tts_trio.local_server.http_api import Answer, Headers, SpeechAnswer, refuse, respond, speak
from tts_trio.local_server.parameters import Request
from tts_trio.local_server.record import Accepted, Answered, Ended, Requested, Sent
from tts_trio.local_server.service import Scope, Service
from tts_trio.local_server.socket_core import SocketCore
from tts_trio.local_server.sockets import open_core
from tts_trio.local_server.utterance import Spelling
from tts_trio.local_server.websocket import WebSocketSession, fault_message
from tts_trio.local_server.wire import HangUp, Wire

_UNTIL_EOF_SECONDS = 2.0
_SWITCHING = 101
_WITHOUT_BODY = {204, 304}


class Connection:
    """Serves one connection until it ends, and closes the stream."""

    def __init__(self, stream: trio.abc.Stream, number: int, service: Service) -> None:
        self._wire = Wire(stream, number, service)
        self._service = service
        self._http = h11.Connection(h11.SERVER)
        self._socket: WebSocketSession | None = None

    async def serve(self, ssl_context: ssl.SSLContext | None) -> None:
        """Serve the connection until it ends."""
        self._wire.record(Accepted)
        try:
            scope = Scope()
            await self._wire.pass_point("accept", scope)
            if ssl_context is not None:
                await self._wire.pass_point("tls", scope)
                await self._wire.start_tls(ssl_context)
            await self._answer_requests()
        except HangUp as hang_up:
            if hang_up.reset:
                self._wire.arm_reset()
        finally:
            half_a_request = self._http.their_state is h11.SEND_BODY or bool(self._http.trailing_data[0])
            torn = self._socket.boundary.inside if self._socket else half_a_request
            by = "client" if self._wire.ended_by_client else "server"
            self._wire.record(Ended, by=by, torn=torn)
            await trio.aclose_forcefully(self._wire.stream)

    # --- requests

    async def _answer_requests(self) -> None:
        while isinstance(head := await self._next_event(), h11.Request):
            await self._answer(head)
            if self._socket or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _next_event(self) -> h11.Request | h11.Data | h11.EndOfMessage | None:
        """Return the head of a request, a part of its body, or its end. Return None at the end of the connection."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._wire.receive())
        except h11.RemoteProtocolError:
            await self._refuse_bytes()
            return None
        return event if isinstance(event, h11.Request | h11.Data | h11.EndOfMessage) else None

    async def _refuse_bytes(self) -> None:
        """Answer bytes that are not HTTP as uvicorn does, unless the client has closed the connection."""
        if self._wire.ended_by_client or self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = b"Invalid HTTP request received."
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        await self._send_head(400, [*headers, ("connection", "close")])
        await self._send_body_part(body)
        await self._send_event(h11.EndOfMessage())

    async def _read(self, head: h11.Request) -> Request | None:
        """Read the rest of a request. Return None if the rest does not come."""
        if self._http.they_are_waiting_for_100_continue:
            await self._send_event(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
        body = bytearray()
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                return None
            body += event.data
        try:
            url = urlsplit(head.target.decode("ascii", "replace"))
        except ValueError:
            url = urlsplit("")  # a path that does not exist
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        request = Request(head.method.decode("ascii"), unquote(url.path), query, headers, bytes(body))
        self._wire.record(Requested, **attrs.asdict(request) | {"body": json_or_raw(request.body)})
        return request

    # --- answers

    async def _answer(self, head: h11.Request) -> None:
        request = await self._read(head)
        if request is None:
            return
        account, scope = self._service.account, Scope(request.path)
        answer: Answer | SpeechAnswer | None = None
        content_type = ""
        self._wire.pace = None
        for fault in await self._wire.pass_point("answer", scope, self._answer_until_eof):
            match fault.action:
                case "status":
                    answer = refuse(errors.by_status(int(fault.value or 0)), account)
                case "error_200":
                    answer = refuse(errors.by_status(500), account, status=200)
                case "content_type":
                    content_type = str(fault.value)
                case _:
                    self._wire.pace = float(fault.value or 1)
        if answer is None and request.headers.get("upgrade", "").lower() == "websocket":
            try:
                if core := open_core(request, account, trio.current_time()):
                    await self._upgrade(core, request, head)
                    return
            except errors.ServiceError as error:
                answer = refuse(error, account)
            except RemoteProtocolError as error:
                answer = _refuse_upgrade(error, account)
        answer = answer or respond(request, account, trio.current_time())
        if isinstance(answer, Answer):
            await self._send_head(answer.status, [*answer.headers, ("content-length", str(len(answer.body)))])
            if head.method != b"HEAD" and answer.status not in _WITHOUT_BODY:
                await self._send_body_part(answer.body)
            await self._send_event(h11.EndOfMessage())
        else:
            await self._speak(answer, scope, content_type)

    async def _upgrade(self, core: SocketCore[Any], request: Request, head: h11.Request) -> None:
        """Serve a WebSocket until it ends.

        Raises:
            RemoteProtocolError: The upgrade is not valid.
        """
        headers: Headers = [("x-trace-id", self._service.account.trace_id()), ("x-region", "us-central1")]
        socket = WebSocketSession(self._wire, request, core, self._service)
        try:
            accepted = socket.accept(list(head.headers), headers)
            self._socket = socket
            await self._wire.send(accepted)
            self._wire.pace = None
            self._wire.record(Answered, status=_SWITCHING, headers=dict(headers))
            await socket.run(self._http.trailing_data[0])
        finally:
            core.gone()

    async def _answer_until_eof(self, fault: Fault) -> bool:
        """Answer with a body that only the end of TCP delimits, if this fault asks for one."""
        if fault.action != "until_eof":
            return False
        status = int(fault.value or 0)
        body = json.dumps(errors.by_status(status).body(self._service.account.trace_id()))
        head = f"HTTP/1.1 {status} {responses.get(status, '')}\r\ncontent-type: application/json\r\n"
        await self._wire.send(f"{head}connection: close\r\n\r\n{body}".encode())
        self._wire.record(Answered, status=status, headers={"content-type": "application/json"})
        await trio.sleep(_UNTIL_EOF_SECONDS)
        raise HangUp(reset=False)

    # --- speech

    async def _speak(self, answer: SpeechAnswer, scope: Scope, content_type: str) -> None:
        account = self._service.account
        try:
            headers, parts = speak(answer, await self._service.speak(answer.order), account)
            await trio.sleep_until(parts[0][0] if parts else answer.slot.end)
            replaced = {"content-type": content_type} if content_type else {}
            await self._send_head(200, list((dict(headers) | replaced).items()))
            lines = answer.form.endswith("/with-timestamps")
            for at, data in parts:
                await trio.sleep_until(at)
                await self._send_part("audio", data, scope, lines=lines)
            await self._send_part("final", b"", scope, lines=lines)
        finally:
            account.free(answer.slot)

    async def _send_part(self, point: Literal["audio", "final"], data: bytes, scope: Scope, *, lines: bool) -> None:
        """Send a part of a body, or its end, and apply the faults that strike before that."""

        async def act(fault: Fault) -> bool:
            if fault.action in {"close", "error_frame"} or (fault.action == "skip" and point == "final"):
                raise HangUp(reset=False)
            extra = fault_message(fault, Spelling())
            if extra is not None and lines:
                await self._send_body_part(extra.encode() + b"\n" if isinstance(extra, str) else extra)
            return extra is not None

        def encode(piece: bytes, _last: bool) -> bytes:
            return self._http.send(h11.Data(piece) if point == "audio" else h11.EndOfMessage()) or b""

        faults = await self._wire.pass_point(point, scope, act)
        if await self._wire.send_message(data, encode, faults) and point == "audio":
            self._wire.record(Sent, kind="body", size=len(data))

    # --- bytes

    async def _send_head(self, status: int, headers: Headers) -> None:
        headers = [("date", formatdate(usegmt=True)), *headers]
        await self._send_event(h11.Response(status_code=status, headers=headers, reason=responses.get(status, "")))
        self._wire.record(Answered, status=status, headers=dict(headers))

    async def _send_body_part(self, data: bytes) -> None:
        await self._send_event(h11.Data(data))
        self._wire.record(Sent, kind="body", size=len(data))

    async def _send_event(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._wire.send(data)


def _refuse_upgrade(error: RemoteProtocolError, account: Account) -> Answer:
    """Answer an upgrade that is not valid with the status and the headers that wsproto proposes."""
    refusal = refuse(errors.invalid_parameter("upgrade", f"The upgrade is not valid: {error}."), account)
    if not isinstance(hint := error.event_hint, RejectConnection):
        return refusal
    proposed = [(name.decode(), value.decode()) for name, value in hint.headers]
    return attrs.evolve(refusal, status=hint.status_code, headers=[*refusal.headers, *proposed])
