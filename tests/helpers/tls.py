"""TLS of servers at 127.0.0.1: an authority of our own, and the contexts of both sides."""

from __future__ import annotations

import functools
import ssl

import attrs
import trustme


@attrs.frozen
class Certificates:
    """An authority that nobody else knows, and what trusts it.

    Attributes:
        authority: The authority.
        server: The server's context, with a certificate of the authority.
        client: The client's context, which trusts the authority and no other.
    """

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


@functools.cache
def certificates() -> Certificates:
    """Return the same ones in the whole process: to make them takes longer than most tests do."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return Certificates(authority, server, client)
