"""The handshake of a WebSocket, as wsproto and h11 do it."""

from __future__ import annotations

import pytest
import wsproto
from wsproto.events import AcceptConnection, Event, RejectConnection, Request
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from tts_trio.transport.upgrade import end_of_grant, headers_of, new_key, request

HEADERS = [(b"xi-api-key", b"key"), (b"user-agent", b"tts_trio")]
PATH = "/v1/text-to-speech/voice/stream-input?model_id=m&text=%D0%94%D0%B0"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, 1.3, with its answer
GRANTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*lines: bytes, status: bytes = b"HTTP/1.1 101 Switching Protocols", end: bytes = b"\r\n") -> bytes:
    return end.join((status, *lines, b"", b""))


GOOD = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + GRANTED)


def client(monkeypatch: pytest.MonkeyPatch) -> tuple[wsproto.WSConnection, bytes]:
    """Return wsproto's client, and the request that it sent."""
    monkeypatch.setattr("wsproto.handshake.generate_nonce", lambda: KEY)
    asking = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    return asking, asking.send(Request(host="host:8443", target=PATH, extra_headers=HEADERS))


def test_the_request_is_that_of_wsproto(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = client(monkeypatch)
    assert request("host:8443", PATH, KEY, HEADERS) == asked


def test_each_request_has_a_key_of_its_own() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert all(len(new_key()) == 24 for _ in range(100))


def test_a_server_that_grants_it() -> None:
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(request("host", PATH, KEY, HEADERS))
    asked = next(server.events())
    assert isinstance(asked, Request)
    assert asked.target == PATH
    granted = server.send(AcceptConnection(extra_headers=[(b"X-Trace-Id", b"abc"), (b"Server", b"")]))
    assert end_of_grant(granted + b"\x81\x00") == len(granted)
    headers = headers_of(granted, KEY)
    assert (b"x-trace-id", b"abc") in headers
    assert (b"server", b"") in headers


@pytest.mark.parametrize(
    "lines",
    [
        GOOD,
        (b"upgrade:WebSocket", b"connection: keep-alive , UPGRADE", b"sec-websocket-accept:\t" + GRANTED),
        (*GOOD, b"X-Empty:", b"X-Two: a: b", "X-City: Москва".encode()),
        (*GOOD, b"Sec-WebSocket-Extensions: permessage-deflate"),
        (*GOOD, b"Sec-WebSocket-Protocol: chat"),
        (b"Upgrade: h2c", *GOOD[1:]),
        (*GOOD[1:],),
        (GOOD[0], b"Connection: close", GOOD[2]),
        (GOOD[0], b"Connection: not-upgrade", GOOD[2]),
        (GOOD[0], GOOD[2]),
        (*GOOD[:2], b"Sec-WebSocket-Accept: " + GRANTED[::-1]),
        GOOD[:2],
        (*GOOD, b"no colon"),
        (*GOOD, b"in two: x", b": no name"),
        (),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_what_grants_it_is_what_wsproto_takes_for_that(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[bytes, ...], end: bytes
) -> None:
    said = answer(*lines, end=end)
    assert end_of_grant(said) == len(said)
    asking, _ = client(monkeypatch)
    event: Event | None = None
    try:
        asking.receive_data(said)
        event = next(asking.events(), None)
    except (RemoteProtocolError, LocalProtocolError):
        pass
    if not isinstance(event, AcceptConnection):
        with pytest.raises(RemoteProtocolError):
            headers_of(said, KEY)
        return
    handshake = (b"connection", b"upgrade", b"sec-websocket-accept")
    others = [(name, value) for name, value in headers_of(said, KEY) if name not in handshake]
    assert others == list(event.extra_headers)


def test_it_grants_this_request_and_no_other() -> None:
    assert headers_of(answer(*GOOD), KEY)
    with pytest.raises(RemoteProtocolError):
        headers_of(answer(*GOOD), new_key())


def test_an_answer_that_comes_in_parts() -> None:
    said = answer(*GOOD)
    assert [end_of_grant(said[:size]) for size in range(len(said))] == [None] * len(said)
    assert end_of_grant(said + "Привет".encode()) == len(said)


@pytest.mark.parametrize(
    ("status", "known_at"),
    [
        (b"HTTP/1.1 403 Forbidden", 13),
        (b"HTTP/1.1 1012", 13),
        (b"HTTP/1.1 100 Continue", 13),
        (b"SSH-2.0-OpenSSH_9.6", 1),
        (b"HELLO", 2),
        (b"\x15\x03\x01\x00\x02", 1),
        ("Добро пожаловать".encode(), 1),
    ],
)
def test_another_answer_is_known_as_soon_as_it_can_be(status: bytes, known_at: int) -> None:
    said = answer(*GOOD, status=status)
    assert [end_of_grant(said[:size]) for size in range(len(said))] == [
        None if size < known_at else 0 for size in range(len(said))
    ]


def test_a_grant_without_end_is_none() -> None:
    begun = answer(*GOOD)[:-2]
    assert end_of_grant(begun + b"X: " + b"x" * 10_000) is None
    assert end_of_grant(begun + b"X: " + b"x" * 20_000) == 0


def test_a_refusal_is_left_to_wsproto(monkeypatch: pytest.MonkeyPatch) -> None:
    asking, _ = client(monkeypatch)
    said = answer(b"Content-Length: 0", status=b"HTTP/1.1 401 Unauthorized")
    assert end_of_grant(said) == 0
    asking.receive_data(said)
    assert isinstance(next(asking.events()), RejectConnection)
