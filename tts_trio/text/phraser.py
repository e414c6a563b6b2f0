"""Cuts the tokens of one reply into phrases, without I/O; the time is an argument.

How it works. `Places` reads the text word by word, and notes the places where a phrase may end, each with a grade. The
policy says for each grade how many words a phrase needs to end there. After each slice of a token, `Places.best` goes
through the places from the best grade to the worst, and the phrase is cut at the first one with enough words before it.
When the stream of tokens stalls, `expire` cuts at the end of the text if its last word is whole, and else at the last
place that was noted. The cost of a token depends on its length alone, and a long token is read in slices.

Most tokens end no phrase. It is known how many words a phrase must have, and a word has two characters at least. So in
so many characters (`_room`) no phrase can end, unless a sentence does. Tokens within them are only kept (`_unread`),
and are read together with the first token that is not. What a mark at the end of a token ends is known when more comes,
so that token is the last one that is kept. What is kept when the text is closed goes out unread.
"""

from __future__ import annotations

from tts_trio.config.phrase_policy import Grade, PhrasePolicy
from tts_trio.text import audio_tags
from tts_trio.text.boundaries import Ending, segmenter
from tts_trio.text.places import BEST_FIRST, END, Places
from tts_trio.text.words import CHARACTERS_A_SECOND, SLICE, speakable

_LONGEST_UNREAD = 200  # characters, which take some tenths of a millisecond to read


