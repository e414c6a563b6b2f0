"""Byte streams to the service: TCP, a proxy, TLS."""

from __future__ import annotations

import functools
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import trio

from tts_trio._nurseries import root_cause, telling_cause
from tts_trio.config.config import TTSConfig
from tts_trio.config.proxy import Proxy, proxy_for, tunnel
from tts_trio.errors import ConfigurationError, TTSConnectionError, TTSError
from tts_trio.transport.tcp import open_tcp_stream
from tts_trio.transport.tls_stream import NotResumedError, TLSStream

OpenStream: TypeAlias = Callable[[TTSConfig], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to `config.base_url`, TLS included. `open_stream` is the real one.

A `receive_some` of the stream that is cancelled must lose nothing, as with trio's own streams.
"""

USER_AGENT = "tts_trio"


def dial_failed(config: TTSConfig, where: str, error: OSError | trio.BrokenResourceError) -> TTSError:
    """Turn a failure of TCP or TLS into an error for those who wait. A retry cannot help against a bad certificate."""
    cause = root_cause(error)
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return TTSConnectionError(f"no connection to {where}: {cause}")
    return ConfigurationError(
        f"ssl_context: the certificate of {where} is not trusted by {trusted_roots(config)}: {cause.verify_message}; "
        "pass an ssl_context that trusts it, or set SSL_CERT_FILE to the certificate of its authority",
        field="ssl_context",
    )


_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trusted_roots(config: TTSConfig) -> str:
    """Name what decides which certificates are trusted."""
    if config.ssl_context is not None:
        return "the ssl_context that was given"
    named = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    return "the system's certificates" if named is None else f"{named} ({os.environ[named]})"


_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the names by which OpenSSL finds a certificate in a folder


def default_ssl_context() -> ssl.SSLContext:
    """Return this process's TLS context, which trusts SSL_CERT_FILE and SSL_CERT_DIR, or the system's certificates.

    Where the system has none (a slim container, a Python from python.org on macOS), it trusts those of certifi, which
    httpx brings. Building a context blocks the loop for some 30 ms, so all connections of the process share it.

    Raises:
        ConfigurationError: A variable names certificates that cannot be read; the message names the variable.
    """
    return _ssl_context(*map(os.environ.get, _CERTIFICATES))


@functools.cache
def _ssl_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    _check("SSL_CERT_FILE", cert_file, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations)
    _check("SSL_CERT_DIR", cert_dir, os.listdir)
    context = ssl.create_default_context()  # OpenSSL reads both variables itself
    if cert_file or cert_dir or context.cert_store_stats()["x509_ca"] or _has_folder():
        return context
    import httpx  # loaded late: the WebSocket path does not need it

    return httpx.create_ssl_context()


def _has_folder() -> bool:
    """Whether the system has a folder of certificates, from which OpenSSL reads the ones that it needs."""
    folder = Path(ssl.get_default_verify_paths().openssl_capath)
    return folder.is_dir() and any(_HASHED.fullmatch(entry.name) for entry in folder.iterdir())


def _check(name: str, path: str | None, read: Callable[[str], object]) -> None:
    """Check that a variable names certificates that can be read. OpenSSL ignores the error and would trust none."""
    try:
        if path:
            read(path)
    except OSError as error:
        raise ConfigurationError(
            f"{name}: certificates cannot be read from {path}: {error}; set it to those to trust, or unset it",
            field=name,
        ) from None


async def open_stream(config: TTSConfig, passed: Callable[[str], None] = lambda _step: None) -> trio.abc.Stream:
    """Open a TCP connection to `config.base_url`, through the proxy if there is one, with TLS for `https` and `wss`.

    Args:
        config: The configuration that names the host, the proxy and the TLS context.
        passed: A function that is called after each step: "TCP", "proxy", "TLS".

    Raises:
        OSError: The host is unknown, or refuses the connection.
        trio.BrokenResourceError: The TLS handshake failed; its cause says why.
        TTSError: The proxy cannot be reached, or refuses.
    """
    url = urlsplit(config.base_url)
    secure = url.scheme in {"https", "wss"}
    host, port = url.hostname or "", url.port or (443 if secure else 80)
    proxy = proxy_for(config.base_url, config.proxy)

    async def connect() -> trio.abc.Stream:
        if proxy is not None:
            return await _open_tunnel(config, proxy, host, port, passed)
        tcp = await open_tcp_stream(host, port)
        passed("TCP")
        return tcp

    stream = await (_open_tls(config, connect, host, port) if secure else connect())
    if secure:
        passed("TLS")
    return stream


async def _open_tunnel(
    config: TTSConfig, proxy: Proxy, host: str, port: int, passed: Callable[[str], None]
) -> trio.abc.Stream:
    async def connect() -> trio.SocketStream:
        tcp = await open_tcp_stream(proxy.host, proxy.port)
        passed("TCP")
        return tcp

    try:
        stream = await (_open_tls(config, connect, proxy.host, proxy.port) if proxy.secure else connect())
    except (OSError, trio.BrokenResourceError) as error:
        raise dial_failed(config, f"the proxy {proxy}", error) from telling_cause(error)
    try:
        await tunnel(stream, proxy, host, port)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    passed("proxy")
    return stream


async def _open_tls(
    config: TTSConfig, connect: Callable[[], Awaitable[trio.abc.Stream]], host: str, port: int
) -> trio.abc.Stream:
    """Open TLS over a stream that `connect` opens; do it once more where a TLS session could not be resumed."""
    context = config.ssl_context or default_ssl_context()
    while True:
        stream = await connect()
        if not isinstance(stream, trio.SocketStream):  # TLS to a proxy: a stream in it has no descriptor of its own
            return await _encrypt(stream, context, host)
        with suppress(NotResumedError):
            return await TLSStream.open(stream, context, host, port)


async def _encrypt(stream: trio.abc.Stream, context: ssl.SSLContext, host: str) -> trio.abc.Stream:
    try:
        encrypted = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await encrypted.do_handshake()  # now, since in the first read a wrong certificate would look like a timeout
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted
