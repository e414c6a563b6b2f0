"""The text of a reply as it comes in: checked, freed of Markdown, cut into phrases, and timed out when it stops.

Text passes three places on its way. `take` queues it in slices of a bounded length. `read` hands the next slice to the
phraser, which keeps what is not yet a phrase. What it gives out waits in `phrases` until the utterance takes it to be
sent. `take` is followed by one `read`, so that a token is cut at once; the slices of a longer text are read when
`deadline` says so, which is in the next turn of the loop, so that others have theirs in between.
"""

from __future__ import annotations

import logging
import math
from collections import deque

from tts_trio.config.protocols import Phrases
from tts_trio.errors import ConfigurationError, TextTimeoutError
from tts_trio.text import slices
from tts_trio.text.words import CHARACTERS_A_SECOND

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


class TextInput:
    """What the caller writes, on its way to the service.

    Attributes:
        phrases: The phrases that have not been sent.
        closed: Whether the caller has no more text.
        complete: Whether no more phrases will come.
    """

    def __init__(
        self, phraser: Phrases, now: float, *, max_characters: int, text_timeout: float, strip_markdown: bool
    ) -> None:
        """Begin a reply.

        Args:
            phraser: What cuts it into phrases.
            now: The time, in seconds, as in all other methods.
            max_characters: The most characters that the reply may have.
            text_timeout: Seconds without text after which the reply is given up.
            strip_markdown: Whether Markdown is taken out of the text.
        """
        self.phrases: deque[str] = deque()
        self.closed = False
        self.complete = False
        self._phraser = phraser
        self._max_characters = max_characters
        self._text_timeout = text_timeout
        self._markdown = None
        if strip_markdown:
            from tts_trio.text.markdown import MarkdownStripper  # loaded late: few ask for it

            self._markdown = MarkdownStripper()
        self._characters = 0  # taken
        self._waiting_characters = 0  # in `phrases`
        self._unread: deque[str] = deque()
        self._half = ""  # of a surrogate pair, whose other half may come with the next token
        self._last_text = now
        self._warned = False

    def take(self, token: str, now: float) -> None:
        """Queue a piece of text to be read.

        Raises:
            TypeError: It is no `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
        """
        check_type(token)
        limit = self._max_characters
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
        """Note that the caller has no more text."""
        self.closed = True
        self._unread.append(whole_text(self._half))

    def read(self, now: float, lead: float) -> str:
        """Cut the next slice into phrases, and return what of it is to be spoken.

        Args:
            now: The time.
            lead: Seconds of speech ahead of the listener, without that of `phrases`.
        """
        text = self._strip(self._unread.popleft()) if self._unread else ""
        if self.closed and not self._unread and self._markdown is not None:
            text += self._markdown.close()
        if text:
            self._queue(self._phraser.feed(text, now, lead + self._waiting_characters / CHARACTERS_A_SECOND))
        if self.closed and not self._unread:
            self.complete = True
            self._queue(self._phraser.close())
        return text

    def next_phrase(self) -> str:
        """Take the next phrase, to be sent."""
        phrase = self.phrases.popleft()
        self._waiting_characters -= len(phrase)
        return phrase

    def put_back(self, phrases: list[str]) -> None:
        """Have phrases that were sent wait to be sent again, before all others."""
        self.phrases.extendleft(reversed(phrases))
        self._waiting_characters += sum(map(len, phrases))

    def _queue(self, phrases: list[str]) -> None:
        self.phrases.extend(phrases)
        self._waiting_characters += sum(map(len, phrases))

    def drop(self) -> str:
        """Drop what was not sent and what was not read; return the text that `read` has not returned."""
        rest = "".join(self._unread) + ("" if self.closed else whole_text(self._half))
        if self._markdown is not None and not self.complete:
            rest = self._markdown.feed(rest) + self._markdown.close()
        self.phrases.clear()
        self._waiting_characters = 0
        self._unread.clear()
        return rest

    def _strip(self, text: str) -> str:
        return text if self._markdown is None else self._markdown.feed(text)

    def take_whole(self, text: str) -> str:
        """Take a text as one phrase, complete, and return it."""
        self._queue([text])
        self.closed = self.complete = True
        return text

    def given_up_at(self) -> float:
        """Return the time at which the reply is given up, if no text comes before."""
        return math.inf if self.closed else self._last_text + self._text_timeout

    @property
    def unread(self) -> bool:
        """Whether text was taken that is to be read now."""
        return bool(self._unread)

    def deadline(self) -> float:
        """Return the time at which `read` or `expire` is to be called, if no text comes before."""
        if self.complete:
            return math.inf
        if self._unread:
            return -math.inf
        warning = math.inf if self._warned else self._last_text + _WARNING
        return min(self.given_up_at(), warning, self._phrase_due())

    def expire(self, now: float) -> TextTimeoutError | None:
        """Do what is due, and return why the reply is given up, or None."""
        if self.complete:
            return None
        if self.given_up_at() <= now:
            return TextTimeoutError(f"the text was neither fed nor closed for {self._text_timeout:g} s")
        if self._phrase_due() <= now:
            self._queue(self._phraser.expire(now))
        elif not self._warned and self._last_text + _WARNING <= now:
            self._warned = True
            logger.warning("a reply got no text for %g s: was its text channel not closed?", _WARNING)
        return None

    def _phrase_due(self) -> float:
        due = self._phraser.deadline()
        return math.inf if due is None else due
