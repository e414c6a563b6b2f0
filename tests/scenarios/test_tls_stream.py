"""TLS on a socket's descriptor: it behaves as `trio.SSLStream` does, whatever the other end and the network do."""

from __future__ import annotations

import gc
import math
import os
import random
import select
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Pong, Request

from tests.helpers import make_config
from tests.helpers.socket_user import Taken, User
from tests.helpers.tls import (
    HOST,
    ServerStream,
    accept,
    certificates,
    client_context,
    connected,
    listening,
    open_client,
    server_context,
)
from tts_trio.errors import TTSConnectionError
from tts_trio.transport.frames import PING, WHOLE_TEXT, client_frame
from tts_trio.transport.http.stream import WatchedStream
from tts_trio.transport.server_stream import ServerStream as ServedStream
from tts_trio.transport.tls_stream import TLSStream
from tts_trio.transport.websocket import WebSocket

BUFFER = 16384  # bytes of a socket, so that it is full soon


async def read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(65536)
        assert piece, f"it ended after {len(data)} of {size} bytes"
        data += piece
    return bytes(data)


def open_files() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


async def fill(client: TLSStream) -> int:
    """Send whole records until the peer, which does not read, has got all that it can, and the socket has enough."""
    sent = 0
    while select.select([], [client.socket], [], 0)[1]:
        while select.select([], [client.socket], [], 0)[1]:
            sent += client.socket.send(b"\1" * 1000)
        await trio.sleep(0.06)  # longer than an acknowledgement is held back
    return sent


def narrow(*sockets: ssl.SSLSocket | trio.socket.SocketType) -> None:
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)


async def test_it_keeps_the_rules_of_streams() -> None:
    """Trio's own examination, with `trio.SSLStream` as the other end.

    It has checkpoints everywhere, two tasks that do the same, closing one end or the other while somebody waits,
    closing in a cancelled scope, closing twice, sizes that are none, and data in both directions at once.
    """
    given, taken = trio.open_memory_channel[ServerStream](0)
    context = server_context()
    trusting = client_context()

    async def serve(tcp: trio.SocketStream) -> None:
        await given.send(await accept(tcp, context))
        await trio.sleep_forever()

    async with listening(serve) as port:

        async def pair() -> tuple[TLSStream, ServerStream]:
            client = await open_client(port, trusting)
            return client, await taken.receive()

        async def clogged() -> tuple[TLSStream, ServerStream]:
            client, server = await pair()
            narrow(client.socket, server.transport_stream.socket)
            await fill(client)
            with pytest.raises(ssl.SSLWantWriteError):  # a record waits in OpenSSL: no later send may be shorter
                while True:
                    client.socket.send(b"x")
            return client, server

        with trio.fail_after(30):
            await trio.testing.check_two_way_stream(pair, None)
            await trio.testing.check_one_way_stream(pair, clogged)


