"""The text of a reply on its way in: it is checked, transformed, cut into phrases, and timed out when it stops.

Text passes three queues. `take` cuts it into slices of a bounded length and queues them. `read` feeds the next slice to
the phraser, which keeps the text that is not yet a phrase. The phrases that it returns wait in `phrases` until the
utterance sends them. The caller of `take` calls `read` once, so that a token becomes a phrase at once. The other slices
of a long text are read when `deadline` says so, in later turns of trio's loop, so that other tasks run in between.
"""

from __future__ import annotations

import logging
import math
import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import is_dialogue_model
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.protocols import Phrases, TransformFactory
from tts_trio.errors import ConfigurationError, TextTimeoutError
from tts_trio.text import Phraser, phrases_for
from tts_trio.text.making import warn_of_unknown_language
from tts_trio.text.words import CHARACTERS_A_SECOND, SLICE

if TYPE_CHECKING:
    from tts_trio.text.chain import Chain, Piece

logger = logging.getLogger(__name__)

_REPLACEMENT = "\ufffd"
_HALF = re.compile(r"[\ud800-\udfff]")  # of a surrogate pair
_PAUSE = ""  # a slice of no text: the stream of tokens has stalled
_PATIENCE = 0.15  # seconds, where the user's own phraser has no policy
_WARNING = 30.0  # seconds without text after which a warning asks whether the text was not closed


