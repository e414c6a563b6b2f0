"""What an utterance asks of whatever turns tokens into phrases, so that a user can bring his own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeAlias

from tts_trio.config.validators import Rule, is_async, takes
from tts_trio.text.policy import PhrasePolicy

logger = logging.getLogger(__name__)


class Phrases(Protocol):
    """What turns the tokens of one reply into phrases; `Phraser`, or anything with the same methods.

    Times are seconds on one monotonic clock. Every phrase ends in exactly one blank.
    """

    def feed(self, token: str, now: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can leave."""
        ...

    def deadline(self) -> float | None:
        """When to call `expire` if nothing is fed before."""
        ...

    def expire(self, now: float) -> list[str]:
        """Return what leaves because the stream has stalled."""
        ...

    def close(self) -> list[str]:
        """Return all that is left: the reply is complete."""
        ...

    def lead(self, seconds: float) -> None:
        """Take note of how much speech is ahead of the listener."""
        ...

    @property
    def pending(self) -> str:
        """The text accepted and not yet given out."""
        ...


PhrasesFactory: TypeAlias = Callable[[], Phrases]
"""What can stand in the place of a `PhrasePolicy`: called once for each reply."""


def _makes_phrases(value: Any) -> bool:
    if isinstance(value, PhrasePolicy):
        return True
    if isinstance(value, type):
        delegates = hasattr(value, "__getattr__")  # what it has is seen when it is called, as with a function
        good = delegates or all(callable(getattr(value, name, None)) for name in _METHODS)
    else:  # what a function returns is seen when it is called
        good = getattr(value, "__self__", None) is not PhrasePolicy and not is_async(value)
    return good and takes(value)


_METHODS = ("feed", "deadline", "expire", "close", "lead")

POLICY = Rule(
    "a PhrasePolicy, such as PhrasePolicy.eager(), or a callable without arguments that returns Phrases", _makes_phrases
)
"""What `phrase_policy` may be."""


@cache
def warn_of_unknown_language() -> None:
    """Log a warning, once a process, that `language_code` is unset."""
    logger.warning(
        "language_code is unset: the service guesses the language of each phrase by itself, and guesses short ones "
        '("Да,", "42") wrongly; set it to the language of the call, such as "en" or "ru"'
    )
