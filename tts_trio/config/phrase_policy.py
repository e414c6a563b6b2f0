"""How soon, and where, a reply is cut into phrases: the numbers that a user may set."""

from __future__ import annotations

import enum

import attrs

from tts_trio.config.validators import or_endless, seconds, unless_none, whole
from tts_trio.errors import ConfigurationError

_WORDS = whole(1, 1000)
_SECONDS = or_endless(seconds(0))


class Grade(enum.IntEnum):
    """How well a phrase can end at a place. A higher grade is better."""

    WORD = 1
    """Between two words that the lists of `text/lexicon.py` do not keep together."""
    BREATH = 2
    """Where a speaker could draw breath: before a conjunction, a preposition, a pronoun, an auxiliary."""
    CLAUSE = 3
    """After a clause mark: ``, ; : — …``."""
    SENTENCE = 4
    """At the end of a sentence."""


@attrs.frozen(kw_only=True)
class PhrasePolicy:
    """How soon, and where, the text of a reply is cut into phrases. ``PhrasePolicy()`` is `balanced`.

    The service speaks a phrase as a clip with an intonation of its own, so a phrase should end where a speaker could
    pause. An *early* phrase may end before its sentence does. The first phrase of a reply is early, because the
    listener waits for it, and so is a later phrase while little speech is ahead of the listener. Every other phrase is
    a sentence, or several sentences while plenty of speech is ahead.

    Attributes:
        clause_words: The fewest words of an early phrase that ends at a clause mark (``, ; : — …``), 1 to 1,000.
            None: an early phrase needs as many words there as any other.
        breath_words: The fewest words of an early phrase that ends where a speaker could draw breath: before
            a conjunction, a preposition, a pronoun, an auxiliary. Such places are known for Russian and English.
            None: as for `clause_words`.
        enough_words: The fewest words of an early phrase that ends between any two words that do not belong together.
            None: as for `clause_words`.
        long_words: The words of a long phrase. While plenty of speech is ahead, sentences are gathered into a phrase
            until it is long. A sentence that is longer may be cut at a clause mark; one twice as long, between two
            words.
        patience_first: Seconds without a token after which the text so far is sent as the first phrase, up to the last
            place where a phrase may end. `math.inf`: never.
        patience_later: The same for the phrases after the first one.
        patience_figure: Seconds without a token after which a figure or an address with a mark behind it and no blank
            counts as whole too; until then "3." may become "3.14". `math.inf`: never.
        low_lead: Seconds of speech ahead of the listener below which a phrase is early.
        plenty_lead: Seconds of speech ahead of the listener from which sentences are gathered.

    Raises:
        ConfigurationError: A number is out of range; the message names the field and what is allowed. It is a
            `ValueError`.
    """

    clause_words: int | None = attrs.field(default=3, validator=unless_none(_WORDS))
    breath_words: int | None = attrs.field(default=4, validator=unless_none(_WORDS))
    enough_words: int | None = attrs.field(default=6, validator=unless_none(_WORDS))
    long_words: int = attrs.field(default=30, validator=_WORDS)
    patience_first: float = attrs.field(default=0.15, validator=_SECONDS)
    patience_later: float = attrs.field(default=0.4, validator=_SECONDS)
    patience_figure: float = attrs.field(default=2.0, validator=_SECONDS)
    low_lead: float = attrs.field(default=1.0, validator=_SECONDS)
    plenty_lead: float = attrs.field(default=5.0, validator=_SECONDS)

    def __attrs_post_init__(self) -> None:
        if self.plenty_lead < self.low_lead:
            raise ConfigurationError(
                f"plenty_lead: {self.plenty_lead:g} is not allowed; it must be at least low_lead, {self.low_lead:g}",
                field="plenty_lead",
            )

    @classmethod
    def sentence(cls) -> PhrasePolicy:
        """Return a policy of whole sentences, the first one too: the best intonation, and the longest wait for it."""
        return cls(clause_words=None, breath_words=None, enough_words=None)

    @classmethod
    def balanced(cls) -> PhrasePolicy:
        """Return the default: an early phrase ends at a clause mark after 3 words, at a breath after 4, or after 6."""
        return cls()

    @classmethod
    def eager(cls) -> PhrasePolicy:
        """Return a policy that sends the first one to four words as soon as it can; the listener notices some cuts."""
        return cls(clause_words=1, breath_words=3, enough_words=4)

    def fewest_words(self, grade: Grade, *, first: bool, lead: float) -> int:
        """Return the fewest words that a phrase must have to end at a place of this grade.

        Args:
            grade: The grade of the place.
            first: Whether this is the first phrase of the reply.
            lead: Seconds of speech ahead of the listener.
        """
        early = first or lead < self.low_lead
        plenty = lead >= self.plenty_lead
        long = self.long_words
        if grade is Grade.SENTENCE:
            return long if plenty and not first else 1
        by_length = 2 * long if plenty or grade is not Grade.CLAUSE else long
        if not early:
            return by_length
        wanted = {
            Grade.CLAUSE: self.clause_words,
            Grade.BREATH: self.breath_words,
            Grade.WORD: self.enough_words,
        }[grade]
        return by_length if wanted is None else min(wanted, by_length)