async def test_what_is_left_of_a_record_is_read_while_the_descriptor_is_silent() -> None:
    """A record is decrypted whole; the rest of it waits in OpenSSL, where no descriptor tells of it."""
    text = "Алло, hello".encode()
    async with connected() as (client, server):
        await server.send_all(text)
        with trio.fail_after(2):
            assert b"".join([await client.receive_some(1) for _ in text]) == text


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_the_end(version: ssl.TLSVersion) -> None:
    """A close_notify, and a FIN without one, end what is read; what the peer reads can still be sent after that."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    async with connected(context, https_compatible=False) as (client, server):
        await server.send_all(b"last")
        await server.aclose()  # with a close_notify
        assert [await client.receive_some() for _ in range(3)] == [b"last", b"", b""]
    async with connected(context) as (client, server):
        await server.send_all(b"last")
        await server.transport_stream.send_eof()
        await client.send_all(b"still")
        assert await server.receive_some() == b"still"
        assert [await client.receive_some() for _ in range(3)] == [b"last", b"", b""]


async def test_a_reset_is_no_end() -> None:
    async with connected() as (client, server):
        reset(server.transport_stream)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")


def reset(tcp: trio.SocketStream) -> None:
    tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tcp.socket.close()


async def test_an_answer_is_read_though_sending_failed() -> None:
    """A server that refuses a request need not read it to its end before it closes."""
    async with connected() as (client, server):
        await server.send_all("отказ, refused".encode())
        await server.aclose()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.send_all(bytes(1000))
        assert (await client.receive_some()).decode() == "отказ, refused"


async def test_no_more_is_asked_for_than_a_record_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger buffer would be made for every read, and cut off again: among 200 calls the heap gets holes by that."""
    sizes: list[int] = []
    recv = ssl.SSLSocket.recv

    def noted(self: ssl.SSLSocket, size: int, flags: int = 0) -> bytes:
        sizes.append(size)
        return recv(self, size, flags)

    monkeypatch.setattr(ssl.SSLSocket, "recv", noted)
    async with connected() as (client, server):
        await server.send_all(b"x" * 40000)
        received = b""
        while len(received) < 40000:
            received += await client.receive_some(65536)
        await server.send_all(b"yz")
        assert await client.receive_some(1) == b"y"
        assert await client.receive_some() == b"z"
    assert {*sizes} == {16384, 1}


async def test_closing_does_not_say_goodbye() -> None:
    """As `https_compatible=True` does: a goodbye could wait for a peer that does not read."""
    async with connected(https_compatible=False) as (client, server):
        await client.aclose()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await server.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_large_send_over_a_narrow_pipe(kind: Callable[[bytes], bytes | bytearray | memoryview]) -> None:
    """It is taken in parts, and each part that waits is offered again as it was; the other way it comes so too."""
    data = random.Random(4).randbytes(3_000_000)
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, kind(data))
                nursery.start_soon(server.send_all, data)
                there: list[bytes] = []

                async def read() -> None:
                    there.append(await read_exactly(server, len(data)))

                nursery.start_soon(read)
                assert await read_exactly(client, len(data)) == data
    assert there == [data]


async def test_nothing_can_be_sent_after_a_send_that_was_cancelled_in_the_middle() -> None:
    """Half a record is on its way; but what comes is read."""
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        with trio.move_on_after(0.05) as scope:
            await client.send_all(bytes(1_000_000))
        assert scope.cancelled_caught
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="not completed"):
                await client.send_all(b"x")
        await server.send_all(b"answer")
        assert await client.receive_some() == b"answer"


async def test_a_send_cancelled_before_it_began_does_no_harm() -> None:
    async with connected() as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send_all(b"never")
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"


async def test_closing_wakes_those_who_wait() -> None:
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        closed: list[str] = []

        async def wait(doing: str, work: Callable[[], object]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await work()  # type: ignore[misc]
            closed.append(doing)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "reading", client.receive_some)
            nursery.start_soon(wait, "sending", lambda: client.send_all(bytes(1_000_000)))
            await trio.testing.wait_all_tasks_blocked(0.02)
            await client.aclose()
        assert sorted(closed) == ["reading", "sending"]


async def test_the_descriptor_is_closed_once() -> None:
    """Closed twice, it would be another's: the number is given to the next file at once."""
    async with connected() as (client, _):
        number = client.socket.fileno()
        await client.aclose()
        with socket.socket() as other:
            assert other.fileno() == number
            await client.aclose()
            assert other.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


