"""What was spoken, and when: the text of one utterance mapped onto the audio that came for it.

The service times the characters of a clip from the clip's beginning, mostly all of them in its first message
(wire/README.md, 2.5), sometimes in several messages that break off inside a word (reported of Flash v2.5). The clock is
the audio:

- A clip begins where its audio begins: after the audio that was received before the message with its times. Only
  times that do not restart, or that follow an alignment that broke off inside a phrase (that of a whole clip ends in a
  blank), go on with those before. On text-to-dialogue every message counts from its own first sample, and may count
  more than it has (1,413 ms of times for 1,233 ms of audio, measured live by others in September 2026).
- Nothing is placed beyond the audio. A word has a time once the audio of its last letter came: the mark after it may
  be a pause of 400 ms. A clip whose times turn out to be a little longer than its audio is compressed into it; where
  they are much longer, a part of the audio is missing, and so are its words.
- What belongs to no place in the text (`sent_text.py`) gives no times: then the last certain place counts, which is
  where the text before a clip that did belong somewhere had ended, or the end of everything.
- Where no word has a time, the audio is shared out among the words by their characters, and they are marked.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from operator import attrgetter

import attrs

from tts_trio.speech.readings import Glyph, Reading, read_alignment
from tts_trio.speech.results import Word
from tts_trio.speech.sent_text import Place, SentText
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.events import Alignment

# Alignments are in whole milliseconds, audio is not: a word that ends within the rounding has ended.
_ROUNDING_MS = 0.5

# How much longer than its audio the times of a clip may be, up to its last letter. The text-to-speech models' audio is
# as long as its times, the mark and the blank at their end included (wire/README.md, 2.5): only a frame of a codec may
# be missing (26 ms of mp3, 20 of opus), which is less than a letter of the fastest speech. The times of the dialogues
# are 13 % longer than their audio (above).
_ROUNDED_MS = 30.0
_OVERRUN = 0.15


# Longer than any clip that is sent in pieces: what is never found is not kept for ever.
_LONGEST_UNKNOWN = 1000


@attrs.frozen
class _Timed:
    """A word, and when the marks after its last letter end."""

    word: Word
    mark_ms: float


@attrs.frozen
class _Reached:
    """All text up to an offset has been spoken by a time."""

    offset: int
    ms: float


class SpokenText:
    """Maps the audio of one utterance onto the text that was sent for it.

    Malformed alignments are passed over; nothing here raises because of what the service sent.
    """

    def __init__(
        self,
        *,
        dialogue: bool = False,
        in_messages: bool = True,
        held_back_ms: float = 0.0,
        characters_a_second: float = CHARACTERS_A_SECOND,
    ) -> None:
        """Begin an utterance.

        Args:
            dialogue: Every message has times of its own, which count from its first sample.
            in_messages: What comes with the times of a dialogue is all the audio that they are of; an answer over HTTP
                may have been cut anywhere, and only its end tells that it was not.
            held_back_ms: So much of the audio of a clip may come with the next one.
            characters_a_second: How fast it is spoken, as far as that is known before its end.
        """
        self._characters_a_second = characters_a_second
        self._ended = False  # the service said so: this is all of its audio
        self._dialogue = dialogue
        self._in_messages = in_messages
        self._held_back_ms = held_back_ms
        self._sent = SentText()
        self._received_ms = 0.0
        self._valid_ms = math.inf  # where a part of the audio is missing; what came after that counts for nothing
        self._cut_ms: float | None = None  # when the word began that is aligned in part
        self._timed: list[_Timed] = []  # some may lie beyond the audio that came so far
        self._untimed: list[_Reached] = []  # where text ended whose words have no times of their own
        # The clip that is being timed: where it began, its first word in `_timed`, what its times count from, where
        # they end so far, and whether they broke off, so that the next alignment goes on with them.
        self._clip_ms = 0.0
        self._clip_words = 0
        self._base_ms: float | None = None
        self._aligned_ms = 0.0
        self._broken_off = False
        self._unknown: Sequence[Glyph] = ()  # the end of a reading that broke off, not yet found in the text

    def sent(self, phrase: str) -> None:
        """Note a phrase that left, in order. A word never continues in the next phrase."""
        self._sent.add(phrase)

    # How a message is taken. Its times count from a place in the audio that it does not tell, and its characters are
    # those of a place in the text that it does not tell either:
    #
    # 1. What it says is read (`readings.py`). If the message before broke off, what was not found of that one comes
    #    before it: the text may have "42", of which "сорок д" says nothing, and "сорок два" all.
    # 2. Its place in the text is looked for (`sent_text.py`): behind what is aligned, or where a later phrase begins.
    # 3. It goes on with the clip before if that one broke off, and its place is the next. Else a clip begins, with this
    #    message's own audio. So the clip before has ended: by the end of its last letter it is known whether a part of
    #    its audio is missing. If it is, what comes from here on is not for the listener (`lost_audio`).
    # 4. Its times run on from those before, or begin anew: behind those before, or with the clip (`_base_for`).
    # 5. Its words get their times (`_record`). They are heard when so much audio has come.
    # 6. If it broke off inside a phrase, or before all that it says was found, the next one goes on with it.

    def received(self, ms: float, alignment: Alignment | None, normalized: Alignment | None) -> None:
        """Note one audio message.

        Args:
            ms: How much audio it carried, in milliseconds.
            alignment: Its times of the characters sent, if any.
            normalized: Its times of the characters read, if any.
        """
        begins_ms = self._received_ms
        self._received_ms += ms
        source, read = read_alignment(alignment), read_alignment(normalized)
        said = read or source
        if said is None or self._valid_ms < math.inf:
            return
        continues = self._broken_off and not self._dialogue
        if self._unknown:
            base_ms = self._base_for(said, begins_ms, continues=continues)
            said = said.after([glyph.later(-base_ms) for glyph in self._unknown])
        heard_ms = self._timed[-1].mark_ms if self._timed else 0.0
        place = self._sent.locate(source, said, may_pass=begins_ms > heard_ms)
        if place is not None:
            begun_before = bool(self._unknown) and place.reading is said
            continues = continues and (begun_before or place.first == self._sent.word)
            said = place.reading
        self._broken_off = not said.ends_in_blank
        self._unknown = ()
        if place is None and not self._broken_off:
            return
        base_ms = self._base_for(said, begins_ms, continues=continues)
        if base_ms != self._base_ms and not continues:
            if self._is_missing(begins_ms, self._held_back_ms, _OVERRUN if self._dialogue else 0.0):
                self._valid_ms = begins_ms
                return
            self._end_clip(begins_ms)
            self._clip_ms, self._clip_words = begins_ms, len(self._timed)
        self._base_ms, self._aligned_ms = base_ms, base_ms + said.end_ms
        if place is not None:
            self._record(place, base_ms)
            self._broken_off = self._broken_off and (self._sent.is_inside_phrase or place.known < len(said.glyphs))
        if self._broken_off:
            known = place.known if place else 0
            self._unknown = [glyph.later(base_ms) for glyph in said.glyphs[known:][-_LONGEST_UNKNOWN:]]
        if self._dialogue and self._in_messages and not self._is_missing(self._received_ms, 0.0, _OVERRUN):
            self._end_clip(self._received_ms)

    def final(self) -> None:
        """Note that the service said that all is spoken."""
        self._end_clip(self._received_ms)
        self._ended = True
        if self._received_ms > 0:
            self._pass(len(self._sent.spans), self._received_ms)
        self._sent.cursor = len(self._sent.text)
        self._cut_ms = self._base_ms = None
        self._broken_off = False
        self._unknown = ()

    @property
    def text(self) -> str:
        """All phrases sent."""
        return self._sent.text

    @property
    def words(self) -> tuple[Word, ...]:
        """The words whose audio is known, or estimated, to have come, in order; they never overlap.

        Estimates give way to times when the first of these come.
        """
        if self.estimated:
            return tuple(self._estimated_until(self._received_ms))
        ms = self._heard_ms
        words = [timed.word for timed in self._timed[: self._words_until(ms + _ROUNDING_MS)]]
        return tuple(attrs.evolve(w, start_ms=min(w.start_ms, ms), end_ms=min(w.end_ms, ms)) for w in words)

    @property
    def covered(self) -> int:
        """How many characters of the text are aligned, whether or not all their audio came; it never shrinks."""
        return self._sent.covered

    @property
    def received_ms(self) -> float:
        """The audio received, in milliseconds."""
        return self._received_ms

    @property
    def aligned_ms(self) -> float:
        """Until when the alignments so far tell what is heard, in milliseconds; the audio itself may still come."""
        return self._aligned_ms

    @property
    def estimated(self) -> bool:
        """Whether there is audio, and no word has a time."""
        return not self._timed and self._received_ms > 0

    def rate(self) -> float | None:
        """How fast it was spoken, in characters a second, if all its audio came."""
        return 1000 * len(self._sent.text) / self._received_ms if self._ended and self._received_ms else None

    @property
    def lost_audio(self) -> bool:
        """Whether a clip ended before its times did: some of the words before the last ones were not heard."""
        return self._valid_ms < math.inf

    def lacks_audio(self, *, strictly: bool) -> bool:
        """Whether audio is still to come for the words that have times.

        Args:
            strictly: The service said that this was all; else, unless in doubt.
        """
        held_back_ms = 0.0 if strictly else self._held_back_ms
        share = _OVERRUN if self._dialogue or not strictly else 0.0
        return self.lost_audio or self._is_missing(self._received_ms, held_back_ms, share)

    def spoken(self, until_ms: float) -> str:
        """The text whose words had ended by a time in the audio: the beginning of `text`, in whole words."""
        return self._sent.text[: self._reached(until_ms).offset]

    def resume(self, delivered_ms: float) -> tuple[int, float]:
        """Where to begin again after some of the audio was delivered.

        Returns:
            The offset in `text` of the first word that was not wholly delivered (the length of the text if there is
            none), and where the last word that was ends, in milliseconds: audio beyond it belongs to what is said
            again. What is no word to be spoken, such as a dash between two, counts with the word before it. Where the
            words are estimated, it is one word earlier, lest one be lost.
        """
        reached = self._reached(delivered_ms)
        following = self._sent.word_at(reached.offset)
        if self.estimated and not (self._ended and delivered_ms >= self._received_ms):
            reached = _Reached(reached.offset, delivered_ms)
            following = next((at for at in reversed(range(following)) if self._sent.is_spoken(at)), 0)
        while following < len(self._sent.spans) and not self._sent.is_spoken(following):
            following += 1
        offset = self._sent.spans[following][0] if following < len(self._sent.spans) else len(self._sent.text)
        return offset, min(reached.ms, delivered_ms)

    @property
    def _heard_ms(self) -> float:
        return min(self._received_ms, self._valid_ms)

    def _is_missing(self, ms: float, held_back_ms: float, overrun: float) -> bool:
        """Whether the audio ended before the last word did, if it ended here."""
        if not self._timed:
            return False
        end_ms = self._timed[-1].word.end_ms
        return end_ms - ms > _ROUNDED_MS + held_back_ms + overrun * (end_ms - self._clip_ms)

    def _estimated_until(self, ms: float) -> Iterator[Word]:
        """The words that have ended by a time if all characters last equally long."""
        length = len(self._sent.text.rstrip())
        spoken_ms = self._received_ms if self._ended else 1000 * length / self._characters_a_second
        for start, end in self._sent.spans:
            if (end_ms := spoken_ms * end / length) > ms:
                return
            yield Word(self._sent.text[start:end], start, end, spoken_ms * start / length, end_ms, estimated=True)

    def _words_until(self, ms: float) -> int:
        return bisect.bisect_right(self._timed, ms, key=lambda timed: timed.word.end_ms)

    def _reached(self, until_ms: float) -> _Reached:
        ms = min(until_ms, self._heard_ms) + _ROUNDING_MS
        reached = [_Reached(0, 0.0)]
        if passed := bisect.bisect_right(self._untimed, ms, key=attrgetter("ms")):
            reached.append(self._untimed[passed - 1])
        if self.estimated:
            reached += [_Reached(word.end, word.end_ms) for word in self._estimated_until(ms)]
        if ended := self._words_until(ms):
            timed = self._timed[ended - 1]
            reached.append(_Reached(timed.word.end, min(timed.mark_ms, self._heard_ms)))
        return max(reached, key=attrgetter("offset"))

    def _base_for(self, reading: Reading, begins_ms: float, *, continues: bool) -> float:
        """What the times of a message count from."""
        expected_ms = self._aligned_ms if continues else begins_ms
        if self._base_ms is not None and abs(self._base_ms + reading.start_ms - expected_ms) < reading.start_ms:
            return self._base_ms  # they run on
        # A character may reach into the next message, whose own times begin behind it: none is between the two.
        return expected_ms - reading.start_ms if continues else expected_ms

    def _record(self, place: Place, base_ms: float) -> None:
        """Time the words of a place."""
        cut_ms = self._cut_ms
        if place.first > self._sent.word:
            self._pass(place.first, max(self._clip_ms, self._timed[-1].mark_ms if self._timed else 0.0))
            cut_ms = None
        for index, times in enumerate(place.times, place.first):
            start, end = self._sent.spans[index]
            if self._timed and self._timed[-1].word.start == start:  # its letters came before: these are its marks
                self._timed[-1] = attrs.evolve(self._timed[-1], mark_ms=base_ms + times.mark_ms)
                continue
            earliest_ms = self._timed[-1].mark_ms if self._timed else 0.0
            start_ms = max(earliest_ms, base_ms + times.start_ms if cut_ms is None else cut_ms)
            end_ms = max(start_ms, base_ms + times.end_ms)
            word = Word(self._sent.text[start:end], start, end, start_ms, end_ms)
            self._timed.append(_Timed(word, max(end_ms, base_ms + times.mark_ms)))
            cut_ms = None
        if place.cut_ms is None:
            self._cut_ms = None
        else:
            self._cut_ms = base_ms + place.cut_ms if cut_ms is None else cut_ms
        self._sent.cursor = place.cursor

    def _pass(self, words: int, ms: float) -> None:
        """Note that so many words have ended by a time, whether or not they have times of their own."""
        offset = self._sent.spans[words - 1][1] if words else 0
        timed = self._timed[-1].word.end if self._timed else 0
        if offset > max(timed, self._untimed[-1].offset if self._untimed else 0):
            self._untimed.append(_Reached(offset, ms))

    def _end_clip(self, ms: float) -> None:
        """Compress the times of a clip into its audio, which ended here, if they are longer."""
        timed = self._timed[self._clip_words :]
        if not timed or timed[-1].mark_ms <= ms:
            return
        length_ms = timed[-1].word.end_ms - self._clip_ms
        factor = min(1.0, (ms - self._clip_ms) / length_ms) if length_ms else 0.0

        def compress(time_ms: float) -> float:
            return min(ms, self._clip_ms + (time_ms - self._clip_ms) * factor)

        self._timed[self._clip_words :] = [
            _Timed(
                attrs.evolve(word.word, start_ms=compress(word.word.start_ms), end_ms=compress(word.word.end_ms)),
                compress(word.mark_ms),
            )
            for word in timed
        ]
