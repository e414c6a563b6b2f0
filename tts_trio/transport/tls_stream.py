"""TLS on a socket's own descriptor: a message costs half of what it costs by `trio.SSLStream`, a connection too."""

from __future__ import annotations

import math
import operator
import os
import socket
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from threading import Lock
from typing import TypeAlias, TypeVar, TypeVarTuple, Unpack

import trio

from tts_trio._nurseries import of_this_run

Args = TypeVarTuple("Args")
T = TypeVar("T")

_RECORD = 16384  # bytes: the most that one read gives (RFC 8446, 5.1)
_SOON = 0.005  # seconds until what the other task may have made possible is tried again
_SERVERS = 16  # whose sessions are remembered, and with each its context
_FRESH = 60.0  # seconds for which a session is resumed again and again: to read the next one costs half a handshake

Wait: TypeAlias = Callable[[ssl.SSLSocket], Awaitable[None]]

Server: TypeAlias = tuple[ssl.SSLContext, ssl.VerifyMode, bool, str, int]
"""What a session is good for: a context, what it demands of certificates, and the server's name and port."""


_handshakes: trio.lowlevel.RunVar[trio.Lock] = trio.lowlevel.RunVar("tts_trio TLS handshakes")


class NotResumedError(trio.BrokenResourceError):
    """A handshake failed in which a session was to be resumed; without it, it may succeed."""


class TLSStream(trio.abc.Stream):
    """The client's end of TLS over TCP. It behaves as `trio.SSLStream(..., https_compatible=True)` after its handshake.

    OpenSSL itself reads and writes the descriptor, one record at a time, and says what it waits for. Then the call is
    made again with the same arguments. A `send_all` that is cancelled while it waits leaves a part of a record behind,
    so that nothing can be sent any more; what comes can be read.

    Reading waits to read, and sending to write. Only while the two ends agree on new keys in the middle of a connection
    may it be the other way round. The task that does the other may be waiting for the same then, and move the
    agreement on, so this is tried again every few milliseconds.

    Attributes:
        socket: The TLS socket, which does not block.
        unsent: What `send_now` has taken and not sent; the next `send_all` sends it first.
    """

    __slots__ = ("_has_rest", "_on_session", "_receiving", "_sending", "_torn", "socket", "unsent")

    def __init__(self, socket: ssl.SSLSocket, on_session: Callable[[ssl.SSLSession], None]) -> None:
        self.socket = socket
        self.unsent = b""
        self._on_session: Callable[[ssl.SSLSession], None] | None = on_session
        self._torn = False
        self._has_rest = False  # a record may not have been read to its end
        self._receiving = False
        self._sending = False

    @classmethod
    async def open(cls, tcp: trio.SocketStream, context: ssl.SSLContext, host: str, port: int) -> TLSStream:
        """Take a connection over, and shake hands; it is closed if that fails or is cancelled.

        The session of an earlier connection is resumed, which spares the certificates and half of the CPU.

        Args:
            tcp: The connection. Nobody else may use it any more.
            context: Which certificates are trusted.
            host: The server's name, for SNI and its certificate.
            port: The server's port, of which each has sessions of its own.

        Raises:
            NotResumedError: The handshake failed, and the session may be why; it is forgotten.
            trio.BrokenResourceError: The handshake failed; its cause says why.
        """
        server = (context, context.verify_mode, context.check_hostname, host, port)
        session = _sessions.get(server)
        plain = socket.socket(tcp.socket.family, tcp.socket.type, tcp.socket.proto, tcp.socket.detach())
        try:
            plain.settimeout(0)
            await _turn()
            plain.getpeername()  # one that is lost already would be taken for one that is not connected yet
            encrypted = context.wrap_socket(
                plain,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                server_hostname=host,
                session=session,
            )
        except OSError as error:
            _close_forgotten(error)
            raise trio.BrokenResourceError from error
        finally:
            plain.close()  # which does nothing once its descriptor is the other's
        stream = cls(encrypted, lambda given: _sessions.keep(server, given))
        with ExitStack() as undo:
            undo.callback(stream.close)
            try:
                await stream._retry(_readable_in_turn, trio.lowlevel.wait_writable, encrypted.do_handshake)
            except trio.BrokenResourceError as error:
                if session is None:
                    raise
                _sessions.forget(server, session)
                raise NotResumedError from error.__cause__
            undo.pop_all()
        if encrypted.session_reused and _sessions.is_fresh(server):
            stream._on_session = None
        return stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come, or wait for more; `b""` when the peer sends no more, with a close_notify or without."""
        size = _RECORD if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        size = min(size, _RECORD)  # of a larger buffer the rest would be cut off again, which leaves holes in the heap
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._check_open()
        self._receiving = True
        try:
            if self._has_rest and self.socket.pending():  # the descriptor knows nothing of it
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self.socket)
            data = await self._retry(trio.lowlevel.wait_readable, _other_task, self.socket.recv, size)
        except trio.BrokenResourceError as error:
            if not self._is_end(error.__cause__):
                raise
            data = b""
        finally:
            self._receiving = False
        return self._note(data, size)

    def receive_now(self, max_bytes: int) -> bytes | None:
        """Return what has come, or `b""` at the end, without waiting; None: `receive_some` is to wait for it.

        It spares a task that has waited until the descriptor can be read two coroutines. What OpenSSL has read already,
        where a record was longer than `max_bytes` before, the descriptor knows nothing of.
        """
        size = min(max_bytes, _RECORD)
        try:
            data = self.socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            self._check_open()
            if not self._is_end(error):
                raise trio.BrokenResourceError from error
            data = b""
        return self._note(data, size)

    def _note(self, data: bytes, size: int) -> bytes:
        """Note what was received, of at most this size, and return it."""
        self._has_rest = len(data) == size
        if data and self._on_session is not None:
            self._note_session(self._on_session)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; cancelled in the middle, it leaves a stream that nothing can be sent over any more."""
        self._begin_sending()
        try:
            if self._torn:
                raise trio.BrokenResourceError("an earlier send_all was not completed")
            await trio.lowlevel.checkpoint_if_cancelled()
            rest = memoryview(self.unsent + data if self.unsent else data)
            self.unsent = b""
            self._torn = True
            while rest:
                sent = await self._retry(_other_task, trio.lowlevel.wait_writable, self.socket.send, rest)
                rest = rest[sent:]
            self._torn = False
            await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    def send_now(self, data: bytes) -> bool:
        """Send without waiting, and return whether the stream has taken the data.

        What the descriptor has no room for is `unsent`. Nothing is taken while that waits, while another task sends, or
        where the connection is broken; `send_all` tells the latter.
        """
        if self.unsent or self._torn:
            return False
        try:
            sent = self.socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            return False
        self.unsent = data[sent:]
        return True

    def has_input(self) -> bool:
        """Whether bytes have come that were not read."""
        if self._has_rest and self.socket.pending():
            return True
        try:
            return bool(socket.socket.recv(self.socket, 1, socket.MSG_PEEK))  # past TLS
        except OSError:
            return False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the descriptor can be written to."""
        self._begin_sending()
        try:
            await trio.lowlevel.wait_writable(self.socket)
        finally:
            self._sending = False

    async def aclose(self) -> None:
        """Close the descriptor, without a close_notify; a task that waits on it gets a ClosedResourceError."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending to this stream")
        self._check_open()
        self._sending = True

    async def _retry(self, readable: Wait, writable: Wait, call: Callable[[Unpack[Args]], T], *args: *Args) -> T:
        """Call until OpenSSL need not wait any more.

        Args:
            readable: Waits until it may go on where it has to read first.
            writable: The same where it has to write.
            call: What it shall do.
            args: Of the call.
        """
        while self.socket.fileno() != -1:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                wait = readable
            except ssl.SSLWantWriteError:
                wait = writable
            except OSError as error:
                raise trio.BrokenResourceError from error
            await wait(self.socket)
        raise trio.ClosedResourceError

    def _note_session(self, keep: Callable[[ssl.SSLSession], None]) -> None:
        """Keep what the server gave to resume by, which comes before its first data at the latest."""
        self._on_session = None
        session = self.socket.session
        if session is not None and session.has_ticket:
            keep(session)

    def _is_end(self, error: BaseException | None) -> bool:
        """Whether the peer ended the connection without a close_notify, which is all that many servers do.

        Before Python 3.12.3 a connection that was reset raises the same, but without the reason that OpenSSL 3 gives.
        """
        if not isinstance(error, ssl.SSLEOFError):
            return False
        with suppress(OSError):
            return error.reason == "UNEXPECTED_EOF_WHILE_READING" or bool(self.socket.getpeername())
        return False

    def _check_open(self) -> None:
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError

    def close(self) -> None:
        """Do what `aclose` does, without a checkpoint."""
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()


