"""What the WebSocket endpoints have in common: each says by which frames a context lives, from `begin` to its close.

A context is what one utterance speaks through. A socket to `stream-input` is one context for its life; to the
multi-stream endpoints it holds five at a time, each with an id. In which order frames may leave is the same for all of
them, and is in `context.py`. Whatever differs between the endpoints is here, and nowhere above `wire/`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar, Literal

import attrs

from tts_trio.config.config import TTSConfig


@attrs.frozen
class Endpoint(ABC):
    """The frames of one endpoint, for one configuration.

    Attributes:
        config: The voice, the model, the settings.
        contexts: How many contexts may be open at once on a socket.
        contexts_in_all: How many there may be in its life, one after another too.
        begins: When the first frame of a context is written. It is written before there is text where it has the
            service do work.
        goodbye: The last frame that is written to a socket without an utterance.
    """

    config: TTSConfig
    contexts: ClassVar[int]
    contexts_in_all: ClassVar[float]
    begins: ClassVar[Literal["with the socket", "with the utterance", "with the text"]]
    goodbye: ClassVar[str]

    @abstractmethod
    def context_id(self, number: int) -> str | None:
        """Return the id of the context that so many others of its socket have preceded; None is not named in frames."""

    @abstractmethod
    def context_of(self, context_id: str) -> str | None:
        """Return the id of the context that a frame of the service is about, by the id that it names."""

    @abstractmethod
    def sockets_to_keep(self, spares: int, *, speaking: bool) -> int:
        """Return how many sockets are kept that can take another utterance.

        Args:
            spares: How many sockets stand ready behind the one that serves.
            speaking: Whether an utterance goes on.
        """

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

    @cached_property
    def address(self) -> str:
        """The path and query of `path`, made once."""
        return self.path()

    @cached_property
    def kind(self) -> str:
        """What stays the same in the life of a socket: utterances for which it is equal can share one, or its spare."""
        return f"{self.address}\n{self.begin(None)}" if self.begins == "with the socket" else self.address

    @property
    def idle_seconds(self) -> float:
        """After how long without a context the service may close the socket, whatever is done."""
        return math.inf


class SharedSocket(Endpoint):
    """An endpoint whose sockets carry several contexts at once, and one after another; each has an id."""

    contexts: ClassVar[int] = 5
    contexts_in_all: ClassVar[float] = math.inf
    goodbye: ClassVar[str] = '{"close_socket":true}'

    def context_id(self, number: int) -> str | None:
        """Return an id that no other context of the socket has."""
        return str(number + 1)

    def context_of(self, context_id: str) -> str | None:
        """Return the id that the frame names."""
        return context_id

    def sockets_to_keep(self, spares: int, *, speaking: bool) -> int:
        """Return one more than the spares: the one that serves takes further utterances."""
        return spares + 1
