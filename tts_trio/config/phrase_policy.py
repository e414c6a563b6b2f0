"""When a phrase may leave: the numbers, open to the user."""

from __future__ import annotations

import enum

import attrs

from tts_trio.config.validators import or_endless, seconds, unless_none, whole
from tts_trio.errors import ConfigurationError

_WORDS = whole(1, 1000)
_SECONDS = or_endless(seconds(0))


class Grade(enum.IntEnum):
    """How well a phrase can end at a place; the higher, the better."""

    WORD = 1
    """Between two words that do not cling together, as far as the lists tell."""
    BREATH = 2
    """Where a speaker could draw breath: before a conjunction, a preposition, a pronoun, an auxiliary."""
    CLAUSE = 3
    SENTENCE = 4


@attrs.frozen(kw_only=True)
class PhrasePolicy:
    """How soon, and where, the text of a reply is cut into phrases. ``PhrasePolicy()`` is `balanced`.

    A phrase is spoken as a clip with an intonation of its own, so it should end where a speaker could pause.
    An *early* phrase is the first one of a reply, which the listener waits for, and any later one while the
    queue of audio runs low; it may end short of the sentence. All other phrases are sentences, and several
    sentences while plenty of audio is queued.

    Attributes:
        clause_words: The fewest words of an early phrase that ends at a clause mark (``, ; : — …``).
            None: as for later ones.
        breath_words: The fewest words of an early phrase that ends where a speaker could draw breath: before
            a conjunction, a preposition, a pronoun, an auxiliary; known for Russian and English.
            None: as for later ones.
        enough_words: The fewest words of an early phrase that ends between any two words that do not cling
            together. None: as for later ones.
        long_words: A phrase of so many words is long: while plenty of audio is queued sentences are gathered
            up to it, and a sentence that is longer may end at a clause mark, one twice as long at a word.
        patience_first: Seconds without a token after which the first phrase leaves as it is, if it ends at a
            word.
        patience_later: The same for the phrases after it.
        patience_figure: Seconds without a token after which a figure or an address, too, is taken for whole, if a mark
            ends it but no blank: "3." may become "3.14". `math.inf`: never.
        low_lead: Seconds of speech ahead of the listener below which phrases are early ones.
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
        """Whole sentences, the first one too: the best intonation, and the longest wait for it."""
        return cls(clause_words=None, breath_words=None, enough_words=None)

    @classmethod
    def balanced(cls) -> PhrasePolicy:
        """The default: the first phrase ends at a mark after three words, a breath after four, or at six."""
        return cls()

    @classmethod
    def eager(cls) -> PhrasePolicy:
        """The first sound as soon as one to four words can be spoken; the listener notices some cuts."""
        return cls(clause_words=1, breath_words=3, enough_words=4)

    def fewest_words(self, grade: Grade, *, first: bool, lead: float) -> int:
        """The fewest words that a phrase ending at a place of this grade must have.

        Args:
            grade: What kind of place it is.
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
