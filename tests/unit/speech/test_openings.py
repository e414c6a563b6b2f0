"""Which clips are kept: those that are certain to be a whole phrase, of phrases that two conversations sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import make_config
from tts_trio.speech.openings import LONGEST, OpeningRecorder, SentBefore
from tts_trio.speech.segments import Segments
from tts_trio.wire.events import Alignment, AudioReceived

OPENINGS = {"en": ("One moment, please. ", "I am looking. "), "ru": ("Одну минуту, пожалуйста. ", "Сейчас посмотрю. ")}
STEP = 60  # milliseconds of a character
MS = 8  # bytes of ulaw_8000

every_language = pytest.mark.parametrize("language", OPENINGS)


@attrs.define
class Wanted:
    """Wants every phrase, or those that are named, and notes what it gets."""

    phrases: Sequence[str] | None = None
    asked: list[str] = attrs.field(factory=list)
    kept: dict[str, list[AudioReceived]] = attrs.field(factory=dict)

    def recall(self, phrase: str) -> Sequence[AudioReceived] | None:
        raise AssertionError

    def wants(self, phrase: str) -> bool:
        self.asked.append(phrase)
        return self.phrases is None or phrase in self.phrases

    def keep(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        self.kept[phrase] = list(clip)


def timed(text: str, *, ms: int | None = None, sound: int = 1) -> AudioReceived:
    """A message with the times of a text, and its sound, or so many milliseconds of it."""
    starts = tuple(range(0, STEP * len(text), STEP))
    audio = bytes([sound]) * (MS * (STEP * len(text) if ms is None else ms))
    return AudioReceived(audio, Alignment(tuple(text), starts, (STEP,) * len(text)))


def untimed(ms: int, *, sound: int = 2) -> AudioReceived:
    return AudioReceived(bytes([sound]) * (MS * ms))


def blank(ms: int, *, start: int = 0, lasting: int | None = None) -> AudioReceived:
    """A message with the times of a blank, which may say that it lasts longer than its audio."""
    times = Alignment((" ",), (start,), (ms if lasting is None else lasting,))
    return AudioReceived(bytes([5]) * (MS * ms), times)


def recorder(wanted: Wanted, *phrases: str, recalled: int = 0, output_format: str = "ulaw_8000") -> OpeningRecorder:
    made = OpeningRecorder(make_config(output_format=output_format), wanted)
    for phrase in phrases:
        made.sent(phrase, recalled=recalled)
    return made


def kept(*messages: AudioReceived, phrases: Sequence[str], final: bool = False) -> dict[str, list[AudioReceived]]:
    wanted = Wanted()
    made = recorder(wanted, *phrases)
    for message in messages:
        made.received(message)
    if final:
        made.final()
    return wanted.kept


@every_language
def test_a_clip_has_ended_when_the_next_phrase_begins(language: str) -> None:
    first, second = OPENINGS[language]
    one, other = timed(first), timed(second)
    assert kept(one, phrases=[first, second]) == {}
    assert kept(one, other, phrases=[first, second]) == {first: [one]}
    assert kept(one, other, phrases=[first, second], final=True) == {first: [one], second: [other]}


@every_language
def test_a_clip_in_several_messages_is_kept_as_they_came(language: str) -> None:
    first, second = OPENINGS[language]
    whole = timed(first)
    head = attrs.evolve(whole, audio=whole.audio[: 300 * MS])
    rest = untimed(len(whole.audio) // MS - 300)
    cut = first.index(" ") + 1
    assert kept(head, rest, timed(second), phrases=[first, second]) == {first: [head, rest]}
    parts = [timed(first[:cut], sound=3), timed(first[cut:], sound=4)]
    assert kept(*parts, timed(second), phrases=[first, second]) == {first: parts}
    assert kept(*parts, untimed(33), phrases=[first], final=True) == {first: [*parts, untimed(33)]}


@every_language
@pytest.mark.parametrize(
    "case",
    [
        "the final before the last words",
        "other words",
        "too little audio",
        "a piece of the next clip at its end",
        "far more than a tail",
        "no times at all",
        "sound without times before it, as of a phrase before",
        "sound without times before it, though there is no other phrase",
        "sound without times behind it, though there is no other phrase",
        "the next clip is of no phrase that was sent",
        "the phrase after the next",
        "half a sample",
    ],
)
def test_what_is_not_certain_is_not_kept(language: str, case: str) -> None:
    first, second = OPENINGS[language]
    one, other = timed(first), timed(second)
    third = "Seven. "
    messages, phrases, final, format_ = {
        "the final before the last words": ([timed(first[:-6])], [first], True, "ulaw_8000"),
        "other words": ([timed("x" + first[1:]), other], [first, second], True, "ulaw_8000"),
        "too little audio": ([timed(first, ms=500), other], [first, second], False, "ulaw_8000"),
        "a piece of the next clip at its end": ([one, untimed(20), other], [first, second], True, "ulaw_8000"),
        "far more than a tail": ([one, untimed(400)], [first], True, "ulaw_8000"),
        "no times at all": ([untimed(2000)], [first], True, "ulaw_8000"),
        "sound without times before it, though there is no other phrase": (
            [untimed(60), one],
            [first],
            True,
            "ulaw_8000",
        ),
        "sound without times behind it, though there is no other phrase": (
            [one, untimed(60)],
            [first],
            True,
            "ulaw_8000",
        ),
        "sound without times before it, as of a phrase before": (
            [untimed(STEP * len(first)), timed(first), other],
            [first, first, second],
            False,
            "ulaw_8000",
        ),
        "the next clip is of no phrase that was sent": ([one, timed("Boo! ")], [first, second], False, "ulaw_8000"),
        "the phrase after the next": ([one, timed(third)], [first, second, third], True, "ulaw_8000"),
        "half a sample": ([attrs.evolve(one, audio=one.audio * 2 + b"\0")], [first], True, "pcm_8000"),
    }[case]
    wanted = Wanted()
    made = recorder(wanted, *phrases, output_format=format_)
    for message in messages:
        made.received(message)
    if final:
        made.final()
    assert wanted.kept == {}
    assert set(wanted.asked) == set(phrases)


@every_language
@pytest.mark.parametrize("final", [False, True])
def test_the_times_of_a_blank_stand_for_no_more_than_its_audio(language: str, final: bool) -> None:
    """Whatever they say: what came behind it without times may be of another phrase."""
    first, second = OPENINGS[language]
    spoken = timed(first.strip())
    begins = STEP * len(first.strip())
    phrases, following = ([first], []) if final else ([first, second], [timed(second)])
    for messages, is_kept in (
        ([spoken, blank(50, start=begins)], True),
        ([spoken, blank(50, start=begins), untimed(700)], False),
        ([spoken, blank(20, start=begins, lasting=1000), untimed(900)], False),
        ([spoken, blank(20, start=begins, lasting=1000), untimed(60)], False),
    ):
        whole = {first: messages} if is_kept else {}
        assert kept(*messages, *following, phrases=phrases, final=final) == whole


@every_language
@pytest.mark.parametrize("final", [False, True])
def test_the_silence_of_a_keep_alive_is_of_no_clip(language: str, final: bool) -> None:
    """A clip begins behind it, and has ended before it. The blank at the end of the phrase may be a message too."""
    first, second = OPENINGS[language]
    one, other, silence = timed(first), timed(second), blank(60)
    cut = first.index(" ") + 1
    stripped = timed(first.strip())
    for messages, clips in (
        ([silence, one, silence, silence, other, silence], {first: [one], second: [other]}),
        ([one, silence, untimed(900), other], {first: [one]}),
        ([one, blank(20, lasting=1000), untimed(900), other], {first: [one]}),
        ([stripped, blank(60), silence, other, silence], {first: [stripped, blank(60)], second: [other]}),
        ([timed(first[:cut]), silence, timed(first[cut:]), other], {}),
    ):
        assert kept(*messages, phrases=[first, second], final=final) == clips


@every_language
@pytest.mark.parametrize("final", [False, True])
def test_a_sound_without_times_in_the_middle_of_a_clip_is_not_kept(language: str, final: bool) -> None:
    """The times before it end, and those behind it begin anew, so that it is of none of the words."""
    first, second = OPENINGS[language]
    cut = first.index(" ") + 1
    head, rest = timed(first[:cut]), timed(first[cut:])
    stripped = timed(first[: cut - 1])
    begun = attrs.evolve(head, audio=head.audio[: 100 * MS])
    for messages, is_kept in (
        ([head, rest], True),
        ([begun, untimed(STEP * cut - 100), rest], True),
        ([stripped, blank(60), rest], True),
        ([head, untimed(700), rest], False),
        ([begun, untimed(STEP * cut - 40), rest], False),
        ([stripped, blank(60, lasting=900), untimed(700), rest], False),
    ):
        whole = {first: messages} if is_kept else {}
        wanted = kept(*messages, timed(second), phrases=[first, second], final=final)
        assert {phrase: clip for phrase, clip in wanted.items() if phrase == first} == whole


@every_language
@pytest.mark.parametrize("final", [False, True])
def test_of_a_dialogue_each_message_has_times(language: str, final: bool) -> None:
    """They may last longer than their audio, so that a piece of another clip would not make it too long."""
    first, second = OPENINGS[language]
    lasting = STEP * len(first)
    for pieces, is_kept in (
        ([timed(first, ms=lasting - 60)], True),
        ([timed(first, ms=lasting - 60), untimed(40)], False),
    ):
        wanted = Wanted()
        config = make_config("text-to-dialogue", output_format="ulaw_8000")
        made = OpeningRecorder(config, wanted)
        made.sent(first, recalled=0)
        if not final:
            made.sent(second, recalled=0)
        for piece in pieces if final else [*pieces, timed(second)]:
            made.received(piece)
        if final:
            made.final()
        assert (first in wanted.kept) == is_kept


@every_language
def test_a_lost_connection_keeps_what_had_ended_before(language: str) -> None:
    """The clip that was coming is not kept, as its end was not seen."""
    first, second = OPENINGS[language]
    assert list(kept(timed(first), timed(second), phrases=[first, second])) == [first]


def test_mp3_is_kept_only_as_a_whole_stream() -> None:
    """An encoder holds back the end of a clip until the next one: between two of them its bytes are not cut."""
    first, second = OPENINGS["en"]
    wanted = Wanted()
    made = recorder(wanted, first, second, output_format="mp3_44100_128")
    made.received(timed(first))
    made.received(timed(second))
    made.final()
    assert wanted.kept == {}


@every_language
def test_only_the_first_three_phrases_are_openings_and_short_ones(language: str) -> None:
    first, second = OPENINGS[language]
    wanted = Wanted()
    recorder(wanted, first, second, first, second, first)
    assert wanted.asked == [first, second, first]
    for recalled in range(5):
        wanted = Wanted()
        recorder(wanted, first, second, first, second, first, recalled=recalled)
        assert wanted.asked == [first, second, first][: max(0, 3 - recalled)]
    wanted = Wanted()
    recorder(wanted, "x" * LONGEST + " ", "x" * (LONGEST + 1) + " ")
    assert wanted.asked == ["x" * LONGEST + " "]


def test_a_phrase_behind_one_that_is_not_wanted_is_not_kept() -> None:
    """It is said from memory only behind one that is. It counts: in the next reply that one may be kept."""
    first, second = OPENINGS["en"]
    for phrases, asked in (((second,), []), ((first,), [first])):
        wanted = Wanted(phrases)
        made = recorder(wanted, first, second)
        made.received(timed(first))
        made.received(timed(second))
        made.final()
        assert list(wanted.kept) == asked
        assert wanted.asked == [first, second]


@every_language
@pytest.mark.parametrize("connections", [0, 1, 2])
def test_whether_a_reply_begins_from_memory(language: str, connections: int) -> None:
    """Whichever connections were there before its first phrase, and were lost."""
    opening, _ = OPENINGS[language]
    segments = Segments(make_config(output_format="ulaw_8000"), in_messages=True)
    for _ in range(connections):
        segments.begin()
    assert not segments.begins_from_memory
    assert segments.recall(opening, [timed(opening)])
    assert segments.begins_from_memory


@every_language
def test_a_phrase_counts_when_two_conversations_sent_it(language: str) -> None:
    first, second = OPENINGS[language]
    sent = SentBefore()
    one, other = sent.begin(), sent.begin()
    assert not sent.note(first, one)
    assert not sent.note(first, one)
    assert not sent.note(second, other)
    assert sent.note(first, other)
    assert sent.note(first, one)
    assert first in sent


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=80))
def test_the_hashes_are_limited_and_nothing_is_common_that_one_conversation_sent(
    notes: list[tuple[int, int]],
) -> None:
    sent = SentBefore(most=8)
    senders: dict[int, set[int]] = {}
    for phrase, conversation in notes:
        senders.setdefault(phrase, set()).add(conversation)
        if sent.note(str(phrase), conversation):
            assert len(senders[phrase]) > 1
        assert sum(str(phrase) in sent for phrase in range(13)) <= 8


@attrs.frozen
class Stream:
    """Phrases, their clips of one byte each, and messages of these, cut anywhere; some have lost their times."""

    phrases: list[str]
    clips: list[bytes] = attrs.field(repr=False)
    messages: list[AudioReceived]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    phrases = draw(
        st.lists(st.sampled_from([each for pair in OPENINGS.values() for each in pair]), min_size=1, max_size=4)
    )
    clips: list[bytes] = []
    messages: list[AudioReceived] = []
    for number, phrase in enumerate(phrases, 1):
        whole_ms = STEP * len(phrase)
        cuts = draw(st.sets(st.integers(1, whole_ms // 10 - 1), max_size=6).map(sorted))
        borders = [0, *(10 * cut for cut in cuts), whole_ms]
        times_first = draw(st.booleans())
        clips.append(bytes([number]) * (MS * whole_ms))
        for begin, end in pairwise(borders):
            first, last = -(-begin // STEP), -(-end // STEP)  # the characters that begin in it
            if times_first:
                first, last = (0, len(phrase)) if begin == 0 else (0, 0)
            starts = tuple(STEP * at - begin for at in range(first, last))
            times = Alignment(tuple(phrase[first:last]), starts, (STEP,) * len(starts)) if starts else None
            lost = draw(st.sampled_from([False] * 12 + [True]))
            messages.append(AudioReceived(bytes([number]) * (MS * (end - begin)), None if lost else times))
    return Stream(phrases, clips, messages)


@given(streams(), st.booleans())
@settings(max_examples=300)
def test_whatever_the_messages_a_kept_clip_is_its_phrases_own(stream: Stream, ended: bool) -> None:
    """All of it, and not a sample of another one's; a phrase that is said twice may have either clip."""
    for phrase, clip in kept(*stream.messages, phrases=stream.phrases, final=ended).items():
        own = [stream.clips[at] for at, sent in enumerate(stream.phrases) if sent == phrase]
        assert b"".join(message.audio for message in clip) in own