def whole_text(text: str) -> str:
    """Return a text in whole characters: halves of a surrogate pair are joined, and a lone half becomes U+FFFD.

    Such halves come from programs that cut a text between its UTF-16 units. UTF-8 cannot encode them.

    Raises:
        TypeError: The text is not a `str`.
    """
    check_type(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if whole.count(_REPLACEMENT) > text.count(_REPLACEMENT):
            logger.warning("a text had half of a surrogate pair, which was replaced by U+FFFD")
        return whole
    return text


def check_type(text: object) -> None:
    """Check that a text is a `str`.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")


class TextInput:
    """The text of one reply, from the caller to the phrases that can be sent.

    Attributes:
        phrases: The phrases that were not sent yet.
        closed: Whether the caller has closed the text.
        complete: Whether `phrases` has the last phrase: the text is closed, and all of it was read.
        unread: The slices for `read`.
        quiet: Seconds from a piece of text to the earliest deadline that it sets, once it was read.
    """

    __slots__ = (
        "_chain", "_characters", "_half", "_last_text", "_max_characters", "_patience", "_phraser", "_silence",
        "_text_timeout", "_waiting_characters", "closed", "complete", "phrases", "quiet", "unread",
    )  # fmt: skip

    def __init__(
        self,
        phraser: Phrases | None,
        now: float,
        *,
        max_characters: int,
        text_timeout: float,
        transforms: Sequence[TransformFactory] = (),
        patience: float = 0.0,
        quiet: float = 0.0,
    ) -> None:
        """Begin a reply.

        Args:
            phraser: Cuts the text into phrases; None: only `take_whole` is called.
            now: The time in seconds, of the same clock as in all other methods.
            max_characters: The most characters that the reply may have.
            text_timeout: Seconds without text after which the reply fails.
            transforms: What changes the text before it is cut into phrases, in order.
            patience: Seconds without text after which what the transforms hold is given up.
            quiet: Seconds without text in which the phraser never asks for `expire`.
        """
        self.phrases: deque[str] = deque()
        self.closed = False
        self.complete = False
        self._phraser = phraser
        self._max_characters = max_characters
        self._text_timeout = text_timeout
        self._patience = patience
        self._chain = None
        if transforms:
            from tts_trio.text.chain import Chain  # loaded late: few ask for it

            self._chain = Chain(transforms)
        self._characters = 0  # how many `take` got
        self._waiting_characters = 0  # how many are in `phrases`
        self.unread: deque[str] = deque()
        self._half = ""  # the first half of a surrogate pair, whose second half may come with the next token
        self._last_text = now
        self._silence = min(text_timeout, _WARNING)  # seconds without text after which there is something to do
        self.quiet = min(quiet, patience, self._silence)

    @classmethod
    def of(cls, config: TTSConfig, now: float) -> TextInput:
        """Begin a reply as a configuration says."""
        policy = config.phrase_policy
        return cls(
            phrases_for(
                policy,
                language_code=config.language_code,
                ssml=config.enable_ssml_parsing,
                audio_tags=is_dialogue_model(config.model_id),
            ),
            now,
            max_characters=config.max_characters,
            text_timeout=config.timeouts.text,
            transforms=config.transforms,
            patience=policy.patience_first if isinstance(policy, PhrasePolicy) else _PATIENCE,
            quiet=min(policy.patience_first, policy.patience_later) if isinstance(policy, PhrasePolicy) else 0.0,
        )

    @classmethod
    def of_static_text(cls, config: TTSConfig, now: float) -> TextInput:
        """Begin a text that `take_whole` is to take."""
        if config.language_code is None:
            warn_of_unknown_language()
        return cls(None, now, max_characters=config.max_characters, text_timeout=config.timeouts.text)

    def take(self, token: str, now: float) -> None:
        """Queue a piece of text for `read`.

        Raises:
            TypeError: It is not a `str`.
            ConfigurationError: The reply would be longer than `max_characters`.
        """
        if type(token) is not str:
            check_type(token)
        limit = self._max_characters
        if self._characters + len(token) > limit:
            raise ConfigurationError(
                f"max_characters: the reply has more than {limit} characters; send less text, or raise max_characters",
                field="max_characters",
            )
        self._characters += len(token)
        if self._half or _HALF.search(token):
            token = self._join_halves(token)
        for start in range(0, len(token), SLICE):
            self.unread.append(token[start : start + SLICE])
        self._last_text = now

    def _join_halves(self, token: str) -> str:
        """Return the whole characters of the text so far, of which the first half of a pair may be the last one."""
        text = self._half + token
        end = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
        self._half = text[end:]
        return whole_text(text[:end])

    def close(self) -> None:
        """Note that the caller has no more text."""
        self.closed = True
        self.unread.append(whole_text(self._half))

    def read(self, now: float, lead: float) -> Sequence[Piece]:
        """Cut the next slice into phrases, and return what is to be said, and what of the slice it stands for.

        Args:
            now: The time, in seconds.
            lead: Seconds of speech ahead of the listener, without that of `phrases`.
        """
        if not self.unread:
            return ()  # an empty token, which some LLMs send between two others
        text = self.unread.popleft()
        ends = self.closed and not self.unread
        if self._chain is None:
            pieces, said = [(text, text)], text
        else:
            pieces = self._transform(self._chain, text, ends=ends)
            said = "".join([said for said, _ in pieces])
            now = self._last_text  # text that was held has waited already
        assert self._phraser is not None
        if said and (phrases := self._phraser.feed(said, now, lead + self._waiting_characters / CHARACTERS_A_SECOND)):
            self._queue(phrases)
        if ends:
            self.complete = True
            self._queue(self._phraser.close())
            self._phraser = None  # it is a dozen objects, which would stay as long as the reply is spoken
        return pieces

    def _transform(self, chain: Chain, text: str, *, ends: bool) -> list[Piece]:
        if ends:
            pieces = [*(chain.feed(text) if text else ()), *chain.close()]
        else:
            pieces = chain.pause() if text is _PAUSE else chain.feed(text)
        return [(whole_text(said), source) for said, source in pieces]

    def next_phrase(self) -> str:
        """Take the next phrase out of `phrases`, to send it."""
        phrase = self.phrases.popleft()
        self._waiting_characters -= len(phrase)
        return phrase

    def whole(self) -> str:
        """Return the text that is not yet a phrase as one, if it ends with a mark where it can be cut; else ""."""
        if self.unread or not isinstance(self._phraser, Phraser):
            return ""
        return self._phraser.whole()

    def end_whole(self) -> None:
        """Queue the phrase that `whole` has returned."""
        assert self._phraser is not None
        self._queue(self._phraser.close())

    def put_back(self, phrases: list[str]) -> None:
        """Put phrases that were sent, and have to be sent again, before all other phrases."""
        self.phrases.extendleft(reversed(phrases))
        self._waiting_characters += sum(map(len, phrases))

    def _queue(self, phrases: list[str]) -> None:
        self.phrases.extend(map(whole_text, phrases))  # a user's `Phrases` may give others
        self._waiting_characters += sum(map(len, phrases))

    def drop(self) -> str:
        """Drop all phrases and all unread text, and return the text that `read` has not returned."""
        held = "" if self._chain is None else self._chain.drop()
        rest = held + "".join(self.unread) + ("" if self.closed else whole_text(self._half))
        self.phrases.clear()
        self._waiting_characters = 0
        self.unread.clear()
        return rest

    def take_whole(self, text: str) -> str:
        """Take a text that is known as a whole as the only phrase, and return it."""
        self._queue([text])
        self.closed = self.complete = True
        return text

    def given_up_at(self) -> float:
        """Return the time at which the reply fails if no text comes before."""
        return math.inf if self.closed else self._last_text + self._text_timeout

    @property
    def last_text(self) -> float:
        """The time at which text came last."""
        return self._last_text

    def deadline(self) -> float:
        """Return the time at which to call `read` or `expire` if no text comes before."""
        if self.complete:
            return math.inf
        if self.unread:
            return -math.inf
        assert self._phraser is not None
        due = self._phraser.deadline()
        silent_at = self._last_text + self._silence
        if self._chain is not None and self._chain.holds:
            silent_at = min(silent_at, self._last_text + self._patience)
        return silent_at if due is None else min(due, silent_at)

    def expire(self, now: float) -> TextTimeoutError | None:
        """Do what is due at this time; return the error if the reply has failed by it."""
        if self.complete:
            return None
        if self.given_up_at() <= now:
            return TextTimeoutError(
                f"no text was sent for {self._text_timeout:g} s (timeouts.text), and the text was not closed; close it "
                "at the end of the reply"
            )
        assert self._phraser is not None
        due = self._phraser.deadline()
        if self._chain is not None and self._chain.holds and self._last_text + self._patience <= now:
            self.unread.append(_PAUSE)
        elif due is not None and due <= now:
            self._queue(self._phraser.expire(now))
        elif self._last_text + self._silence <= now:
            self._silence = self._text_timeout
            logger.warning("no text was sent to a reply for %g s; close its text channel at its end", _WARNING)
        return None