@pytest.mark.parametrize("peer", ["silent", "cut", "gone", "garbage", "stranger"])
async def test_a_handshake_that_does_not_come_to_its_end_leaves_nothing_open(peer: str) -> None:
    """A peer that says nothing (the deadline is the caller's), hangs up, resets, speaks no TLS, or is another."""

    async def serve(tcp: trio.SocketStream) -> None:
        if peer == "gone":
            reset(tcp)
            return
        if peer == "stranger":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            trustme.CA().issue_cert(HOST).configure_cert(context)
            with pytest.raises(trio.BrokenResourceError):
                await trio.SSLStream(tcp, context, server_side=True).do_handshake()
            return
        await tcp.receive_some()
        if peer == "silent":
            await trio.sleep_forever()
        if peer == "garbage":
            await tcp.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    trusting = client_context()
    async with listening(serve) as port:
        before = open_files()
        for _ in range(5):
            with trio.move_on_after(0.05 if peer == "silent" else 5) as scope:
                with pytest.raises(trio.BrokenResourceError) if peer != "silent" else trio.CancelScope() as caught:
                    tcp = await trio.open_tcp_stream(HOST, port)
                    if peer == "gone":
                        await trio.sleep(0.01)
                    await TLSStream.open(tcp, trusting, HOST, port)
            assert scope.cancelled_caught == (peer == "silent")
            if peer == "stranger":
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            elif peer != "silent":
                assert isinstance(caught.value.__cause__, OSError)
            await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()  # what was not closed is a warning, and a warning is an error
        if peer != "silent":  # of whom the server's ends are still there
            assert open_files() == before
        else:
            assert len(open_files()) == len(before) + 5


async def test_a_reset_while_the_socket_is_wrapped_leaves_nothing_open() -> None:
    """Before Python 3.13, `wrap_socket` loses the descriptor then; a collected socket would be a warning."""
    server: list[trio.SocketStream] = []

    class Slow(ssl.SSLContext):
        """A context in which a socket takes so long to wrap that the peer's reset comes first."""

        def wrap_socket(self, sock: socket.socket, *args: object, **kwargs: object) -> ssl.SSLSocket:
            reset(server.pop())
            assert select.select([sock], [], [], 5)[0]
            return super().wrap_socket(sock, *args, **kwargs)  # type: ignore[arg-type]

    async def serve(tcp: trio.SocketStream) -> None:
        server.append(tcp)
        await trio.sleep_forever()

    async with listening(serve) as port:
        before = open_files()
        tcp = await trio.open_tcp_stream(HOST, port)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await TLSStream.open(tcp, Slow(ssl.PROTOCOL_TLS_CLIENT), HOST, port)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert open_files() == before, "the error that is still known holds the descriptor open"
    del caught
    gc.collect()


async def test_which_server_is_asked_for_and_believed() -> None:
    """Its name stands in the SNI, and has to stand in the certificate; no protocol is asked for by ALPN."""
    context = server_context()
    certificates().authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    asked: list[str] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with listening(lambda tcp: serve_until_closed(tcp, context)) as port:
        tcp = await trio.open_tcp_stream(HOST, port)
        stream = await TLSStream.open(tcp, client_context(), "localhost", port)
        assert stream.socket.selected_alpn_protocol() is None
        await stream.aclose()
        tcp = await trio.open_tcp_stream(HOST, port)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await TLSStream.open(tcp, client_context(), "elsewhere.example", port)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert "elsewhere.example" in caught.value.__cause__.verify_message
    assert asked == ["localhost", "elsewhere.example"]


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_a_pass_of_the_loop_has_one_step_of_a_handshake() -> None:
    """Each takes most of a millisecond: messages get through between two of them."""
    passes, steps = Passes(), list[int]()

    class Noting(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            steps.append(passes.count)
            super().do_handshake(block)

    context, trusting = server_context(), client_context()
    trusting.sslsocket_class = Noting
    answering = trio.Event()

    async def serve(tcp: trio.SocketStream) -> None:
        await answering.wait()
        await serve_until_closed(tcp, context)

    trio.lowlevel.add_instrument(passes)
    async with listening(serve) as port:

        async def dial() -> None:
            await (await open_client(port, trusting)).aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked(0.05)
            answering.set()  # to all in one pass
    trio.lowlevel.remove_instrument(passes)
    assert len(steps) >= 32
    assert len(set(steps)) == len(steps)


async def serve_until_closed(tcp: trio.SocketStream, context: ssl.SSLContext) -> None:
    stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
    try:
        await stream.do_handshake()
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)


