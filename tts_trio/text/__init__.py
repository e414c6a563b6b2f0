"""Turns an LLM's tokens into phrases that the service can speak, without I/O and without a clock.

With ``auto_mode`` the service speaks every message as a clip of its own, so tokens are gathered into phrases. The first
phrase is sent early, because the caller waits for it. The others are sent when their sentence is complete.
"""

from __future__ import annotations

from tts_trio.text.making import phrases_for
from tts_trio.text.phraser import Phraser
from tts_trio.text.words import speakable

__all__ = [
    "Phraser",
    "phrases_for",
    "speakable",
]
