"""The text of a reply as it comes in: refused or taken, cut into phrases, and missed when it does not come.

What was taken is read in slices: the first one at once, the rest when it is due, which is soon, so that a long text
does not hold up the loop.
"""

from __future__ import annotations

import logging
import math
from collections import deque

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import is_dialogue_model
from tts_trio.errors import ConfigurationError, TextTimeoutError
from tts_trio.text import MarkdownStripper, phrases_for, slices

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
        closed: The caller has no more text.
        complete: No more phrases will come.
    """

    def __init__(self, config: TTSConfig, now: float) -> None:
        self.phrases: deque[str] = deque()
        self.closed = False
        self.complete = False
        self._config = config
        self._characters = 0
        self._unread: deque[str] = deque()
        self._half = ""  # of a surrogate pair, whose other half may come with the next token
        self._markdown = MarkdownStripper() if config.strip_markdown else None
        self._phraser = phrases_for(
            config.phrase_policy,
            language_code=config.language_code,
            ssml=config.enable_ssml_parsing,
            audio_tags=is_dialogue_model(config.model_id),
        )
        self._last_text = now
        self._warned = False

    def take(self, token: str, now: float) -> None:
        """Take a piece of text, to be read.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
        """
        check_type(token)
        limit = self._config.max_characters
        if self._characters + len(token) > limit:
            raise ConfigurationError(
                f"max_characters: a reply may have at most {limit} characters", field="max_characters"
            )
        self._characters += len(token)
        text = self._half + token
        end = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
        self._half = text[end:]
        self._unread.extend(slices(whole_text(text[:end])))
        self._last_text = now

    def close(self) -> None:
        """Take note that the caller has no more text."""
        self.closed = True
        self._unread.append(whole_text(self._half))

    def read(self, now: float) -> str:
        """Cut the next slice into phrases, and return what of it is to be spoken."""
        text = self._strip(self._unread.popleft()) if self._unread else ""
        if self.closed and not self._unread and self._markdown is not None:
            text += self._markdown.close()
        if text:
            self.phrases.extend(self._phraser.feed(text, now))
        if self.closed and not self._unread:
            self.complete = True
            self.phrases.extend(self._phraser.close())
        return text

    def drop(self) -> str:
        """Drop what was not sent and what was not read; return what of it is known to nobody yet."""
        rest = "".join(self._unread) + ("" if self.closed else whole_text(self._half))
        if self._markdown is not None and not self.complete:
            rest = self._markdown.feed(rest) + self._markdown.close()
        self.phrases.clear()
        self._unread.clear()
        return rest

    def _strip(self, text: str) -> str:
        return text if self._markdown is None else self._markdown.feed(text)

    def take_whole(self, phrase: str) -> str:
        """Take a text as one phrase, complete, and return it."""
        self.phrases.append(phrase)
        self.closed = self.complete = True
        return phrase

    def lead(self, seconds: float) -> None:
        """Take note of how much speech is ahead of the listener: the more it is, the longer a phrase may be."""
        self._phraser.lead(seconds)

    def given_up_at(self) -> float:
        """Return the time at which the reply is given up, if no text comes before."""
        return math.inf if self.closed else self._last_text + self._config.timeouts.text

    @property
    def unread(self) -> bool:
        """Whether text was taken that is to be read now."""
        return bool(self._unread)

    def deadline(self) -> float:
        """Return the time at which `expire` is to be called, if no text comes before."""
        if self.complete:
            return math.inf
        if self._unread:
            return -math.inf
        warning = math.inf if self._warned else self._last_text + _WARNING
        return min(self.given_up_at(), warning, self._phrase_due())

    def expire(self, now: float) -> TextTimeoutError | None:
        """Do what is due; return why the reply is given up, or None."""
        if self.complete:
            return None
        if self.given_up_at() <= now:
            return TextTimeoutError(f"the text was neither fed nor closed for {self._config.timeouts.text:g} s")
        if self._phrase_due() <= now:
            self.phrases.extend(self._phraser.expire(now))
        elif not self._warned and self._last_text + _WARNING <= now:
            self._warned = True
            logger.warning("a reply got no text for %g s: was its text channel not closed?", _WARNING)
        return None

    def _phrase_due(self) -> float:
        due = self._phraser.deadline()
        return math.inf if due is None else due
