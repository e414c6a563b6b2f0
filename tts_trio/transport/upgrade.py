"""The handshake of a WebSocket (RFC 6455, 4): the request for one, and the answer that grants it.

For these, h11 and wsproto take 170 function calls of the 1,700 that a dial takes. Every other answer is left to them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable

from wsproto.utilities import RemoteProtocolError

_GRANT = re.compile(rb"HTTP/\d\.\d 101\b")
_SHORTEST = len(b"HTTP/1.1 101 ")
_LONGEST = 16384  # bytes of an answer without its messages, as h11 has it
_END = re.compile(rb"\n\r?\n")  # as lenient as h11
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> bytes:
    """Return a key for one request."""
    return base64.b64encode(os.urandom(16))


def request(host: str, path: str, key: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the request for a WebSocket.

    Args:
        host: The host, and its port where it is not the usual one.
        path: The path and query.
        key: The key of this request.
        headers: More headers.
    """
    own = (
        (b"Host", host.encode("ascii")),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", key),
        (b"Sec-WebSocket-Version", b"13"),
    )
    lines = [b"GET %s HTTP/1.1" % path.encode("ascii"), *(b"%s: %s" % each for each in (*own, *headers)), b"", b""]
    return b"\r\n".join(lines)


def end_of_grant(answer: bytes | bytearray) -> int | None:
    """Return where an answer that grants the request ends, and messages begin.

    Returns:
        0 if it is another answer; None if more of it is to come.
    """
    if _GRANT.match(answer) is None:
        return None if len(answer) < _SHORTEST and b"HTTP/".startswith(answer[:5]) else 0
    end = _END.search(answer)
    if end is not None:
        return end.end()
    return None if len(answer) < _LONGEST else 0


def headers_of(grant: bytes, key: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that grants the request, their names in lower case.

    Raises:
        RemoteProtocolError: It does not grant this request.
    """
    headers: list[tuple[bytes, bytes]] = []
    for line in grant.splitlines()[1:-1]:
        name, colon, value = line.partition(b":")
        if not colon or name.split() != [name]:
            raise RemoteProtocolError(f"a header without a name: {line!r}")
        headers.append((name.lower(), value.strip()))
    said = dict(headers)
    granted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    if (
        b"upgrade" not in said.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
        or said.get(b"upgrade", b"").lower() != b"websocket"
        or said.get(b"sec-websocket-accept") != granted
    ):
        raise RemoteProtocolError("it does not grant the request")
    if b"sec-websocket-protocol" in said or said.get(b"sec-websocket-extensions"):
        raise RemoteProtocolError("it names a protocol or an extension that was not asked for")
    return headers
