"""A phraser, with a listener who hears each phrase from the moment when it leaves."""

from __future__ import annotations

from typing import Any

from tts_trio import PhrasePolicy
from tts_trio.text.phraser import Phraser
from tts_trio.text.words import CHARACTERS_A_SECOND


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
