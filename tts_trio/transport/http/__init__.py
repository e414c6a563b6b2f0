"""Static texts over HTTP: connections that are open before they are needed, and survive any cancellation."""

from __future__ import annotations

from tts_trio.transport.http.connections import HttpConnections as HttpConnections
