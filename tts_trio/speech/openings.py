"""Openings: the first phrases of replies, whose clips are kept, and said again from memory.

Agents begin alike ("Sure, let me check that for you."). Under `auto_mode` every phrase is a clip of its own, so the
clip of a phrase that was spoken before is as good as a new one. Here it is decided which clips may be kept:

- **The clip is certain.** Nothing in the audio says where a clip ends; the times of the characters do. The clip of a
  phrase is the messages whose characters are, one after another, those of the phrase, blanks aside. It has ended when
  the next message with times begins the next phrase, or when the final has come. It is then tried by what will say it
  again: all words must have times, and there must be no sound before or between these, and none behind them but silence
  of the known length, since it may be of another phrase, or of something that nobody asked for. Where a message says
  anything else, no more is kept of this reply. The silence that a service may send for the blank of the first frame, or
  of a keep-alive, is of no clip. A clip of mp3 is kept only if its connection carried nothing else, as its encoder
  holds back the end of a clip until the next one.
- **The phrase is nobody's own.** It is kept only when it was sent in two conversations. Until then there is a hash of
  it and no text, and of a limited number of phrases. A phrase is short: names and numbers make it longer, and rarer.
- **It is of use.** What is said from memory begins with the first phrase, and is three phrases at most. So a phrase is
  kept only among the first three of a reply, behind others that are: those that were said from memory count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import Protocol

from tts_trio.config.audio_clock import WholeSamples
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.speech.segment import Segment
from tts_trio.speech.segments import Segments
from tts_trio.text.input import TextInput
from tts_trio.text.words import CHARACTERS_A_SECOND
from tts_trio.wire.events import AudioReceived

LONGEST = 60
"""The most characters of a phrase that is kept."""

MOST_PHRASES = 3
"""So many phrases at the beginning of a reply are its opening."""

_MOST_HASHES = 4096  # of phrases that were sent in one conversation: some 600 KB

# The service ends the audio of a connection with 9 to 33 ms of silence without times (wire/README.md, 2.5). Between two
# clips there is none: the audio of the text-to-speech models is as long as its times.
_LONGEST_TAIL_MS = 50.0
_LONGEST_MP3_TAIL_MS = 300.0  # with what its encoder held back of each message, 200 ms at 22 kHz, and the last frame
_ROUNDED_MS = 5.0

# What follows an opening is heard when it is written and answered. A clip that is over before is followed by silence.
_FOLLOWING = 65  # characters, which most phrases behind an opening do not have
_ANSWER = 0.15  # seconds, of a service with a round trip of 75 ms


class Openings(Protocol):
    """The openings that a reply can say from memory, and to which it adds its own. None of it blocks."""

    def recall(self, phrase: str) -> Sequence[AudioReceived] | None:
        """Return the clip of a phrase as it was received, or None."""
        ...

    def wants(self, phrase: str) -> bool:
        """Note that a phrase is sent; tell whether its clip is to be kept."""
        ...

    def keep(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        """Keep the clip of a phrase."""
        ...


def is_short(phrase: str) -> bool:
    """Whether a phrase may be kept by its length."""
    return len(phrase.strip()) <= LONGEST


def recall(openings: Openings, text: TextInput, segments: Segments, *, since: float, connected: bool) -> bool:
    """Say from memory the phrases that can be, up to the first one that cannot.

    They cost nothing and are few, so that `max_lead` does not hold them back. The phrases after them go over the
    connection as if nothing had been said yet; what was said is their lead. Text that is not yet a phrase is one if it
    ends with a mark, and can be said from memory.

    Args:
        openings: The openings.
        text: The text whose phrases are said.
        segments: The audio, to which theirs is added.
        since: When the first text came.
        connected: Whether a connection is in use. It has said nothing, and goes on after them.

    Returns:
        Whether the opening is over: three phrases were said, or there is one that cannot be said from memory.
    """
    while segments.recalled < MOST_PHRASES:
        phrase = text.phrases[0] if text.phrases else text.whole()
        clip = openings.recall(phrase) if phrase else None
        if clip is None or not segments.recall(phrase, clip, lasting=_least_seconds(phrase, text, segments, since)):
            return bool(text.phrases)
        if not text.phrases:
            text.end_whole()
        text.next_phrase()
        if connected:
            segments.begin()
    return True


def _least_seconds(phrase: str, text: TextInput, segments: Segments, since: float) -> float:
    """Return how long the clip of the first phrase must last, so that the next one is heard before it is over.

    The next phrase is taken to be written at the pace of the first one. Where an LLM is too slow for a short clip, the
    whole is better spoken by the service than in two parts with silence between them.
    """
    if segments.recalled or text.closed or len(text.phrases) > 1:
        return 0.0
    return _ANSWER + (text.last_text - since) / len(phrase) * _FOLLOWING


class SentBefore:
    """The phrases that were sent, by their hashes, and whether two conversations sent them."""

    def __init__(self, most: int = _MOST_HASHES) -> None:
        """Begin without any.

        Args:
            most: The most hashes. Above it, those that were sent longest ago are forgotten.
        """
        self._most = most
        self._senders: OrderedDict[str, int | None] = OrderedDict()  # the only conversation, or None for several
        self._conversations = count()

    def begin(self) -> int:
        """Return the number of a new conversation."""
        return next(self._conversations)

    def __contains__(self, digest: str) -> bool:
        return digest in self._senders

    def note(self, digest: str, conversation: int) -> bool:
        """Note that a conversation sent a phrase; return whether two of them have."""
        sender = self._senders.pop(digest, conversation)
        self._senders[digest] = sender = conversation if sender == conversation else None
        while len(self._senders) > self._most:
            self._senders.popitem(last=False)
        return sender is None


class OpeningRecorder:
    """Finds the clips of the first phrases that go over a connection, and offers those that are certain."""

    def __init__(self, config: TTSConfig, openings: Openings) -> None:
        """Begin with a fresh connection, over which nothing was sent.

        Args:
            config: The configuration of the reply.
            openings: What is asked for each phrase, and is given its clip.
        """
        self._config = config
        self._openings = openings
        self._sent: list[str] = []
        self._wanted = 0  # so many of the first of them are wanted
        self._over = False  # whether nothing more can be kept
        self._ended = 0  # how many clips have ended
        self._said = ""  # the characters of the clip that is coming, without blanks
        self._clip: list[AudioReceived] = []
        self._ends_in_blank = False  # whether the last times that came are of a blank at last

    def sent(self, phrase: str, *, recalled: int) -> None:
        """Note a phrase that is sent, and how many were said from memory before."""
        number = len(self._sent)
        if self._over or recalled + number > MOST_PHRASES:
            return
        self._sent.append(phrase)
        is_first = recalled + number < MOST_PHRASES
        if is_first and is_short(phrase) and self._openings.wants(phrase) and self._wanted == number:
            self._wanted += 1

    def received(self, event: AudioReceived) -> None:
        """Take a message with audio."""
        if self._over or not self._wanted:
            return
        times = event.alignment
        text = "" if times is None else "".join(times.chars)
        said = _letters(text)
        if said and self._is_whole:
            self._end_clip(is_last=False, following=said)
        elif text.isspace() and not self._takes_blank():
            return
        if self._over:
            return
        self._said += said
        self._clip.append(event)
        if text:
            self._ends_in_blank = text[-1].isspace()
        if not self._expected.startswith(self._said):
            self._give_up()

    def _takes_blank(self) -> bool:
        """Whether a message whose characters are all blanks is of the clip that is coming.

        The service times one blank for each run of them, so that behind another blank it is a clip of its own.
        """
        if not self._said:
            return self._config.format.sample_bytes is None  # mp3, of which nothing can be cut off
        if not self._ends_in_blank:
            return True
        if self._is_whole:
            self._end_clip(is_last=False)
        else:
            self._give_up()
        return False

    def final(self) -> None:
        """Note that all audio of the connection has come."""
        is_last = self._ended == len(self._sent) - 1
        if self._wanted and not self._over and is_last and self._is_whole:
            self._end_clip(is_last=True)
        self._give_up()

    @property
    def _expected(self) -> str:
        """The characters of the phrase whose clip is coming, without blanks."""
        return _letters(self._sent[self._ended]) if self._ended < len(self._sent) else ""

    @property
    def _is_whole(self) -> bool:
        """Whether all characters of that phrase have come."""
        return bool(self._said) and self._said == self._expected

    def _end_clip(self, *, is_last: bool, following: str = "") -> None:
        """Offer the clip that has ended, and begin the next one, of which a message says the first characters."""
        phrase = self._sent[self._ended]
        clip, self._clip, self._said = self._clip, [], ""
        self._ended += 1
        is_alone = is_last and self._ended == 1  # its connection carried nothing else
        if not is_alone and self._config.format.sample_bytes is None:
            self._give_up()
        elif not self._expected.startswith(following) or not self._is_certain(phrase, clip, is_last=is_last):
            self._give_up()  # what is not certain here makes the next clip uncertain, whose beginning it may be
        else:
            self._openings.keep(phrase, clip)
            if self._ended == self._wanted:
                self._give_up()

    def _is_certain(self, phrase: str, clip: Sequence[AudioReceived], *, is_last: bool) -> bool:
        trial = Segment(self._config, None, 0.0, CHARACTERS_A_SECOND, in_messages=True)
        trial.send(phrase)
        spoken = trial.spoken
        samples = WholeSamples(self._config.format)
        each_is_timed = websocket_endpoint(self._config) == "text-to-dialogue"  # and its times may outlast its audio
        between_ms = _LONGEST_MP3_TAIL_MS if self._config.format.sample_bytes is None else _ROUNDED_MS
        is_timed = False
        blanks_ms = 0.0  # how much audio came with the times of blanks alone, which tell no place in the text
        untimed_ms = 0.0  # and how much behind all times
        for event in clip:
            samples.feed(event.audio)
            is_timed = event.alignment is not None or (is_timed and not each_is_timed)
            aligned_ms = spoken.aligned_ms
            _, seconds = trial.receive(event)
            if seconds and not is_timed:
                return False
            if spoken.aligned_ms > aligned_ms:
                if untimed_ms > between_ms:
                    return False
                blanks_ms = 0.0
            elif event.alignment is not None and not _letters("".join(event.alignment.chars)):
                blanks_ms += 1000 * seconds
            untimed_ms = spoken.received_ms - spoken.aligned_ms - blanks_ms
        if samples.held or trial.finish() is not None:
            return False
        return untimed_ms <= (max(between_ms, _LONGEST_TAIL_MS) if is_last else between_ms)

    def _give_up(self) -> None:
        self._over = True
        self._clip.clear()


def _letters(text: str) -> str:
    return "".join(text.split())
