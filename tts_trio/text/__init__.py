"""LLM tokens to phrases that can be spoken: the text side of a reply, without I/O and without a clock.

Under ``auto_mode`` the service speaks every message as a clip of its own, so tokens are gathered to phrases:
the first one leaves early, because the caller waits for it; the rest leave at sentence ends.
"""

from __future__ import annotations

from tts_trio.text.phraser import Phraser, phrases_for
from tts_trio.text.words import slices, speakable

__all__ = [
    "Phraser",
    "phrases_for",
    "slices",
    "speakable",
]
