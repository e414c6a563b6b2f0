"""Decides when a text is sent a second time because its first audio is late, and whether that may be afforded.

A service answers in a tenth of a second, and now and then in two. Whoever asks a second time where the first answer is
late, and takes the answer that comes first, seldom waits for the slow ones (Dean and Barroso, "The Tail at Scale", CACM
2013). No clock is in here: seconds and characters are given.

**How late is late.** The threshold is the 95th percentile of the last 100 times from a text being sent to its first
audio. Each time is that of the connection whose audio was heard, counted from when the text was sent over *this*
connection:

- An answer that came before the threshold, or that no second one overtook, is known, however late it was.
- If the second answer won, its own time is taken. The first connection was closed, so it is not known when it would
  have answered. To count its time up to then would raise the threshold by each second request that helps, without end.
- If neither answered within `timeouts.first_audio`, the time is infinite.

So the threshold settles where one answer in twenty comes later and is too near for a second one to overtake it. It
cannot fall for ever, since these times are known in full. And it does not lie among the very slow answers where more
than one in twenty is slow, since those are overtaken. A service that becomes slower for all raises it with the sixth
slow answer. The bounds are 0.1 s, and half of `timeouts.first_audio`, which also holds for the first ten answers.

**What may be spent.** Two limits have to hold at once. Where 8 % of answers are slow, nearly all of them are to be
asked for again, and at most 5 % of the characters are to be charged twice. Where every answer is slow, at most 5 % more
requests are to go out, since the service is in trouble. A budget in requests cannot do both. This one is in characters:
a text whose first audio was in time earns 5 % of its characters, one that was late earns nothing, and a hedge pays for
the characters that it sends twice, and for 25 at least.

- No more is paid than was earned, so at most 5 % of the characters are charged twice (and what there is to begin with).
- Where 8 % are slow: a reply has some 200 characters, and its first phrase, which is what a hedge sends, some 40. A
  reply earns 0.92 x 0.05 x 200 = 9.2 characters on average. A hedge for each slow reply, and one for each of the 5 %
  above the threshold that are not slow, cost 0.13 x 40 = 5.2.
- Where every answer is late, nothing is earned. The 200 characters that a budget holds at most pay for eight hedges,
  and no more, however long the trouble lasts.
- A hedge may begin while anything is left, whatever it costs, or no long text could ever be sent twice. The debt is
  earned back before the next one.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from hashlib import sha256
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import first_audio_timeout, websocket_endpoint

_PERCENTILE = 0.95
_REMEMBERED = 100  # times
_FEWEST = 10  # times by which the threshold is learned
_SHORTEST = 0.1  # seconds

_SHARE = 0.05  # of the characters of a text that was in time
_MOST_SAVED = 200.0  # characters
_LEAST_PRICE = 25  # characters

Way: TypeAlias = Literal["stream-input", "multi-stream-input", "text-to-dialogue", "http"]


class FirstAudioTimes:
    """The last times from the sending of a text to its first audio, of one voice and model over one endpoint.

    All conversations of a process share them, in all of its threads: a `deque` may be read while it is added to.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._times: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, seconds: float) -> None:
        """Note the time of an answer that was heard; infinity for one that did not come."""
        self._times.append(seconds)

    def threshold(self, longest: float) -> float:
        """Return after how many seconds an answer is late.

        Args:
            longest: The upper bound, which is also returned until enough is known.
        """
        times = sorted(self._times)
        if len(times) < _FEWEST:
            return longest
        return min(max(times[math.ceil(_PERCENTILE * len(times)) - 1], _SHORTEST), longest)


class HedgeBudget:
    """What an account may spend on second requests, in characters.

    All conversations of a process share it. Two threads that change it in the same instant may lose one of the changes,
    which is a few characters, so there is no lock.
    """

    def __init__(self) -> None:
        """Begin with as much as a budget can hold."""
        self._saved = _MOST_SAVED

    def earn(self, characters: int) -> None:
        """Note a text of so many characters whose first audio was in time."""
        self._saved = min(_MOST_SAVED, self._saved + _SHARE * characters)

    def spend(self, characters: int) -> bool:
        """Pay for a hedge of so many characters; return False, and pay nothing, if nothing is left."""
        if self._saved <= 0:
            return False
        self._saved -= max(characters, _LEAST_PRICE)
        return True

    def refund(self, characters: int) -> None:
        """Take back the price of a hedge of so many characters, which could not be sent."""
        self._saved += max(characters, _LEAST_PRICE)


@lru_cache(maxsize=256)
def first_audio_times(host: str, voice_id: str, model_id: str, way: Way) -> FirstAudioTimes:
    """Return the times of a voice and a model of a host, over an endpoint, in this process."""
    return FirstAudioTimes()


@lru_cache(maxsize=256)
def budget_of_account(digest: bytes) -> HedgeBudget:
    """Return the budget of an account in this process, by a hash of its key and its host."""
    return HedgeBudget()


@attrs.frozen
class Hedging:
    """When the texts of one conversation are sent a second time, over one endpoint.

    Attributes:
        times: The first-audio times by which the threshold is learned.
        budget: What may be spent.
    """

    times: FirstAudioTimes
    budget: HedgeBudget
    _fixed: float | None
    _timeout: float

    @classmethod
    def of_replies(cls, config: TTSConfig) -> Hedging | None:
        """Return the hedging of the replies of a configuration; None: it is off."""
        endpoint = websocket_endpoint(config)
        if config.hedge is None or (config.hedge == "auto" and endpoint == "text-to-dialogue"):
            return None
        return cls._of(config, endpoint)

    @classmethod
    def of_static_texts(cls, config: TTSConfig) -> Hedging:
        """Return the hedging of the static texts of a configuration in which it is on."""
        return cls._of(config, "http")

    @classmethod
    def _of(cls, config: TTSConfig, way: Way) -> Hedging:
        host = urlsplit(config.base_url).netloc
        return cls(
            first_audio_times(host, config.voice_id, config.model_id, way),
            budget_of_account(sha256(f"{host}\n{config.api_key}".encode()).digest()),
            None if isinstance(config.hedge, str) else config.hedge,
            first_audio_timeout(config),
        )

    def after(self) -> float:
        """Return how many seconds after a text was sent its first audio is late."""
        return self.times.threshold(self._timeout / 2) if self._fixed is None else self._fixed

    def unanswered(self, seconds: float) -> None:
        """Note that nothing came for so many seconds after a text was sent, when it was given up."""
        if seconds > 0.99 * self._timeout:
            self.times.add(math.inf)