def _close_forgotten(error: OSError) -> None:
    """Close the socket that `wrap_socket` made and lost, where the peer reset the connection meanwhile.

    Before Python 3.13 nothing else knows of it than the frame in which it failed.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        forgotten = frame.f_locals.get("self")
        if isinstance(forgotten, ssl.SSLSocket):
            forgotten.close()


async def _turn() -> None:
    """Wait for the turn to make one step of a handshake. Each pass of the loop has one turn.

    A step takes most of a millisecond. Sixteen in one pass keep all messages of the process waiting for all of them.
    """
    async with of_this_run(_handshakes, trio.Lock):
        pass  # the task that waits for it runs in the next pass


async def _readable_in_turn(socket: ssl.SSLSocket) -> None:
    await trio.lowlevel.wait_readable(socket)
    await _turn()


async def _other_task(_socket: ssl.SSLSocket) -> None:
    """Wait for what the task that does the other thing may be waiting for, which no two tasks may do."""
    await trio.sleep(_SOON)


class _Sessions:
    """The TLS sessions of this process, for all its threads: of each server the one that it gave last."""

    def __init__(self) -> None:
        self._sessions: dict[Server, tuple[ssl.SSLSession, float]] = {}  # and when it was kept
        self.begin_anew()

    def begin_anew(self) -> None:
        """Make a new lock, also after a fork: the thread that held the old one may not exist."""
        self._lock = Lock()

    def get(self, server: Server) -> ssl.SSLSession | None:
        session, _ = self._sessions.get(server, (None, 0.0))
        return session

    def is_fresh(self, server: Server) -> bool:
        """Whether there is a session that needs no successor yet."""
        _, kept_at = self._sessions.get(server, (None, -math.inf))
        return time.monotonic() < kept_at + _FRESH

    def keep(self, server: Server, session: ssl.SSLSession) -> None:
        with self._lock:
            self._sessions.pop(server, None)
            self._sessions[server] = session, time.monotonic()
            if len(self._sessions) > _SERVERS:
                del self._sessions[next(iter(self._sessions))]

    def forget(self, server: Server, session: ssl.SSLSession) -> None:
        """Forget a session, but not a later one."""
        with self._lock:
            if self.get(server) is session:
                del self._sessions[server]


_sessions = _Sessions()
if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_sessions.begin_anew)
