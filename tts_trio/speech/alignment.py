"""Maps the text of one utterance onto the audio that came for it: which word is spoken when.

The service times the characters of a clip from the clip's beginning. Mostly all of them are in its first message
(wire/README.md, 2.5), sometimes in several messages that break off inside of a word (reported for Flash v2.5). The
received audio is the clock:

- A clip begins where its audio begins: after the audio that came before the message with its times. Times continue the
  clip before only if they do not restart, or if the alignment before broke off inside of a phrase (the alignment of a
  whole clip ends with a blank). On text-to-dialogue the times of every message count from its own first sample, and may
  last longer than its audio (1,413 ms of times for 1,233 ms of audio, measured live by others in September 2026).
- No word is placed beyond the audio. A word has a time once the audio of its last letter has come; the mark after it
  may be a pause of 400 ms. If the times of a clip are a little longer than its audio, they are compressed into it. If
  they are much longer, a part of the audio is missing, and the words of that part are missing too.
- An alignment that has no place in the text (`sent_text.py`) gives no times. Then the last certain place counts: the
  end of the text before the last clip that had a place, or the end of all audio.
- If no word has a time, the audio is divided among the words by their characters, and they are marked as estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tts_trio.speech.estimated_words import EstimatedWords
from tts_trio.speech.readings import Glyph, is_well_formed, read_alignment
from tts_trio.speech.results import Word
from tts_trio.speech.sent_text import SentText
from tts_trio.speech.timed_words import ROUNDING_MS, Origin, Reached, TimedWords
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.blanks import is_blank
from tts_trio.wire.events import Alignment, AudioReceived

# The times of the dialogues are so much longer than their audio, up to the last letter: 13 % (above).
_OVERRUN = 0.15

# Longer than any clip that is sent in pieces: what is never found is not kept for ever.
_LONGEST_UNKNOWN = 1000


class SpokenText:
    """Maps the audio of one utterance onto the text that was sent for it.

    Malformed alignments are passed over; nothing here raises because of what the service sent.

    Attributes:
        received_ms: The audio received, in milliseconds.
        aligned_ms: Until when the alignments so far tell what is heard, in milliseconds; the audio itself may still
            come.
        told_more: Whether the last message told when more of the text is heard.
        lost_audio: Whether a clip ended before its times did: some of the words before the last ones were not heard.
    """

    __slots__ = (
        "_base_ms", "_broken_off", "_dialogue", "_ended", "_estimates", "_held_back_ms", "_in_messages", "_sent",
        "_timed", "_unknown", "_valid_ms", "aligned_ms", "lost_audio", "received_ms", "told_more",
    )  # fmt: skip

    def __init__(
        self,
        *,
        dialogue: bool = False,
        in_messages: bool = True,
        held_back_ms: float = 0.0,
        characters_a_second: float = CHARACTERS_A_SECOND,
        origin: Origin | None = None,
    ) -> None:
        """Begin an utterance.

        Args:
            dialogue: Every message has times of its own, which count from its first sample.
            in_messages: What comes with the times of a dialogue is all the audio that they are of; an answer over HTTP
                may have been cut anywhere, and only its end tells that it was not.
            held_back_ms: So much of the audio of a clip may come with the next one.
            characters_a_second: How fast it is spoken, as far as that is known before its end.
            origin: What `words` counts from, if not from the beginning of this text and of its audio.
        """
        self.received_ms: float = 0.0
        self.aligned_ms: float = 0.0
        self.told_more: bool = False
        self.lost_audio: bool = False
        self._ended = False  # the service said so: this is all of its audio
        self._dialogue = dialogue
        self._in_messages = in_messages
        self._held_back_ms = held_back_ms
        self._sent = SentText()
        self._timed = TimedWords(self._sent, origin or Origin())
        self._estimates = EstimatedWords(self._sent, origin or Origin(), characters_a_second)
        self._valid_ms = math.inf  # where a part of the audio is missing; what came after that counts for nothing
        # What the times of the clip count from, where they end so far, and whether they broke off, so that the next
        # alignment goes on with them.
        self._base_ms: float | None = None
        self._broken_off = False
        self._unknown: Sequence[Glyph] = ()  # the end of a reading that broke off, not yet found in the text

    def sent(self, phrase: str) -> None:
        """Note a phrase that left, in order. A word never continues in the next phrase."""
        self._sent.add(phrase)

    # How a message is placed. A message does not say where its characters stand in the text, nor where in the audio its
    # times begin. Both are found in these steps:
    #
    # 0. Mostly its characters are the next ones of the text, which one comparison of strings shows. Then steps 1 and 2
    #    are done, and its words are computed when they are asked for (`timed_words.py`).
    # 1. The alignment is read (`readings.py`). If the message before broke off, its characters that were not found in
    #    the text are put before this one's: "сорок д" is not found where the text has "42", but "сорок два" is.
    # 2. Its place in the text is searched (`sent_text.py`): after the aligned text, or where a later phrase begins.
    # 3. If the clip before broke off and the place is the next one, the message continues that clip. Otherwise a new
    #    clip begins with the audio of this message, and the clip before has ended. The end of its last letter then
    #    shows whether a part of its audio is missing; if so, the audio from here on is not delivered (`lost_audio`).
    # 4. Its times get their zero in the audio: that of the times before, the end of the times before, or the beginning
    #    of the clip (`_base_for`).
    # 5. Its words get their times. A word is heard when the audio has come up to its end.
    # 6. If it broke off inside of a phrase, or was not found whole, the next message continues it.

    def received(self, ms: float, message: AudioReceived) -> None:
        """Note one audio message; `ms` is how much audio it carried, in milliseconds."""
        begins_ms = self.received_ms
        self.received_ms += ms
        self.told_more = False
        if self.lost_audio:
            return
        source = message.alignment
        if source is not None and not self._unknown and is_well_formed(source):
            said = "".join(source.chars)
            cursor = self._sent.end_of(said)
            if cursor is not None:
                self._go_on(source, cursor, begins_ms)
                return
            if said.isspace() and is_blank(message):  # a pause; of telephony's messages of 20 ms many are one
                self._broken_off = False
                return
            if self._sent.repeats(said):  # else it may be taken for another reading of a later phrase
                return
        self._look_for(source, message.normalized_alignment, begins_ms)

    def _go_on(self, source: Alignment, cursor: int, begins_ms: float) -> None:
        """Take times of the next characters of the text."""
        continues = self._broken_off and not self._dialogue
        base_ms = self._base_for(source.starts_ms[0], begins_ms, continues=continues)
        if base_ms != self._base_ms and not (continues or self._begin_clip(begins_ms)):
            return
        self._base_ms = base_ms
        self.aligned_ms = base_ms + (source.starts_ms[-1] + source.durations_ms[-1])
        self._timed.note(source, self._sent.cursor, base_ms)
        self.told_more = self._sent.align(cursor)
        self._broken_off = not source.chars[-1][-1].isspace() and self._sent.is_inside_phrase
        if self._dialogue:
            self._end_message()

    def _look_for(self, alignment: Alignment | None, normalized: Alignment | None, begins_ms: float) -> None:
        """Take times of which it is not known what text they are of."""
        source, read = read_alignment(alignment), read_alignment(normalized)
        said = read or source
        if said is None:
            return
        continues = self._broken_off and not self._dialogue
        if self._unknown:
            base_ms = self._base_for(said.start_ms, begins_ms, continues=continues)
            said = said.after([glyph.later(-base_ms) for glyph in self._unknown])
        place = self._sent.locate(source, said, may_pass=begins_ms > self._timed.heard_ms)
        if place is not None:
            begun_before = bool(self._unknown) and place.reading is said
            continues = continues and (begun_before or place.first == self._sent.word)
            said = place.reading
        self._broken_off = not said.ends_in_blank
        self._unknown = ()
        if place is None and not self._broken_off:
            return
        base_ms = self._base_for(said.start_ms, begins_ms, continues=continues)
        if base_ms != self._base_ms and not (continues or self._begin_clip(begins_ms)):
            return
        self._base_ms = base_ms
        self.aligned_ms = base_ms + said.end_ms
        if place is not None:
            self._timed.record(place, base_ms, passed=place.first > self._sent.word)
            self.told_more = self._sent.align(place.cursor)
            self._broken_off = self._broken_off and (self._sent.is_inside_phrase or place.known < len(said.glyphs))
        if self._broken_off:
            known = place.known if place else 0
            self._unknown = [glyph.later(base_ms) for glyph in said.glyphs[known:][-_LONGEST_UNKNOWN:]]
        if self._dialogue:
            self._end_message()

    def _begin_clip(self, ms: float) -> bool:
        """Begin a clip with the audio from here on; False: some of the clip before is lost, and this is not valid."""
        if self._timed.begin_clip(ms, self._held_back_ms, _OVERRUN if self._dialogue else 0.0):
            return True
        self._valid_ms = ms
        self.lost_audio = True
        return False

    def _end_message(self) -> None:
        """Let the clip of a dialogue end with its message."""
        if self._in_messages and not self._timed.are_missing(self.received_ms, 0.0, _OVERRUN):
            self._timed.end_clip(self.received_ms)

    def final(self) -> None:
        """Note that the service said that all is spoken."""
        self._timed.end(self.received_ms)
        self._estimates.end(self.received_ms)
        self._ended = True
        self._sent.align(len(self._sent.text))
        self._base_ms = None
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
        return self._estimates.until(self.received_ms) if self.estimated else self._timed.until(self._heard_ms)

    @property
    def covered(self) -> int:
        """How many characters of the text are aligned, whether or not all their audio came; it never shrinks."""
        return self._sent.covered

    @property
    def to_come(self) -> int:
        """How many characters of the text are not aligned."""
        return len(self._sent.text) - self._sent.covered

    @property
    def is_covered(self) -> bool:
        """Whether nothing is to be heard behind what is aligned."""
        return self._sent.is_covered

    @property
    def estimated(self) -> bool:
        """Whether there is audio, and no word has a time."""
        return self.received_ms > 0 and not self._timed

    def rate(self) -> float | None:
        """How fast it was spoken, in characters a second, if all its audio came."""
        return 1000 * len(self._sent.text) / self.received_ms if self._ended and self.received_ms else None

    def lacks_audio(self, *, strictly: bool) -> bool:
        """Whether audio is still to come for the words that have times.

        Args:
            strictly: The service said that this was all; else, unless in doubt.
        """
        held_back_ms = 0.0 if strictly else self._held_back_ms
        share = _OVERRUN if self._dialogue or not strictly else 0.0
        return self.lost_audio or self._timed.are_missing(self.received_ms, held_back_ms, share)

    def times_of(self, start: int, end: int) -> Sequence[tuple[float, float]] | None:
        """When each character of a part of the text begins and ends, as the service sent it; None if it did not."""
        return self._timed.times_of(start, end)

    def spoken(self, until_ms: float) -> str:
        """The text whose words had ended by a time in the audio: the beginning of `text`, in whole words."""
        return self._sent.text[: self.spoken_characters(until_ms)]

    def spoken_characters(self, until_ms: float) -> int:
        """How long that text is."""
        return self._reached(until_ms).offset

    def letters(self, offset: int) -> int:
        """How many characters of `text` before an offset are no blanks."""
        return self._sent.letters(offset)

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
        if self.estimated and not (self._ended and delivered_ms >= self.received_ms):
            reached = Reached(reached.offset, delivered_ms)
            following = next((at for at in reversed(range(following)) if self._sent.is_spoken(at)), 0)
        starts = self._sent.starts
        while following < len(starts) and not self._sent.is_spoken(following):
            following += 1
        offset = starts[following] if following < len(starts) else len(self._sent.text)
        return offset, min(reached.ms, delivered_ms)

    @property
    def _heard_ms(self) -> float:
        return min(self.received_ms, self._valid_ms)

    def _reached(self, until_ms: float) -> Reached:
        ms = min(until_ms, self._heard_ms) + ROUNDING_MS
        timed = self._timed.reached(ms, self._heard_ms)
        if self.estimated:
            estimated = self._estimates.reached(ms)
            return estimated if estimated.offset > timed.offset else timed
        return timed

    def _base_for(self, start_ms: float, begins_ms: float, *, continues: bool) -> float:
        """What the times of a message count from, which begins to count at `start_ms`."""
        expected_ms = self.aligned_ms if continues else begins_ms
        if self._base_ms is not None and abs(self._base_ms + start_ms - expected_ms) < start_ms:
            return self._base_ms  # they run on
        # A character may reach into the next message, whose own times begin behind it: none is between the two.
        return expected_ms - start_ms if continues else expected_ms
