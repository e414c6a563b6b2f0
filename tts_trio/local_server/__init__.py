"""A local server that speaks ElevenLabs' protocol with a real voice, and injects faults on demand.

The server stands in for the service, so the server must not depend on the client. This package imports nothing else of
`tts_trio`.
"""

from __future__ import annotations

from tts_trio.local_server.behavior import ACTIONS, POINTS, Behavior, Fault
from tts_trio.local_server.espeak import EspeakVoice
from tts_trio.local_server.memory import MemoryStream
from tts_trio.local_server.record import (
    Accepted,
    Answered,
    CloseReceived,
    CloseSent,
    Ended,
    Injected,
    Received,
    Record,
    Requested,
    Sent,
)
from tts_trio.local_server.server import LocalServer, open_local_server, serve_local_server
from tts_trio.local_server.tone import ToneVoice, read_tones

__all__ = [
    "ACTIONS",
    "POINTS",
    "Accepted",
    "Answered",
    "Behavior",
    "CloseReceived",
    "CloseSent",
    "Ended",
    "EspeakVoice",
    "Fault",
    "Injected",
    "LocalServer",
    "MemoryStream",
    "Received",
    "Record",
    "Requested",
    "Sent",
    "ToneVoice",
    "open_local_server",
    "read_tones",
    "serve_local_server",
]
