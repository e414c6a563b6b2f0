"""The HTTP proxy on the way to the service: which one, if any, and the tunnel through it (HTTP CONNECT)."""

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
_PASSING = frozenset({408, 425, 429})  # HTTP statuses below 500 that another try may not get


@attrs.frozen
class Proxy:
    """Where an HTTP proxy is, and what to show it.

    Attributes:
        host: Its name or address.
        port: Its port.
        secure: Whether it is spoken to over TLS.
        authorization: The header `Proxy-Authorization`, or None.
        secrets: What must not be shown: the password, and the header.
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
        """Take the URL of a proxy apart.

        Raises:
            ConfigurationError: It is none; the message does not repeat it, for there may be a password in it.
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
    "a URL such as http://proxy.example:3128, with user:password@ before the host if it wants them; SOCKS is not "
    "spoken",
    Proxy.parse,
    secret=True,
)
"""What `proxy` may be."""


def proxy_for(base_url: str, proxy: str | None) -> Proxy | None:
    """Return the proxy for a service: the one given, or for `https` and `wss` the environment's, or None.

    Args:
        base_url: Where the service is.
        proxy: The proxy's URL; None for the first of https_proxy, HTTPS_PROXY, all_proxy and ALL_PROXY that is set. One
            that is set to nothing switches those behind it off, as in urllib. NO_PROXY may except the service's host.

    Raises:
        ConfigurationError: The variable holds no URL of an HTTP proxy.
    """
    if proxy is not None:
        return Proxy.parse(proxy)
    service = urlsplit(base_url)
    if service.scheme not in {"https", "wss"}:
        return None
    name = next((name for name in _VARIABLES if name in os.environ), "")
    url = os.environ.get(name, "").strip()
    if not url or _is_exempt(service.hostname or "", service.port or 443):
        return None
    return _of_environment(name, url if "://" in url else f"http://{url}")


@cache
def _of_environment(name: str, url: str) -> Proxy:
    """The proxy of a URL that stands in the environment for good, where its credentials are nobody's object's."""
    try:
        proxy = Proxy.parse(url)
    except ConfigurationError:
        raise ConfigurationError(
            f"proxy: {name} in the environment must be {PROXY.allowed}; set proxy=, or {name} to nothing",
            field="proxy",
        ) from None
    hide(Proxy, *proxy.secrets)
    return proxy


def _is_exempt(host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY, of which a comma or blanks stand between two, names this host.

    An entry is "*", a host, a domain with all below it ("example.com", ".example.com", "*.example.com"), an address, or
    a network ("10.0.0.0/8"); a port may follow a name, a domain or an address ("[::1]:8443").
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
    """Have a proxy connect this stream to a service.

    Args:
        stream: To the proxy, open. What is read from it afterwards comes from the service.
        proxy: Which one it is.
        host: The service's host, which the proxy looks up.
        port: The service's port.

    Raises:
        ConfigurationError: The proxy refuses for good: its credentials are missing or wrong (407), or it forbids it.
        TTSConnectionError: It could not (5xx), or hung up.
        ProtocolError: It does not answer as an HTTP proxy.
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
                if not b"HTTP/".startswith(peer.trailing_data[0][:5]):  # h11 would wait for the end of a header
                    raise _no_http(proxy)
    except trio.BrokenResourceError as error:
        raise _hung_up(proxy) from error.__cause__
    except h11.RemoteProtocolError:  # its message, which repeats what came, is kept out: it may be what was sent
        raise _no_http(proxy) from None
    if not 200 <= event.status_code < 300:
        raise _refusal(proxy, target, event.status_code)


def _hung_up(proxy: Proxy) -> TTSConnectionError:
    return TTSConnectionError(f"the proxy {proxy} hung up when it was asked for the service")


def _no_http(proxy: Proxy) -> ProtocolError:
    return ProtocolError(f"the proxy {proxy} does not answer as an HTTP proxy")


def _refusal(proxy: Proxy, target: str, status: int) -> TTSError:
    if status >= 500 or status in _PASSING:
        return TTSConnectionError(f"the proxy {proxy} gives no connection to {target}", status=status)
    if status == 407:
        wants = "user:password@ in its URL" if proxy.authorization is None else "another user or password"
        return ConfigurationError(f"proxy: {proxy} wants {wants}", field="proxy", status=status)
    return ConfigurationError(f"proxy: {proxy} refuses to connect to {target}", field="proxy", status=status)
