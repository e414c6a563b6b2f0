"""What the WebSocket endpoints have in common: each says by which frames a context lives, from `begin` to its close.

A context is what one utterance speaks through. A socket to `stream-input` is one context for its life; to the
multi-stream endpoints it holds five at a time, each with an id. In which order frames may leave is the same for all of
them, and is in `context.py`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import attrs

from tts_trio.config.config import TTSConfig


@attrs.frozen
class Endpoint(ABC):
    """The frames of one endpoint, for one configuration.

    Attributes:
        config: The voice, the model, the settings.
        contexts: How many may be open at once on a socket; 1: a socket is one context, and is used up with it.
        begins_early: The first frame of a context has the service do work, so it leaves before there is text.
        goodbye: The last frame on a socket that has no utterance.
    """

    config: TTSConfig
    contexts: ClassVar[int]
    begins_early: ClassVar[bool]
    goodbye: ClassVar[str]

    @abstractmethod
    def path(self) -> str:
        """Return the path and query of the WebSocket, below the base URL."""

    @abstractmethod
    def begin(self, context_id: str | None) -> str:
        """Return the first frame of a context: it carries all that stays the same in it."""

    @abstractmethod
    def text(self, context_id: str | None, phrase: str) -> str:
        """Return the frame that speaks a phrase."""

    @abstractmethod
    def end(self, context_id: str | None) -> str | None:
        """Return the frame that has the service speak what it holds, the text being complete; None if it does so."""

    @abstractmethod
    def close(self, context_id: str | None) -> str | None:
        """Return the frame that ends a context, or interrupts it; None: closing the socket does."""

    @abstractmethod
    def keep_alive(self, context_id: str | None) -> str:
        """Return the frame that keeps a context open while there is no text for it."""

    @property
    def idle_seconds(self) -> float:
        """After how long without a context the service may close the socket, whatever is done."""
        return math.inf
