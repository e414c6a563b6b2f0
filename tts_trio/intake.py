"""The text of a reply as it comes in: refused or taken, cut into phrases, and missed when it does not come."""

from __future__ import annotations

import logging
import math
from collections import deque

from tts_trio.config import TTSConfig
from tts_trio.errors import ConfigurationError, TextTimeout
from tts_trio.text import MarkdownStripper, phrases_for

logger = logging.getLogger(__name__)

_REPLACEMENT = "\ufffd"
_WARNING = 30.0  # seconds without text, after which it looks as if somebody forgot to close it


def whole_text(text: str) -> str:
    """Return a text in whole characters: the halves of a surrogate pair are joined, and a lone one becomes U+FFFD.

    Such halves come from what cuts a text between its UTF-16 units; UTF-8 cannot encode them.

    Raises:
        TypeError: It is no `str`.
    """
    check_type(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if whole.count(_REPLACEMENT) > text.count(_REPLACEMENT):
            logger.warning("half of a surrogate pair in a text was replaced by U+FFFD")
        return whole
    return text


def check_type(text: object) -> None:
    """Refuse what is no text.

    Raises:
        TypeError: It is no `str`.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be str, not {type(text).__name__}")


class Intake:
    """What the caller writes, on its way to the service.

    Attributes:
        phrases: Those that have not been sent.
        complete: No more will come.
    """

    def __init__(self, config: TTSConfig, now: float) -> None:
        self.phrases: deque[str] = deque()
        self.complete = False
        self._config = config
        self._characters = 0
        self._half = ""  # of a surrogate pair, whose other half may come with the next token
        self._markdown = MarkdownStripper() if config.strip_markdown else None
        self._phraser = phrases_for(
            config.phrase_policy, language_code=config.language_code, ssml=config.enable_ssml_parsing
        )
        self._last_text = now
        self._warned = False

    def take(self, token: str, now: float) -> str:
        """Take a piece of text, and return what of it is to be spoken.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
        """
        check_type(token)
        if not token:
            return ""
        limit = self._config.max_characters
        if self._characters + len(token) > limit:
            raise ConfigurationError(
                f"max_characters: a reply may have at most {limit} characters", field="max_characters"
            )
        text = self._half + token
        end = len(text) - ("\ud800" <= text[-1] <= "\udbff")
        self._half = text[end:]
        text = whole_text(text[:end])
        return self._gather(text if self._markdown is None else self._markdown.feed(text), now)

    def close(self, now: float) -> str:
        """Take note that the text is complete, and return what of it was held back until now."""
        rest = whole_text(self._half)
        if self._markdown is not None:
            rest = self._markdown.feed(rest) + self._markdown.close()
        self._gather(rest, now)
        self.complete = True
        self.phrases.extend(self._phraser.close())
        return rest

    def take_whole(self, phrase: str) -> str:
        """Take a text as one phrase, complete, and return it."""
        self.phrases.append(phrase)
        self.complete = True
        return phrase

    def lead(self, seconds: float) -> None:
        """Take note of how much speech is ahead of the listener: the more it is, the longer a phrase may be."""
        self._phraser.lead(seconds)

    def given_up_at(self) -> float:
        """Return the time at which the reply is given up, if no text comes before."""
        return math.inf if self.complete else self._last_text + self._config.text_timeout

    def deadline(self) -> float:
        """Return the time at which `expire` is to be called, if no text comes before."""
        if self.complete:
            return math.inf
        warning = math.inf if self._warned else self._last_text + _WARNING
        return min(self.given_up_at(), warning, self._phrase_due())

    def expire(self, now: float) -> TextTimeout | None:
        """Do what is due; return why the reply is given up, or None."""
        if self.complete:
            return None
        if self.given_up_at() <= now:
            return TextTimeout(f"the text was neither fed nor closed for {self._config.text_timeout:g} s")
        if self._phrase_due() <= now:
            self.phrases.extend(self._phraser.expire(now))
        elif not self._warned and self._last_text + _WARNING <= now:
            self._warned = True
            logger.warning("a reply got no text for %g s: was its text channel not closed?", _WARNING)
        return None

    def _gather(self, text: str, now: float) -> str:
        self._last_text = now
        self._characters += len(text)
        if text:
            self.phrases.extend(self._phraser.feed(text, now))
        return text

    def _phrase_due(self) -> float:
        due = self._phraser.deadline()
        return math.inf if due is None else due