class Phraser:
    """Gathers the tokens of one reply into phrases, by a `PhrasePolicy`.

    The phrases joined together are the text that was fed, except for the blanks at each cut. Every phrase ends with one
    space. It replaces the blanks of the text there, and is added where the text had none: at the end of the reply,
    after a mark at which the stream stalled, and in languages that write no blanks. Runs with nothing to speak
    (`speakable`) go with the words before them, or, on a line of their own, with the words after them. A reply with
    nothing to speak gives no phrase.

    Args:
        policy: When and where phrases end.
        language_code: An ISO 639-1 code. None: the script of each word tells Russian from English.
        ssml: Whether the service obeys SSML (`enable_ssml_parsing`). Then no phrase is cut inside of a tag or of an
            element, and tags are nothing to speak.
        audio_tags: Whether the model performs the words in square brackets, such as "[clears throat]" (v3, v4). Then no
            phrase is cut inside of the brackets.
    """

    __slots__ = (
        "_audio_tags", "_due", "_fed_at", "_fewest", "_fewest_within", "_places", "_policy", "_room", "_stage",
        "_tags", "_unread",
    )  # fmt: skip

    def __init__(
        self, policy: PhrasePolicy, *, language_code: str | None = None, ssml: bool = False, audio_tags: bool = False
    ) -> None:
        self._policy = policy
        self._audio_tags = audio_tags
        self._places = Places(language_code=language_code, ssml=ssml, audio_tags=audio_tags)
        self._tags = ""  # audio tags that wait for the next phrase
        self._fed_at = 0.0  # when text was fed last
        self._due: float | None = None  # when the current patience ends; None: a pause changes nothing any more
        self._unread = ""  # tokens that were fed and not read
        self._room = 0  # how many characters these may have, while the stage is the same
        self._stage: tuple[bool, bool, bool] | None = None  # what the policy decides by
        self._fewest: dict[Grade, int] = {}  # how many words a phrase must have in this stage
        self._fewest_within = 0  # the least of these but for the end of a sentence
        segmenter()  # loads sentencex now, and not when the first token is waited for

    @property
    def pending(self) -> str:
        """The text that was fed and not yet returned in a phrase."""
        text = self._places.text
        return self._tags + text.read(text.start, text.end) + self._unread

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text of any size, and return the phrases that can be sent, in order.

        Args:
            token: The text.
            now: The time in seconds, of one monotonic clock for all calls.
            lead: Seconds of speech ahead of the listener: audio that was not played yet, and audio that the service
                still owes for the phrases returned before. The phrases of this call are added by their length.
        """
        if not token:
            return []
        policy, places = self._policy, self._places
        self._fed_at = now
        self._due = now + (policy.patience_later if places.has_cut else policy.patience_first)
        if (places.has_cut, lead < policy.low_lead, lead < policy.plenty_lead) != self._stage:
            self._enter_stage(lead)
        if len(self._unread) + len(token) <= self._room:
            mark = END.search(token)
            if mark is None or not speakable(token[mark.end() :]):
                self._unread += token
                if mark is not None:
                    self._room = 0
                return []
        if self._unread:
            self._catch_up()
        phrases: list[str] = []
        for start in range(0, len(token), SLICE):
            places.read(token[start : start + SLICE])
            while (place := places.best(self._fewest, self._fewest_within)) is not None:
                phrases.append(places.cut(place))
                lead += len(phrases[-1]) / CHARACTERS_A_SECOND
                self._enter_stage(lead)
        begun = places.words > places.words_cut
        self._room = min(places.room(self._fewest_within), _LONGEST_UNREAD) if begun else 0
        return self._with_tags(phrases) if phrases else phrases

    def deadline(self) -> float | None:
        """Return the time at which to call `expire` if nothing is fed before; None where a pause changes nothing."""
        places = self._places
        return self._due if places.words > places.words_cut or places.run < places.text.end else None

    def expire(self, now: float) -> list[str]:
        """Return the phrase that can be sent because the stream has stalled; none before `deadline`.

        Args:
            now: The time, as in `feed`.
        """
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        self._catch_up()
        certain = self._fed_at + self._policy.patience_figure
        ending = self._places.ending()
        self._due = certain if ending is Ending.UNSURE and now < certain else None
        if ending is Ending.WHOLE or (ending is Ending.UNSURE and now >= certain):
            return self.close()
        place = self._places.last()
        return self._with_tags([self._places.cut(place)] if place else [])

    def close(self) -> list[str]:
        """Return all remaining text as a phrase, if it has something to speak."""
        places = self._places
        places.end(self._unread)
        self._unread, self._room = "", 0
        if not speakable(places.visible(self.pending)):
            return []
        return self._with_tags([places.cut((places.text.end, places.words))])

    def whole(self) -> str:
        """Return what `close` would, if the text ends with the mark of a clause or a sentence for certain; else ""."""
        phrase = f"{self.pending.rstrip()} "
        mark = phrase[-2:-1]
        if not mark or mark.isalnum() or (self._policy.clause_words is None and END.match(mark) is None):
            return ""
        self._catch_up()
        places = self._places
        if places.run < places.text.end:
            return phrase if places.ending() is Ending.WHOLE else ""
        return phrase if places.ends_clause() else ""

    def _enter_stage(self, lead: float) -> None:
        """Note what the policy decides by: whether it is the first phrase, and how much speech is ahead."""
        policy, has_cut = self._policy, self._places.has_cut
        self._stage = (has_cut, lead < policy.low_lead, lead < policy.plenty_lead)
        self._fewest = {grade: policy.fewest_words(grade, first=not has_cut, lead=lead) for grade in BEST_FIRST}
        _, *within = self._fewest.values()
        self._fewest_within = min(within)
        self._room = 0

    def _catch_up(self) -> None:
        """Read what was kept."""
        self._room = 0
        if self._unread:
            unread, self._unread = self._unread, ""
            self._places.read(unread)

    def _with_tags(self, phrases: list[str]) -> list[str]:
        """Keep phrases of audio tags alone, which the service refuses, and put them before the next phrase."""
        if not self._audio_tags:
            return phrases
        whole: list[str] = []
        for phrase in phrases:
            self._tags += phrase
            if speakable(audio_tags.visible(self._tags)):
                whole.append(self._tags)
                self._tags = ""
        return whole
