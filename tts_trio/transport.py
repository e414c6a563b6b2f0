"""Byte streams to the service: TCP, a proxy, TLS; and how errors come out of nurseries bare."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias, cast
from urllib.parse import urlsplit

import trio

from tts_trio.config import TTSConfig
from tts_trio.errors import TTSConnectionError
from tts_trio.proxy import Proxy, proxy_for, tunnel

OpenStream: TypeAlias = Callable[[TTSConfig], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to `config.base_url`, TLS included. `open_stream` is the real one."""

USER_AGENT = "tts_trio"


@contextmanager
def single_error() -> Generator[None]:
    """Let a nursery of ours raise the one real error bare, with its traceback, cause and context.

    Stands outside of `async with trio.open_nursery()`. Groups with more than one error in them, and those that the
    caller's own code raised, are left as they are.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        real = group.split(trio.Cancelled)[1]
        if real is None or len(real.exceptions) != 1:
            raise
        error = real.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context, group, real


def root_cause(error: BaseException) -> BaseException:
    """Return what was behind an error, such as the refused connection behind "all attempts failed"."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def telling_cause(error: BaseException) -> BaseException | None:
    """Return what was behind an error where it says more than ours will: what the system said; else None."""
    cause = root_cause(error)
    return cause if isinstance(cause, OSError) else None


def default_ssl_context() -> ssl.SSLContext:
    """Return the process's one TLS context: the system's certificates, or SSL_CERT_FILE's and SSL_CERT_DIR's.

    Building one blocks the loop for some 30 ms, so it is shared by all connections of the process.
    """
    return _ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _ssl_context(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # OpenSSL reads both variables itself
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):  # a Python without a certificate store, as python.org's for macOS
        import httpx  # loaded late: the WebSocket path does not need it

        return httpx.create_ssl_context()
    return context


async def open_stream(config: TTSConfig, passed: Callable[[str], None] = lambda _step: None) -> trio.abc.Stream:
    """Open a TCP connection to `config.base_url`, through the proxy if there is one, with TLS for `https` and `wss`.

    Args:
        config: Where to.
        passed: Called after each step of it: "TCP", "proxy", "TLS".

    Raises:
        OSError: The host is unknown or refuses.
        trio.BrokenResourceError: The TLS handshake failed; its cause says why.
        TTSError: The proxy cannot be reached, or refuses.
    """
    url = urlsplit(config.base_url)
    secure = url.scheme in {"https", "wss"}
    host, port = url.hostname or "", url.port or (443 if secure else 80)
    proxy = proxy_for(config.base_url, config.proxy)
    if proxy is None:
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
        passed("TCP")
    else:
        stream = await _open_tunnel(config, proxy, host, port, passed)
    if secure:
        stream = await _encrypt(config, stream, host)
        passed("TLS")
    return stream


async def _open_tunnel(
    config: TTSConfig, proxy: Proxy, host: str, port: int, passed: Callable[[str], None]
) -> trio.abc.Stream:
    try:
        stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port)
        passed("TCP")
        if proxy.secure:
            stream = await _encrypt(config, stream, proxy.host)
    except (OSError, trio.BrokenResourceError) as error:
        raise TTSConnectionError(f"no connection to the proxy {proxy}: {root_cause(error)}") from telling_cause(error)
    try:
        await tunnel(stream, proxy, host, port)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    passed("proxy")
    return stream


async def _encrypt(config: TTSConfig, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
    context = config.ssl_context or default_ssl_context()
    encrypted = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await encrypted.do_handshake()  # now: left to the first read, a wrong certificate would look like a time-out
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted
