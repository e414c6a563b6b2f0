"""When a phrase may leave: the numbers, open to the user."""

from __future__ import annotations

from typing import Any

import attrs

from tts_trio.text.boundaries import Grade


def _seconds(_: object, field: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{field.name} must be 0 or more seconds (math.inf for never), not {value!r}")


def _words(_: object, field: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{field.name} must be 1 word or more, or None for never, not {value!r}")


def _at_least_low_lead(policy: PhrasePolicy, _: attrs.Attribute[float], value: float) -> None:
    if not value >= policy.low_lead:
        raise ValueError(f"plenty_lead must be at least low_lead ({policy.low_lead!r}), not {value!r}")


def _speech_rate(_: object, field: attrs.Attribute[float], value: float) -> None:
    if not 1 <= value <= 100:
        raise ValueError(f"{field.name} must be from 1 to 100, not {value!r}")


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
        characters_per_second: How fast the voice speaks, for the estimate of what is ahead of the listener
            between two reports of it; on the fast side, so that the estimate errs towards a low queue.

    Raises:
        ValueError: A number is out of range; the message names the field and what is allowed.
    """

    clause_words: int | None = attrs.field(default=3, validator=_words)
    breath_words: int | None = attrs.field(default=4, validator=_words)
    enough_words: int | None = attrs.field(default=6, validator=_words)
    long_words: int = attrs.field(default=30, validator=_words)
    patience_first: float = attrs.field(default=0.15, validator=_seconds)
    patience_later: float = attrs.field(default=0.4, validator=_seconds)
    patience_figure: float = attrs.field(default=2.0, validator=_seconds)
    low_lead: float = attrs.field(default=1.0, validator=_seconds)
    plenty_lead: float = attrs.field(default=5.0, validator=_at_least_low_lead)
    characters_per_second: float = attrs.field(default=18.0, validator=_speech_rate)

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
