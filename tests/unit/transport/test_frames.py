"""What is taken out of a server's bytes is what wsproto would have read, and the rest is what it reads then."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import pytest
import wsproto
import wsproto.utilities
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, RejectConnection, Request
from wsproto.events import Pong as PongEvent

from tts_trio.transport.frames import Frames, Pinged, Pong

LONGEST = 70_000
Piece: TypeAlias = str | Pinged | Pong | bytes
TEXTS = ("", "Да.", "Hello, world. ", '{"audio": "' + "A" * 200 + '"}', "щ" * 40_000, "x" * 65_536, "longer" * 15_000)


def handshake() -> tuple[wsproto.WSConnection, bytes]:
    """Return the client's end, and the server's answer to it."""
    client, server = (
        wsproto.WSConnection(wsproto.ConnectionType.CLIENT),
        wsproto.WSConnection(wsproto.ConnectionType.SERVER),
    )
    server.receive_data(client.send(Request(host="host", target="/")))
    assert isinstance(next(server.events()), Request)
    return client, server.send(AcceptConnection())


def frame(first: int, payload: bytes, *, longer_than_it_needs: bool = False, mask: bool = False) -> bytes:
    size = len(payload)
    if size > 65535 or (longer_than_it_needs and size > 125):
        head = bytes([first, 127 | mask << 7]) + size.to_bytes(8)
    elif size > 125 or longer_than_it_needs:
        head = bytes([first, 126 | mask << 7]) + size.to_bytes(2)
    else:
        head = bytes([first, size | mask << 7])
    return head + bytes(4) * mask + payload


def dialog(draw: random.Random) -> bytes:
    """Draw frames, most of them as they should be."""
    said = b""
    in_fragments = False
    for _ in range(draw.randint(1, 12)):
        payload = draw.choice(TEXTS).encode()
        kind = draw.choices(
            ("text", "fragment", "bytes", "control", "close", "broken", "garbage"), (20, 4, 2, 4, 0.5, 0.7, 0.3)
        )[0]
        if in_fragments and kind in ("text", "bytes"):
            kind = "fragment"
        match kind:
            case "text":
                said += frame(0x81, payload)
            case "fragment":
                last = draw.random() < 0.5
                said += frame(0x80 * last | (0 if in_fragments else draw.choice((1, 2))), payload)
                in_fragments = not last
            case "bytes":
                said += frame(0x82, payload)
            case "control":
                said += frame(draw.choice((0x89, 0x8A)), payload[: draw.choice((0, 3, 125))])
            case "close":
                said += frame(0x88, draw.choice((b"", b"\x03\xe8bye", b"\x00\x00", b"x")))
            case "broken":
                broken = bytes([draw.randrange(256)]) * draw.choice((1, 130, 66_000))
                longer = draw.random() < 0.3
                said += frame(
                    draw.choice((0x81, draw.randrange(256))),
                    broken,
                    longer_than_it_needs=longer,
                    mask=draw.random() < 0.2,
                )
            case _:
                said += draw.randbytes(draw.choice((1, 2, 3, 20)))
    return said


def pieces(draw: random.Random, data: bytes) -> Iterator[bytes]:
    while data:
        size = draw.choice((1, 2, 5, 16_384, len(data))) if len(data) < 3000 else draw.choice((3000, 16_384, len(data)))
        yield data[:size]
        data = data[size:]


def read(client: wsproto.WSConnection, received: Iterable[Piece]) -> list[object]:
    """Return what is heard: whole messages, control frames, and why wsproto closes the WebSocket."""
    heard: list[object] = []
    parts: list[str | bytes] = []
    try:
        for piece in received:
            if isinstance(piece, str):
                assert not parts, "a message in the middle of another"
                heard.append(piece)
                continue
            if isinstance(piece, Pinged | Pong):
                heard.append((PongEvent if isinstance(piece, Pong) else Ping, piece.payload))
                continue
            client.receive_data(piece)
            for event in client.events():
                match event:
                    case Message():
                        parts.append(event.data)
                        if event.message_finished:
                            heard.append(parts[0][:0].join(parts))
                            parts = []
                    case Ping() | PongEvent():
                        heard.append((type(event), bytes(event.payload)))
                    case CloseConnection():
                        heard.append((event.code, event.reason))
                        return heard  # the WebSocket is closed
                    case _:
                        heard.append(type(event))
    except wsproto.utilities.RemoteProtocolError as error:
        heard.append(str(error))
    return heard


@pytest.mark.parametrize("shard", range(4))
def test_it_is_read_as_wsproto_reads_it(shard: int, exhaustive: bool) -> None:
    """P23, P36: in any pieces, with fragments, control frames and broken ones between the messages."""
    taken = broken = 0
    for seed in range(shard, 20_000 if exhaustive else 800, 4):
        draw = random.Random(seed)
        said = dialog(draw)
        (alone, answer), frames = handshake(), Frames(LONGEST)
        expected = read(alone, pieces(random.Random(seed), answer + said))
        client, answer = handshake()
        left: list[Piece] = []
        heard = read(
            client,
            (piece for data in pieces(random.Random(seed), answer + said) for piece in note(frames.cut(data), left)),
        )
        if expected[len(heard) :] and "codec" in str(
            expected[-1]
        ):  # in a text that has not come whole: it is waited for
            expected.pop()
        assert heard == expected, f"seed {seed}"
        taken += sum(isinstance(piece, str) for piece in left)
        broken += isinstance(expected[-1], tuple) and expected[-1][0] in (1002, 1007)
    assert taken > 200
    assert broken > 20


def note(cut: Iterator[Piece], noted: list[Piece]) -> Iterator[Piece]:
    for piece in cut:
        noted.append(piece)
        yield piece


@pytest.mark.parametrize("head", ["HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n", "HTTP/1.1 101 \nA: b\n\n"])
def test_a_message_behind_the_answer_is_taken_out(head: str) -> None:
    """The server may send both at once, and a message may break off there."""
    frames = Frames(LONGEST)
    said = frame(0x81, "Да.".encode())
    assert list(frames.cut(head.encode() + said + said[:3])) == [head.encode(), "Да."]
    assert list(frames.cut(said[3:])) == ["Да."]


def test_a_refusal_is_left_to_wsproto() -> None:
    """Its body may look like frames."""
    client, _ = handshake()
    frames = Frames(LONGEST)
    body = frame(0x81, b"no")
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\n" + body + body
    assert b"".join(frames.cut(refusal)) == refusal  # type: ignore[arg-type]
    client.receive_data(refusal)
    assert isinstance(next(client.events()), RejectConnection)


def test_what_no_message_begins_with_is_not_waited_for() -> None:
    """P2: wsproto sees at once that it is none, and a long message it reads as it comes."""
    for begun in (b"\xff\xff", b"\x89\x7e", b"\x81\x85", b"\x81\x7f" + (LONGEST + 1).to_bytes(8) + b"x" * 100):
        frames = Frames(LONGEST)
        list(frames.cut(b"HTTP/1.1 101 \r\n\r\n"))
        assert b"".join(frames.cut(begun)) == begun  # type: ignore[arg-type]