@attrs.define
class Relay:
    """Passes bytes on between a client and a server, cut anew; the client's only while it is open."""

    port: int
    cut: Callable[[], int] = lambda: 65536
    held: trio.Event | None = None

    async def serve(self, tcp: trio.SocketStream) -> None:
        """Handle a connection."""
        onward = await trio.open_tcp_stream(HOST, self.port)
        async with onward, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, tcp, onward)
            await self._pass_on(onward, tcp)
            nursery.cancel_scope.cancel()

    async def _pass_on(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        from_server = source.socket.getpeername()[1] == self.port
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(self.cut()):
                if self.held is not None and not from_server:
                    await self.held.wait()
                await sink.send_all(data)
            await sink.send_eof()


async def test_records_in_any_pieces() -> None:
    """Records of 16 KB arrive in pieces of one byte to a few records, and are read in others."""
    rng = random.Random(11)
    data = rng.randbytes(300_000)
    context = server_context()

    async def serve(tcp: trio.SocketStream) -> None:
        stream = await accept(tcp, context)
        await stream.send_all(data)
        await stream.aclose()

    async with listening(serve) as port:
        relay = Relay(port, lambda: rng.choice([1, 4, 5, 6, rng.randrange(1, 300), 16384, 16406, 40000]))
        async with listening(relay.serve) as relayed:
            with trio.fail_after(20):
                client = await open_client(port, tcp_port=relayed)
                read = bytearray()
                while piece := await client.receive_some(rng.choice([1, 100, 16384, 65536, 65536])):
                    read += piece
                await client.aclose()
    assert read == data


# OpenSSL's own server exchanges keys anew where it is told so: "K" in TLS 1.3, "R" in TLS 1.2.


@attrs.define
class NewKeys:
    """OpenSSL's server, with a relay before it, and a client's stream to it."""

    process: subprocess.Popen[bytes]
    relay: Relay
    client: TLSStream

    def tell(self, line: str) -> None:
        """Give it a line: a command, or what it is to send."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def heard(self, mark: bytes, times: int) -> None:
        """Wait until it has printed so many of them."""
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        async with trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno())) as printed:
            while times > 0:
                times -= (await printed.receive_some()).count(mark)
        assert times == 0


@asynccontextmanager
async def new_keys(version: str, path: Path) -> AsyncGenerator[NewKeys]:
    certificates().authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(path / "server.pem")
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"{HOST}:{port}", "-cert", path / "server.pem", version]
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts in no time
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    relay = Relay(port)
    try:
        with trio.fail_after(20):
            while True:
                try:
                    await (await trio.open_tcp_stream(HOST, port)).aclose()
                except OSError:
                    await trio.sleep(0.02)
                else:
                    break
            async with listening(relay.serve) as relayed:
                async with await open_client(port, tcp_port=relayed) as client:
                    narrow(client.socket)
                    yield NewKeys(process, relay, client)
    finally:
        process.kill()
        process.communicate()


with_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="it is OpenSSL's own server that does this")
new_keys_of = pytest.mark.parametrize(("version", "command"), [("-tls1_3", "K"), ("-tls1_2", "R")], ids=["1.3", "1.2"])


@with_openssl
@new_keys_of
async def test_new_keys_between_messages(version: str, command: str, tmp_path: Path) -> None:
    async with new_keys(version, tmp_path) as peer:
        for word in ("one", "два"):
            peer.tell(word)
            assert await read_exactly(peer.client, len(f"{word}\n".encode())) == f"{word}\n".encode()
            peer.tell(command)
            with trio.move_on_after(0.1):
                assert await peer.client.receive_some()
            await peer.client.send_all(b"\1" * 50)
            await peer.heard(b"\1", 50)


@with_openssl
@new_keys_of
async def test_new_keys_while_a_record_waits_to_be_sent(version: str, command: str, tmp_path: Path) -> None:
    """The answer to them has to wait until the peer reads again."""
    async with new_keys(version, tmp_path) as peer:
        peer.relay.held = held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.client.send_all, b"\1" * 300_000)
            nursery.start_soon(hear_line, peer.client)
            await trio.sleep(0.05)
            peer.tell(command)
            await trio.sleep(0.1)
            held.set()
            await peer.heard(b"\1", 300_000)
            peer.tell("после")


async def hear_line(client: TLSStream) -> None:
    line = bytearray()
    while not line.endswith(b"\n"):
        line += await client.receive_some()
    assert line.decode() == "после\n"


@with_openssl
async def test_a_send_in_the_middle_of_new_keys(tmp_path: Path) -> None:
    """In TLS 1.2 it has to read before it can go on; the task that reads is waiting for the descriptor already."""
    async with new_keys("-tls1_2", tmp_path) as peer:
        with trio.move_on_after(0.05):
            await peer.client.receive_some()
        peer.relay.held = held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear_line, peer.client)
            await trio.sleep(0.02)
            peer.tell("R")
            sent = 300_000
            with pytest.raises(ssl.SSLWantReadError):
                while True:
                    sent += peer.client.socket.send(b"\1")
                    await trio.sleep(0.01)
            nursery.start_soon(peer.client.send_all, b"\1" * 300_000)
            await trio.sleep(0.05)
            held.set()
            await peer.heard(b"\1", sent)
            peer.tell("после")


async def test_a_read_that_has_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another task waits to write. A socket is hard to fill to the last byte, so here OpenSSL is made to ask."""
    async with connected() as (client, server):
        narrow(client.socket)
        receive, came = client.socket.recv, bytearray()

        def recv(size: int) -> bytes:
            came.extend(b"" if came else receive(size))
            if came != b"x??":
                came.extend(b"?")
                raise ssl.SSLWantWriteError
            return b"x"

        monkeypatch.setattr(client.socket, "recv", recv)
        await server.send_all(b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, bytes(500_000))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await client.receive_some() == b"x"
            await read_exactly(server, 500_000)


async def test_a_send_that_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ssl.SSLSocket.send` is documented; Python's OpenSSL takes all or nothing."""
    text = "Сначала это, then that. " * 1000
    async with connected() as (client, server):
        send = client.socket.send
        monkeypatch.setattr(client.socket, "send", lambda data: send(data[:1001]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, text.encode())
            assert await read_exactly(server, len(text.encode())) == text.encode()


async def test_what_can_be_sent_at_once_is_sent_without_waiting() -> None:
    async with connected() as (client, server):
        text = "Сразу, at once. ".encode()
        assert client.send_now(text)
        assert not client.unsent
        assert select.select([server.transport_stream.socket], [], [], 1)[0]  # no other task has run
        assert await read_exactly(server, len(text)) == text


@pytest.mark.parametrize("size", [100, 16_384, 70_000])
async def test_what_is_not_sent_at_once_goes_first(size: int) -> None:
    """The record that waits in OpenSSL must be sent as it is, and before all others."""
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        full = await fill(client)
        late = b""
        while not client.unsent:  # there may be room left for small records
            piece = os.urandom(size)
            assert client.send_now(piece)
            late += piece
        assert not client.send_now(b"another")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"then")
            received = await read_exactly(server, full + len(late) + 4)
        assert received[full:] == late + b"then"
        assert client.send_now(b"again")
        assert await read_exactly(server, 5) == b"again"


async def test_nothing_is_taken_without_waiting_where_it_could_not_be_sent() -> None:
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not client.send_now(bytes(2_000_000)), "another task sends"
            nursery.cancel_scope.cancel()
        assert not client.send_now(bytes(2_000_000)), "a send was torn"
    assert not client.send_now(b"it is closed")
    async with connected() as (client, server):
        reset(server.transport_stream)
        await trio.testing.wait_all_tasks_blocked(0.01)
        client.send_now(b"the answer to a first one is a reset, if it has not come yet")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not client.send_now(b"it is lost")
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"it is lost")


@pytest.mark.parametrize("size", [100, 16_384, 70_000])
async def test_a_request_is_sent_once_and_whole(size: int) -> None:
    """What the descriptor takes goes at once, and the rest of a long text when there is room."""
    text = ("Сначала это, then that. ".encode() * 3000)[:size]
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        watched = WatchedStream(client)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(watched.send, text, math.inf)
                assert await read_exactly(server, size) == text
        await client.aclose()
        assert await server.receive_some() == b""


async def test_a_request_that_was_cancelled_before_is_not_sent() -> None:
    """Nobody would hear its answer, which the service charges for."""
    async with connected() as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await WatchedStream(client).send(b"POST", math.inf)
        assert scope.cancelled_caught
        await client.aclose()
        assert await server.receive_some() == b""


async def test_no_text_passes_what_came_before_it() -> None:
    """P32: sound that came before the text is none of its own, though nobody has read it yet."""
    async with connected() as (client, server):
        stream = ServedStream(client, 1000, Taken())
        text, ping = client_frame(WHOLE_TEXT, "Да. ".encode()), client_frame(PING, b"1")
        assert stream.send_now([text])
        await server.send_all(b"a record that is not read at once, as where the loop stood still")
        assert select.select([client.socket], [], [], 1)[0]
        assert not stream.send_now([text])
        assert not stream.send_now([ping, text])
        assert stream.send_now([ping])
        assert stream.written == 1
        while client.has_input():
            await client.receive_some(10)  # also where a part of a record is left
        assert stream.send_now([text, ping, text])
        assert stream.written == 3
        await server.aclose()
        assert select.select([client.socket], [], [], 1)[0]
        assert not client.has_input(), "the end is none"


async def test_the_frames_of_a_websocket_stay_in_order_over_a_narrow_pipe() -> None:
    """A frame that left only in part is ended before the answer to a ping, and before the frames behind it."""
    texts = [f"Слово {number}, word. " * 1500 for number in range(40)]
    heard: list[object] = []
    async with connected() as (client, server):
        narrow(client.socket, server.transport_stream.socket)
        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

        async def hear(*, until: type[object], times: int = 1) -> None:
            while times:
                for event in peer.events():
                    if isinstance(event, Request):
                        await server.send_all(peer.send(AcceptConnection()))
                    elif isinstance(event, Ping):
                        await server.send_all(peer.send(event.response()))
                    elif isinstance(event, Message) and not event.message_finished:
                        heard.append(event.data)
                        continue
                    heard.append(event.data if isinstance(event, Message) else type(event))
                    times -= isinstance(event, until)
                if times:
                    peer.receive_data(await server.receive_some(65536))

        websocket = WebSocket(make_config(), "/path", lambda _: checkpointed(client))
        user = User(" ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.run, websocket, "https://host")
            await hear(until=Ping)
            await user.hot.wait()
            del heard[:]
            waiting = list(texts)
            while not client.unsent:  # the last of them leaves in part, and none is behind it
                websocket.send(waiting.pop(0))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await hear(until=Message, times=len(texts) - len(waiting))
            for text in waiting:
                websocket.send(text)
            assert client.unsent
            await server.send_all(peer.send(Ping(b"still there?")))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await hear(until=Pong)
            while "".join(map(str, heard)).count(f"Слово {len(texts) - 1},") < 1500:
                peer.receive_data(await server.receive_some(65536))
                heard.extend(event.data for event in peer.events() if isinstance(event, Message))
            websocket.close()
            await hear(until=CloseConnection)
            await server.send_all(peer.send(CloseConnection(1000)))
            await user.ended.wait()
    said = "".join(part for part in heard if isinstance(part, str))
    assert said == "".join(texts)
    assert Pong in heard
    assert websocket.error is None


async def test_what_is_sent_at_once_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write is a TLS record and a system call, of a tenth of a millisecond where the caches are cold."""
    writes: list[bytes] = []
    send_now = TLSStream.send_now
    monkeypatch.setattr(TLSStream, "send_now", lambda self, data: writes.append(data) or send_now(self, data))
    heard: list[object] = []
    async with connected() as (client, server):
        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

        async def hear(count: int) -> None:
            while len(heard) < count:
                peer.receive_data(await server.receive_some(65536))
                for event in peer.events():
                    if isinstance(event, Request):
                        await server.send_all(peer.send(AcceptConnection()))
                        continue
                    if isinstance(event, Ping):
                        await server.send_all(peer.send(event.response()))
                    heard.append(event.data if isinstance(event, Message) else type(event))

        websocket = WebSocket(make_config(), "/path", lambda _: checkpointed(client))
        user = User("Да", "yes")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.run, websocket, "https://host")
            await hear(3)
            await user.hot.wait()
            assert len(writes) == 2  # the handshake, and what comes first
            websocket.send("слово", more=True)
            websocket.send("word", more=True)
            assert len(writes) == 2
            websocket.probe()
            await hear(6)
            assert len(writes) == 3
            await trio.testing.wait_all_tasks_blocked(0.01)  # no text passes the pong
            websocket.send("Ещё", "more")
            await hear(8)
            assert len(writes) == 4
            websocket.abandon(TTSConnectionError("it was heard"))
            await user.ended.wait()
            nursery.cancel_scope.cancel()
    assert heard == ["Да", "yes", Ping, "слово", "word", Ping, "Ещё", "more"]


async def checkpointed(stream: TLSStream) -> TLSStream:
    await trio.lowlevel.checkpoint()
    return stream


async def fuzz_sender(rng: random.Random, stream: trio.abc.Stream, data: bytes) -> None:
    while data:
        size = min(len(data), rng.choice([1, 640, 11_000, 16_384, 16_385, 70_000, rng.randrange(1, 200_000)]))
        piece, data = data[:size], data[size:]
        with trio.CancelScope() as scope:
            if rng.random() < 0.3:
                scope.cancel()
            await stream.wait_send_all_might_not_block()
        if not isinstance(stream, TLSStream) or rng.random() < 0.5 or not stream.send_now(piece):
            await stream.send_all(piece)
        if rng.random() < 0.3:
            await trio.sleep(rng.random() * 0.002)
    await stream.send_all(b"")  # behind what `send_now` left


async def fuzz_reader(rng: random.Random, stream: trio.abc.Stream, size: int, heard: list[bytes]) -> None:
    data = bytearray()
    while len(data) < size:
        with trio.move_on_after(rng.choice([0, 0.0005, 0.005, 5])):  # a read that is cancelled loses nothing
            data += await stream.receive_some(rng.choice([1, 7, 1000, 16_384, 65_536, 65_536, 65_536]))
        if rng.random() < 0.1:
            await trio.sleep(rng.random() * 0.002)
    heard.append(bytes(data))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_both_directions_at_once(version: ssl.TLSVersion, exhaustive: bool) -> None:
    """Random sizes, pauses and cuts, narrow pipes now and then; reads and waits are cancelled at any moment."""
    context = server_context()
    context.minimum_version = context.maximum_version = version
    for seed in range(100 if exhaustive else 4):
        rng = random.Random(seed)
        there, back = rng.randbytes(rng.randrange(400_000)), rng.randbytes(rng.randrange(400_000))
        async with connected(context) as (client, server):
            if seed % 2:
                narrow(client.socket, server.transport_stream.socket)
            heard: list[bytes] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fuzz_sender, random.Random(seed + 1), client, there)
                nursery.start_soon(fuzz_sender, random.Random(seed + 2), server, back)
                nursery.start_soon(fuzz_reader, random.Random(seed + 3), client, len(back), heard)
                nursery.start_soon(fuzz_reader, random.Random(seed + 4), server, len(there), heard)
            assert sorted(heard) == sorted([there, back]), f"seed {seed}"
