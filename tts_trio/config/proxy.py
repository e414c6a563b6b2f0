"""The HTTP proxy between us and the service: which one to use, and the tunnel through it (HTTP CONNECT)."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from functools import cache
from urllib.parse import unquote, urlsplit

import attrs
import trio

from tts_trio.config.validators import Rule, split_url
from tts_trio.errors import ConfigurationError, ProtocolError, TTSConnectionError, TTSError
from tts_trio.errors.redaction import hide

_RECEIVE_BYTES = 4096
_SCHEMES = frozenset({"http", "https"})
_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
# An IPv6 address has colons of its own, so it stands in brackets before a port.
_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>[0-9]{1,5}))?|[0-9a-f:.]+(?:/[0-9]+)?")
_TEMPORARY = frozenset({408, 425, 429})  # the HTTP statuses below 500 after which a retry can help


@attrs.frozen
class Proxy:
    """The address and the credentials of an HTTP proxy.

    Attributes:
        host: The proxy's host name or IP address.
        port: The proxy's port.
        secure: Whether the connection to the proxy uses TLS.
        authorization: The value of the header `Proxy-Authorization`, or None.
        secrets: The strings that no message may show: the password, and the encoded credentials.
    """

    host: str
    port: int
    secure: bool
    authorization: str | None = attrs.field(default=None, repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Parse the URL of a proxy.

        Raises:
            ConfigurationError: It is not the URL of an HTTP proxy. The message does not repeat it, since it may contain
                a password.
        """
        parts = split_url(url, _SCHEMES)
        if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigurationError(f"proxy: it must be {PROXY.allowed}", field="proxy")
        secure = parts.scheme == "https"
        where = (parts.hostname or "", parts.port or (443 if secure else 80), secure)
        if parts.username is None:
            return cls(*where)
        password = unquote(parts.password or "")
        credentials = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
        return cls(*where, f"Basic {credentials}", (password, credentials))


PROXY = Rule(
    "a URL such as http://proxy.example:3128 or http://user:password@proxy.example:3128; SOCKS is not supported",
    Proxy.parse,
    secret=True,
)
"""The rule for `proxy`."""


def proxy_for(base_url: str, proxy: str | None) -> Proxy | None:
    """Return the proxy for a service, or None for a direct connection.

    Args:
        base_url: The service's URL.
        proxy: The proxy's URL. None: the first of https_proxy, HTTPS_PROXY, all_proxy and ALL_PROXY that is set, for
            `https` and `wss` only. A variable that is set to nothing means no proxy, as in urllib, and so does an entry
            of NO_PROXY for the service's host.

    Raises:
        ConfigurationError: The variable holds no URL of an HTTP proxy.
    """
    if proxy is not None:
        return Proxy.parse(proxy)
    service = urlsplit(base_url)
    if service.scheme not in {"https", "wss"}:
        return None
    name = next((name for name in _VARIABLES if name in os.environ), None)
    if name is None:
        return None
    url = os.environ[name].strip()
    if not url or _is_exempt(service.hostname or "", service.port or 443):
        return None
    return _of_environment(name, url if "://" in url else f"http://{url}")


@cache
def _of_environment(name: str, url: str) -> Proxy:
    """Parse the value of an environment variable, and hide its secrets for good, as no object owns them."""
    try:
        proxy = Proxy.parse(url)
    except ConfigurationError:
        raise ConfigurationError(
            f"proxy: the environment variable {name} must be {PROXY.allowed}; set proxy=, or {name} to nothing",
            field="proxy",
        ) from None
    hide(Proxy, *proxy.secrets)
    return proxy


def _is_exempt(host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY, a list with commas or blanks between its entries, names this host and port.

    An entry is "*", a host, a domain with its subdomains ("example.com", ".example.com", "*.example.com"), an IP
    address, or a network ("10.0.0.0/8"). A port may follow a host, a domain or an address ("[::1]:8443").
    """
    entries = os.environ.get("no_proxy", os.environ.get("NO_PROXY", "")).lower().replace(",", " ").split()
    return any(_excepts(entry, host.rstrip("."), port) for entry in entries)


def _excepts(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    found = _ENTRY.fullmatch(entry)
    if found is None or (found["port"] and int(found["port"]) != port):
        return False
    name = found["bracketed"] or found["name"] or entry
    try:
        address = ipaddress.ip_address(host)
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:  # one of the two is a name
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))


async def tunnel(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> None:
    """Ask a proxy to connect this stream to a service.

    Args:
        stream: An open stream to the proxy. Afterwards its bytes are the service's.
        proxy: The proxy at its other end.
        host: The service's host name, which the proxy resolves.
        port: The service's port.

    Raises:
        ConfigurationError: The proxy wants other credentials (407), or forbids the connection (another 4xx).
        TTSConnectionError: The proxy could not connect (5xx, 408, 425, 429), or hung up.
        ProtocolError: The peer does not answer as an HTTP proxy.
    """
    import h11  # loaded late: a proxy is rare

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", target)]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    peer = h11.Connection(h11.CLIENT)
    request = peer.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b""
    try:
        await stream.send_all(request + (peer.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := peer.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                data = bytes(await stream.receive_some(_RECEIVE_BYTES))
                if not data:
                    raise _hung_up(proxy)
                peer.receive_data(data)
                if not b"HTTP/".startswith(peer.trailing_data[0][:5]):  # h11 would wait for a header that never ends
                    raise _no_http(proxy)
    except trio.BrokenResourceError as error:
        raise _hung_up(proxy) from error.__cause__
    except h11.RemoteProtocolError:  # its message is left out: it repeats the answer, which may repeat the password
        raise _no_http(proxy) from None
    if not 200 <= event.status_code < 300:
        raise _refusal(proxy, target, event.status_code)


def _hung_up(proxy: Proxy) -> TTSConnectionError:
    return TTSConnectionError(f"the proxy {proxy} hung up before it had connected to the service")


def _no_http(proxy: Proxy) -> ProtocolError:
    return ProtocolError(f"the proxy {proxy} does not answer as an HTTP proxy")


def _refusal(proxy: Proxy, target: str, status: int) -> TTSError:
    if status >= 500 or status in _TEMPORARY:
        return TTSConnectionError(f"the proxy {proxy} could not connect to {target}", status=status)
    if status == 407:
        wants = "user:password@ before the host" if proxy.authorization is None else "another user or password"
        return ConfigurationError(f"proxy: {proxy} requires {wants} in its URL", field="proxy", status=status)
    return ConfigurationError(
        f"proxy: {proxy} refuses to connect to {target}; allow it there, or set another proxy",
        field="proxy",
        status=status,
    )
