"""Phrases as a user may make them, and a phraser with a listener who hears each phrase from when it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tts_trio import PhrasePolicy
from tts_trio.text.phraser import Phraser
from tts_trio.text.words import CHARACTERS_A_SECOND


class AtTheEnd:
    """Phrases that are one, which is known at the end of the text; `say` makes it of the text."""

    def __init__(self, say: Callable[[str], str]) -> None:
        self.pending = ""
        self._say = say

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        self.pending += token
        return []

    def deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> list[str]:
        return []

    def close(self) -> list[str]:
        return [self._say(self.pending)]


class HeardAtOnce:
    """A `Phraser` that is told, with each token, what of the phrases before it is still to be heard."""

    def __init__(self, policy: PhrasePolicy, **options: Any) -> None:
        self._phraser = Phraser(policy, **options)
        self._silent_at = 0.0

    def feed(self, token: str, now: float) -> list[str]:
        return self._spoken(self._phraser.feed(token, now, max(0.0, self._silent_at - now)), now)

    def expire(self, now: float) -> list[str]:
        return self._spoken(self._phraser.expire(now), now)

    def deadline(self) -> float | None:
        return self._phraser.deadline()

    def close(self) -> list[str]:
        return self._phraser.close()

    @property
    def pending(self) -> str:
        return self._phraser.pending

    def _spoken(self, phrases: list[str], now: float) -> list[str]:
        seconds = sum(map(len, phrases)) / CHARACTERS_A_SECOND
        self._silent_at = max(self._silent_at, now) + seconds
        return phrases
