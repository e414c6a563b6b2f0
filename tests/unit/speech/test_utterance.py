"""The state machine of an utterance by itself: no clock, no socket, and any order of events."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers import TEXTS, make_config
from tts_trio import (
    EmptyAudioError,
    PhrasePolicy,
    QuotaError,
    ServiceTimeoutError,
    TextTimeoutError,
    Timeouts,
    TTSConnectionError,
    TTSError,
)
from tts_trio.speech.utterance import Utterance
from tts_trio.text.input import whole_text
from tts_trio.text.transforms import markdown
from tts_trio.wire.events import Alignment, AudioReceived, Final

SAMPLES_A_SECOND = 16000
LOST = TTSConnectionError("lost")
SENTENCES = {"en": "Good morning to you. How can I help?", "ru": "Доброе утро вам. Чем могу помочь?"}
every_language = pytest.mark.parametrize("language", SENTENCES)


class WholePhrases:
    """Phrases that end with the text, or with a full stop and a blank."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        *phrases, self._text = re.split(r"(?<=\. )", self._text + token)
        return phrases

    @property
    def pending(self) -> str:
        return self._text

    def deadline(self) -> None:
        return None

    def expire(self, now: float) -> list[str]:
        return []

    def close(self) -> list[str]:
        return [self._text] if self._text else []


def whole_phrases() -> WholePhrases:
    return WholePhrases()


def silence(seconds: float) -> AudioReceived:
    """A message without times."""
    return AudioReceived(bytes(2 * round(seconds * SAMPLES_A_SECOND)))


def clip(text: str, ms: int = 100) -> AudioReceived:
    """A message that says this text, each character in so many milliseconds."""
    times = tuple(range(0, ms * len(text), ms))
    alignment = Alignment(tuple(text), times, (ms,) * len(text))
    return AudioReceived(bytes(2 * len(text) * ms * SAMPLES_A_SECOND // 1000), alignment, alignment)


def started(text: str = "", *, complete: bool = True, now: float = 0.0, **changes: Any) -> tuple[Utterance, list[str]]:
    """An utterance with a connection and a text, and what it sent."""
    utterance = Utterance(make_config(**changes), now)
    utterance.connected()
    if text:
        utterance.accept(text, now)
    if complete:
        utterance.complete(now)
    return utterance, send(utterance, now)


def send(utterance: Utterance, now: float) -> list[str]:
    """What goes out now; "" is the end marker."""
    sent = utterance.phrases_to_send(now)
    return [*sent, ""] if utterance.end_to_send(now) else sent


def drain(utterance: Utterance, now: float) -> bytes:
    """All audio that waits."""
    return b"".join(iter(lambda: utterance.deliver(now), b""))


# One end.


@every_language
def test_it_finishes_by_its_final(language: str) -> None:
    """P1, P2."""
    text = SENTENCES[language]
    first, second = text[: text.index(".") + 1], text[text.index(".") + 2 :]
    utterance, sent = started(text)
    assert sent == [first + " "]
    utterance.receive(clip(first + " "), 0.1)
    assert send(utterance, 0.1) == [second + " ", ""]
    utterance.receive(clip(second + " "), 0.2)
    assert utterance.ended is None
    utterance.receive(Final(), 0.2)
    assert utterance.ended == "finished"
    assert utterance.outcome is None  # it was not heard yet
    assert utterance.timeline.ended == 0.2
    drain(utterance, 0.3)
    assert utterance.outcome is not None
    assert (utterance.outcome.spoken_text, utterance.outcome.unspoken_text) == (text, "")
    assert [word.text for word in utterance.segments.words] == text.split()
    assert utterance.deadline() == math.inf


def test_it_ends_once() -> None:
    """P1: whatever comes after its end changes nothing."""
    utterance, _ = started("Раз.")
    utterance.fail(LOST, 1.0)
    outcome = utterance.outcome
    for happens in (
        lambda: utterance.receive(clip("Раз. "), 2.0),
        lambda: utterance.receive(Final(), 2.0),
        lambda: utterance.lost(EmptyAudioError("again"), 2.0),
        lambda: utterance.fail(EmptyAudioError("again"), 2.0),
        lambda: utterance.interrupt(2.0),
        lambda: utterance.complete(2.0),
        lambda: utterance.connected(),
        lambda: utterance.expire(99.0),
    ):
        happens()
        assert utterance.outcome == outcome
        assert utterance.timeline.ended == 1.0
        assert send(utterance, 2.0) == []


def test_two_utterances_that_fail_for_one_reason_each_tell_their_own_text() -> None:
    reason = QuotaError("no more")
    for text in ("Раз.", "Two."):
        utterance, _ = started(text)
        utterance.lost(reason, 0.1)
        assert utterance.error is not None
        assert type(utterance.error) is QuotaError
        assert str(utterance.error) == str(reason)
        assert utterance.error.unspoken_text == text
    assert reason.unspoken_text == ""


def test_what_was_spoken_grows_with_what_is_delivered_after_a_failure() -> None:
    """P9: audio that had come is still delivered, and then the error is raised."""
    utterance, _ = started("Раз два. Три", on_lost_connection="raise")
    for piece in ("Раз ", "два. "):
        utterance.receive(clip(piece), 0.1)
    utterance.lost(LOST, 0.2)
    spoken: list[tuple[str, str]] = []
    while True:
        assert utterance.error is not None
        spoken.append((utterance.error.spoken_text, utterance.error.unspoken_text))
        if not utterance.deliver(0.3):
            break
    assert spoken[:3] == [("", "Раз два. Три"), ("Раз", " два. Три"), ("Раз два.", " Три")]


@pytest.mark.parametrize("text", ["", "… — !", "🙂"])
def test_for_nothing_to_speak_the_service_is_not_asked(text: str) -> None:
    """P3."""
    utterance, sent = started(text)
    assert sent == []
    assert utterance.ended == "finished"


@every_language
@pytest.mark.parametrize("error", [LOST, QuotaError("no more")])
def test_a_connection_lost_after_the_last_word_is_no_failure(language: str, error: TTSError) -> None:
    """P13: only the final is missing, so nothing is said again, and nothing is raised where losses are."""
    word = SENTENCES[language].split()[0] + "."
    utterance, _ = started(word, on_lost_connection="raise", max_replays=0)
    utterance.receive(clip(word + " "), 0.1)
    utterance.lost(error, 0.2)
    assert utterance.ended == "finished"
    assert drain(utterance, 0.2)
    assert utterance.outcome is not None
    assert (utterance.outcome.error, utterance.outcome.spoken_text) == (None, word)


@every_language
def test_a_connection_lost_before_the_text_was_closed_is_no_failure(language: str) -> None:
    """P13: all was said, so that no other connection is needed for the end."""
    text = SENTENCES[language].partition(".")[0] + ". "
    utterance, sent = started(text, complete=False, phrase_policy=whole_phrases)
    assert sent == [text]
    utterance.receive(clip(text), 0.1)
    utterance.lost(LOST, 0.2)
    assert not send(utterance, 0.2)
    assert utterance.ended is None  # more text may come
    utterance.complete(0.3)
    assert not send(utterance, 0.3)
    assert (utterance.ended, utterance.timeline.ended) == ("finished", 0.3)
    assert not send(utterance, 0.4)
    assert utterance.timeline.ended == 0.3
    drain(utterance, 0.4)
    assert utterance.outcome is not None
    assert (utterance.outcome.spoken_text, utterance.outcome.unspoken_text) == (text, "")


def test_audio_before_the_first_text_is_not_for_the_listener() -> None:
    """A clip of silence, which the service may make for its init frame and for keep-alives."""
    utterance, _ = started(complete=False)
    utterance.receive(silence(0.1), 0.1)
    assert not utterance.segments.waiting
    assert utterance.timeline.first_received is None


# Deadlines.


@every_language
def test_the_first_audio_is_owed_from_the_first_phrase_on(language: str) -> None:
    """P1, P5."""
    utterance, _ = started(now=10.0, complete=False)
    assert utterance.deadline() == 10 + 30  # the warning that no text comes
    utterance.accept(SENTENCES[language], 11.0)
    send(utterance, 11.0)
    assert utterance.deadline() < 12  # the phraser's
    utterance.complete(11.0)
    assert utterance.deadline() == 11 + 2
    assert utterance.expire(12.9) is None
    error = utterance.expire(13.0)
    assert isinstance(error, ServiceTimeoutError)
    assert utterance.replays.count == 1
    assert not utterance.has_connection
    utterance.connected()
    assert send(utterance, 13.5)
    assert utterance.deadline() == 13.5 + 2


def test_no_audio_is_owed_when_all_was_heard() -> None:
    """P5: the LLM pauses; nothing runs but the wait for its text."""
    patient = PhrasePolicy(patience_first=math.inf, patience_later=math.inf)
    utterance, sent = started("Раз. Д", complete=False, phrase_policy=patient)
    assert sent == ["Раз. "]
    utterance.receive(clip("Раз. "), 0.5)
    assert utterance.deadline() == 30
    assert utterance.expire(30.0) is None
    assert utterance.deadline() == 120
    utterance.accept("ва. Т", 100.0)
    assert send(utterance, 100.0) == ["Два. "]
    assert utterance.deadline() == 102


def test_a_stall_is_counted_from_the_last_audio_while_more_is_owed() -> None:
    """P5."""
    utterance, _ = started("Раз два три.")
    utterance.receive(clip("Раз "), 0.5)
    assert utterance.deadline() == 3.5
    utterance.receive(clip("два "), 3.0)
    assert utterance.deadline() == 6.0
    assert isinstance(utterance.expire(6.0), ServiceTimeoutError)
    utterance.connected()
    assert send(utterance, 6.0) == ["три. ", ""]


@every_language
@pytest.mark.parametrize("ms", [10, 100, 240])
def test_the_first_sound_is_in_time_however_short_it_is(language: str, ms: int) -> None:
    """P33: from then on a stall is counted, and of what follows only a quarter of a second is a sign of life."""
    utterance, sent = started(SENTENCES[language])
    first = announced(sent[0], ms / 120 / len(sent[0]))
    utterance.receive(first, 1.9)
    assert utterance.overdue_at() == 1.9 + 3
    utterance.receive(silence(0.249 - ms / 1000), 4.0)
    assert utterance.overdue_at() == 1.9 + 3
    utterance.receive(silence(0.1), 4.5)
    assert utterance.overdue_at() == 4.5 + 3


def test_the_reply_deadline_runs_over_lost_connections() -> None:
    """P1: computed from the configuration, however often it is lost."""
    utterance, _ = started("Раз.", max_replays=10, timeouts=Timeouts(reply=5.0))
    for now in (1.0, 2.0, 3.0, 4.0):
        utterance.lost(LOST, now)
        utterance.connected()
        send(utterance, now)
    assert utterance.deadline() == 5.0
    assert utterance.expire(5.0) is None
    assert isinstance(utterance.error, ServiceTimeoutError)


def test_text_that_never_comes() -> None:
    """P1: `timeouts.text`, counted from the last text."""
    utterance, _ = started(complete=False, timeouts=Timeouts(text=20.0))
    utterance.accept("…", 7.0)
    assert utterance.expire(26.9) is None
    assert utterance.ended is None
    utterance.expire(27.0)
    assert isinstance(utterance.error, TextTimeoutError)


def test_a_deadline_passes() -> None:
    """Whenever `expire` is called at `deadline`, something is done about it: a loop that does so comes to an end."""
    utterance, _ = started("Раз два. Три", complete=False)
    for _ in range(50):
        now = utterance.deadline()
        if now == math.inf:
            break
        utterance.expire(now)
        if not utterance.has_connection and utterance.ended is None:
            utterance.connected()
        send(utterance, now)
    assert utterance.ended == "failed"


# Backpressure.


def test_phrases_wait_while_the_audio_is_far_ahead() -> None:
    """Decision 6: nothing is sent above max_lead, until the listener has heard enough."""
    patient = PhrasePolicy(patience_first=math.inf, patience_later=math.inf)
    utterance, sent = started("Раз. Д", complete=False, max_lead=2.0, phrase_policy=patient)
    assert sent == ["Раз. "]
    utterance.receive(clip("Раз. ", 600), 0.0)  # 3 s
    utterance.accept("ва. Т", 0.0)
    assert send(utterance, 0.0) == []
    assert utterance.room_at() == math.inf  # nobody listens
    drain(utterance, 5.0)
    assert utterance.room_at() == 6.0
    assert utterance.deadline() == 6.0
    assert send(utterance, 5.9) == []
    assert send(utterance, 6.0) == ["Два. "]


# Over how many connections.


@every_language
def test_where_there_are_no_times_each_phrase_has_a_connection_of_its_own(language: str) -> None:
    """Only the final tells then where a phrase ends."""
    text = SENTENCES[language]
    utterance, sent = started(text)
    assert len(sent) == 1
    utterance.receive(silence(1.0), 0.1)
    assert send(utterance, 0.1) == [""]
    utterance.receive(Final(), 0.2)
    assert utterance.ended is None
    assert not utterance.has_connection
    utterance.connected()
    sent += send(utterance, 0.2)
    assert sent[-1] == ""
    assert "".join(sent) == text + " "
    utterance.receive(silence(1.0), 0.3)
    utterance.lost(LOST, 0.3)
    utterance.connected()
    assert send(utterance, 0.4) == sent[1:]  # and not the first one
    utterance.receive(silence(1.0), 0.5)
    utterance.receive(Final(), 0.5)
    assert utterance.ended == "finished"
    assert utterance.replays.count == 1


def test_a_dash_is_neither_said_again_nor_missing() -> None:
    utterance, _ = started("Да — нет.")
    utterance.receive(clip("Да "), 0.1)
    utterance.lost(LOST, 0.1)
    utterance.connected()
    assert send(utterance, 0.1) == ["нет. ", ""]
    utterance.receive(clip("нет. "), 0.2)
    utterance.receive(Final(), 0.2)
    drain(utterance, 0.3)
    assert utterance.outcome is not None
    assert utterance.outcome.spoken_text == "Да — нет."


def test_audio_that_is_not_heard_yet_is_cut_at_the_last_whole_word() -> None:
    """P13: what waits is trimmed, what was delivered is not."""
    utterance, _ = started("Раз два три.")
    utterance.receive(clip("Раз "), 0.1)
    utterance.receive(clip("два т"), 0.1)
    utterance.lost(LOST, 0.1)
    assert len(drain(utterance, 0.2)) == 7 * 3200
    utterance.connected()
    assert send(utterance, 0.2) == ["три. ", ""]
    utterance.receive(clip("три. "), 0.3)
    assert utterance.segments.words[-1].start_ms == 700


def test_whole_samples() -> None:
    """P21: a sample that straddles two messages, and one whose half was lost with its connection."""
    utterance, _ = started("Раз. Два.")
    sound = clip("Раз. ")
    utterance.receive(AudioReceived(sound.audio[:1001], sound.alignment), 0.1)
    assert len(utterance.deliver(0.1)) == 1000
    utterance.receive(AudioReceived(sound.audio[1001:-1]), 0.1)
    assert len(utterance.deliver(0.1)) == len(sound.audio) - 1002
    utterance.lost(LOST, 0.1)
    utterance.connected()
    send(utterance, 0.1)
    utterance.receive(clip("Раз. "), 0.2)
    assert len(utterance.deliver(0.2)) == len(sound.audio)


# Any order.


STEPS = st.sampled_from(
    [
        *("feed", "send", "send", "audio", "audio", "audio", "deliver", "deliver"),
        *("untimed", "lost", "final", "expire"),
    ]
)


@given(
    text=st.sampled_from([*TEXTS.values(), "Да — нет 🙂, ok."]),
    steps=st.lists(st.tuples(STEPS, st.integers(1, 30), st.floats(0, 3)), max_size=60),
    mode=st.sampled_from(["resume", "raise"]),
    last=st.sampled_from(["interrupt", "fail"]),
)
def test_spoken_and_unspoken_are_what_was_accepted(
    text: str, steps: list[tuple[str, int, float]], mode: str, last: str
) -> None:
    """P9, P13, P17: at any time, and over any number of connections."""
    utterance = Utterance(make_config(on_lost_connection=mode, max_replays=10), 0.0)
    accepted, wire, said, now = "", "", 0, 0.0
    for step, size, seconds in steps:
        now += seconds / 10
        if utterance.ended is not None:
            break
        if not utterance.has_connection:
            utterance.connected()
            wire, said = "", 0
        match step:
            case "feed" if len(accepted) < len(text):
                utterance.accept(text[len(accepted) : len(accepted) + size], now)
                accepted = text[: len(accepted) + size]
                if accepted == text:
                    utterance.complete(now)
            case "send":
                wire += "".join(send(utterance, now))
            case "audio" if said < len(wire):
                utterance.receive(clip(wire[said : said + size], 50), now)
                said += size
            case "untimed":
                utterance.receive(silence(seconds), now)
            case "deliver":
                utterance.deliver(now)
            case "lost":
                utterance.lost(LOST, now)
            case "final":
                utterance.receive(Final(), now)
            case "expire":
                utterance.expire(now)
            case _:
                pass
        whole = utterance.spoken(math.inf)
        assert accepted.startswith(whole)
        assert whole.startswith(utterance.spoken(100 * seconds))
    if last == "fail":
        utterance.fail(TTSError("over"), now)
    else:
        utterance.interrupt(now)
    while utterance.deliver(now):
        pass
    outcome = utterance.outcome
    assert outcome is not None
    assert outcome.spoken_text + outcome.unspoken_text == accepted
    assert all(text[word.start : word.end].strip() for word in utterance.segments.words)
    if utterance.error is not None:
        assert utterance.error.spoken_text + utterance.error.unspoken_text == accepted


@given(
    text=st.lists(
        st.sampled_from(
            ["**", "[", "]", "(", ")", "# ", "- ", "`", "\n", "Да", "yes", ", ", ". ", " ", "\ud83d", "\ude00", "7"]
        )
    ).map("".join),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    marks=st.booleans(),
    end=st.sampled_from(["interrupt", "fail", "lost", "text timeout"]),
)
@example(text="[Прислать вам сообщение, когда курьер", cuts=[], marks=True, end="interrupt")
@example(text="Hi \ud83d", cuts=[], marks=False, end="interrupt")
@example(text="**\ud83d", cuts=[], marks=True, end="interrupt")
def test_what_was_held_back_is_unspoken_when_it_is_over(text: str, cuts: list[int], marks: bool, end: str) -> None:
    """P38: text that a construct of Markdown, or half a character, kept from being sent was accepted all the same."""
    utterance = Utterance(
        make_config(transforms=(markdown(),) if marks else (), max_replays=0, timeouts=Timeouts(text=20.0)), 0.0
    )
    utterance.connected()
    borders = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    for begin, stop in itertools.pairwise(borders):
        utterance.accept(text[begin:stop], 0.0)
    send(utterance, 0.0)
    match end:
        case "interrupt":
            utterance.interrupt(0.1)
        case "fail":
            utterance.fail(LOST, 0.1)
        case "lost":
            utterance.lost(LOST, 0.1)
        case _:
            utterance.expire(20.0)
    assert utterance.ended is not None
    assert utterance.outcome is not None
    assert utterance.outcome.spoken_text + utterance.outcome.unspoken_text == whole_text(text)


# What came, and not what was announced.


def announced(text: str, share: float, ms: int = 120) -> AudioReceived:
    """A message with the times of all this text, and a share of its sound."""
    whole = clip(text, ms)
    return attrs.evolve(whole, audio=whole.audio[: round(len(whole.audio) / 2 * share) * 2])


def words_heard(text: str, share: float) -> str:
    """The words of `announced` whose last letter came."""
    came = round(len(text) * share, 6)
    return " ".join(word for word in text.split() if text.index(word) + len(word.rstrip(".,?!")) <= came)


SHARES = [0.02, 0.1, 0.3, 0.5, 0.75, 0.9]


@every_language
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("delivered", [True, False])
def test_a_final_with_a_part_of_the_audio_is_no_end(language: str, share: float, delivered: bool) -> None:
    """P2, P9, P13: the rest is said over the next connection, from the first word that was not heard whole."""
    first = {"en": "Hello, and thank you all. ", "ru": "Здравствуйте, спасибо за звонок! "}[language]
    utterance, sent = started(first)
    assert "".join(sent[:1]) == first
    utterance.receive(announced(first, share), 0.1)
    if delivered:
        drain(utterance, 0.1)
    utterance.receive(Final(), 0.2)
    assert (utterance.ended, utterance.has_connection, utterance.replays.count) == (None, False, 1)
    drain(utterance, 0.2)
    heard = words_heard(first, share)
    assert utterance.spoken(math.inf) == heard
    assert [word.text for word in utterance.segments.words] == heard.split()
    utterance.connected()
    rest = first[len(heard) :].lstrip()
    assert send(utterance, 0.3) == [rest, ""]
    utterance.receive(clip(rest), 0.4)
    utterance.receive(Final(), 0.4)
    assert utterance.ended == "finished"
    drain(utterance, 0.5)
    assert [word.text for word in utterance.segments.words] == first.split()


@every_language
@pytest.mark.parametrize("share", SHARES)
def test_half_of_an_answer_is_no_static_text(language: str, share: float) -> None:
    """P33: an answer that has begun is not asked for again, so this is a failure."""
    text = SENTENCES[language]
    utterance = Utterance(make_config(static_timestamps=True), 0.0, static=True)
    utterance.say(text, 0.0)
    utterance.connected()
    assert send(utterance, 0.0) == [text, ""]
    utterance.receive(announced(text, share), 0.1)
    drain(utterance, 0.1)
    utterance.receive(Final(), 0.2)
    assert isinstance(utterance.error, TTSConnectionError)
    assert utterance.error.spoken_text == words_heard(text, share)
    assert utterance.error.spoken_text + utterance.error.unspoken_text == text


@every_language
@pytest.mark.parametrize("max_replays", [1, 0])
def test_a_clip_without_its_end_before_the_next_one(language: str, max_replays: int) -> None:
    """P9, P13: what is said after a gap is not heard, and all is said again from the gap on, or by nobody."""
    text = SENTENCES[language]
    first, second = text[: text.index(".") + 2], text[text.index(".") + 2 :] + " "
    utterance, _ = started(text)
    utterance.receive(clip(first), 0.1)
    assert send(utterance, 0.1) == [second, ""]
    utterance, _ = started(text, max_replays=max_replays)
    utterance.receive(announced(first, 0.4), 0.1)
    assert send(utterance, 0.1) == [second, ""]
    utterance.receive(clip(second), 0.2)
    assert (utterance.has_connection, utterance.replays.count) == (False, max_replays)
    heard = words_heard(first, 0.4)
    assert len(drain(utterance, 0.2)) <= len(announced(first, 0.4).audio)
    if not max_replays:
        assert utterance.error is not None
        assert utterance.error.spoken_text == heard
        return
    utterance.connected()
    [rest] = send(utterance, 0.3)
    utterance.receive(clip(rest), 0.4)
    assert [rest, *send(utterance, 0.4)] == [first[len(heard) :].lstrip(), second, ""]


@every_language
@pytest.mark.parametrize("before", ["another phrase", "the end"])
@pytest.mark.parametrize("letter_ms", [35, 60, 120])
def test_a_letter_that_is_missing_is_said_again(language: str, before: str, letter_ms: int) -> None:
    """P13, P33: however long the phrase is, its last letter is heard before it counts as spoken."""
    long = ", ".join([SENTENCES[language].translate({ord("."): ",", ord("?"): ""})] * 3)
    first, second = long + ". ", "И дальше. "
    utterance, _ = started(first + second if before == "another phrase" else first, phrase_policy=whole_phrases)
    utterance.receive(announced(first, (len(long) - 1) / len(first), letter_ms), 0.1)
    if before == "another phrase":
        send(utterance, 0.1)
        utterance.receive(clip(second), 0.2)
    else:
        utterance.receive(Final(), 0.2)
    assert (utterance.has_connection, utterance.replays.count) == (False, 1)
    utterance.connected()
    assert send(utterance, 0.3)[0] == long.split()[-1] + ". "


@every_language
@pytest.mark.parametrize("letter_ms", [35, 60, 117])
def test_a_word_that_came_to_its_last_letter_is_not_said_again(language: str, letter_ms: int) -> None:
    """P13: though each letter came in a message of its own, and their sums are no whole milliseconds."""
    text = SENTENCES[language].replace(". ", ", ")
    for said in (match.end() for match in re.finditer(r"\w+", text)):
        utterance, _ = started(text, phrase_policy=whole_phrases)
        for letter in text[:said]:
            utterance.receive(clip(letter, letter_ms), 0.1)
        utterance.lost(LOST, 0.2)
        assert len(utterance.segments.words) == len(text[:said].split())
        utterance.connected()
        assert "".join(send(utterance, 0.3)) == text[said:].lstrip(",? ")


def test_times_that_were_announced_pay_no_debt() -> None:
    """P12: where their sound does not come, the connection stalls, though the LLM pauses."""
    patient = PhrasePolicy(patience_first=math.inf, patience_later=math.inf)
    utterance, _ = started("Раз, два, три. Д", complete=False, phrase_policy=patient)
    utterance.receive(announced("Раз, два, три. ", 0.3), 0.5)
    assert utterance.overdue_at() == 3.5
    utterance.receive(silence(1.2), 1.0)
    assert utterance.overdue_at() == 120


@pytest.mark.parametrize("sync_alignment", [True, False])
@every_language
def test_dialogue_times_may_be_longer_than_their_sound(language: str, sync_alignment: bool) -> None:
    """1,413 ms of times for 1,233 ms of sound; and the words of a message begin with its first sample."""
    utterance, sent = started(
        SENTENCES[language], endpoint="text-to-dialogue", model_id="eleven_v3_conversational",
        apply_text_normalization="off", sync_alignment=sync_alignment,
    )  # fmt: skip
    pieces = [sent[0][:8], sent[0][8:]] if sync_alignment else [sent[0]]
    began = 0.0
    for piece in pieces:
        utterance.receive(announced(piece, 1233 / 1413), 0.1)
        began += len(announced(piece, 1233 / 1413).audio) / 32
    drain(utterance, 0.1)
    assert utterance.spoken(math.inf) == sent[0].strip()
    assert utterance.segments.words[-1].end_ms <= began
    following = send(utterance, 0.2)
    assert following[1:] == [""]
    utterance.receive(announced(following[0], 1233 / 1413), 0.3)
    assert utterance.segments.words[len(sent[0].split())].start_ms == pytest.approx(began)
    utterance.receive(Final(), 0.4)
    assert (utterance.ended, utterance.replays.count) == ("finished", 0)


@every_language
def test_an_answer_of_a_dialogue_model_that_broke_off_is_no_static_text(language: str) -> None:
    """P33, P38: times may be longer than their sound, but who knows that it was all, if its end did not come?"""
    text = SENTENCES[language]
    config = make_config(endpoint="text-to-dialogue", model_id="eleven_v3_conversational", static_timestamps=True)
    for ends in ("by its framing", "broken off"):
        utterance = Utterance(config, 0.0, static=True)
        utterance.say(text, 0.0)
        utterance.connected()
        send(utterance, 0.0)
        utterance.receive(announced(text, 0.9), 0.1)
        drain(utterance, 0.1)
        assert utterance.spoken(math.inf) == words_heard(text, 0.9)
        if ends == "broken off":
            utterance.lost(LOST, 0.2)
            assert utterance.error is not None
            assert utterance.error.spoken_text == words_heard(text, 0.9)
        else:
            utterance.receive(Final(), 0.2)
            assert utterance.ended == "finished"


# A word and the mark after it.


def with_pauses(text: str, ms: int = 60, pause: int = 400) -> AudioReceived:
    """A message in which a mark lasts as long as a pause."""
    durations = tuple(pause if char in ".,!?»" else ms for char in text)
    starts = tuple(itertools.accumulate(durations[:-1], initial=0))
    alignment = Alignment(tuple(text), starts, durations)
    return AudioReceived(bytes(32 * sum(durations)), alignment, alignment)


@pytest.mark.parametrize(
    ("said", "rest"),
    [("Yes, ", "I do."), ("Hello. ", "How are you?"), ("«Да!» ", "Нет."), ("Здравствуйте. ", "Чем помочь?")],
)
@pytest.mark.parametrize("delivered", [True, False])
def test_a_word_has_been_heard_when_its_last_letter_has(said: str, rest: str, delivered: bool) -> None:
    """P13, P38: wherever a pause is cut, the word before it is not said again, and its mark is not lost."""
    message = with_pauses(said)
    letters_ms = 60 * len(said.strip(" ,.!«»")) + (60 if said[0] == "«" else 0)
    for cut_ms in range(letters_ms - 60, len(message.audio) // 32, 20):
        utterance, _ = started(said + rest)
        utterance.receive(attrs.evolve(message, audio=message.audio[: 32 * cut_ms]), 0.1)
        if delivered:
            drain(utterance, 0.1)
        utterance.lost(LOST, 0.1)
        utterance.connected()
        again = "".join(send(utterance, 0.2))
        if cut_ms < letters_ms:
            assert again.strip().startswith(said.strip())
            continue
        assert again.split() == rest.split()
        kept = len(drain(utterance, 0.3)) / 32
        assert kept == (0 if delivered else min(cut_ms, len(message.audio) // 32 - 60))  # the pause is not cut off
        assert utterance.spoken(cut_ms) == said.strip()
        assert utterance.segments.words[-1].end_ms <= letters_ms


@pytest.mark.parametrize("word", ["Да.", "Stop!", "100%.", "«Нет»…"])
def test_a_mark_that_is_missing_costs_nothing(word: str) -> None:
    """P13: no empty replay, no error; the text is whole."""
    message = with_pauses(word + " ")
    letters = len(word) - len(word.rstrip(".!…»"))
    for end in ("final", "lost"):
        utterance, _ = started(word, on_lost_connection="raise")
        cut = len(message.audio) - 32 * (60 + 60 * (word[-1] == "…") + 400 * (letters - (word[-1] == "…")))
        utterance.receive(attrs.evolve(message, audio=message.audio[:cut]), 0.1)
        utterance.receive(Final(), 0.2) if end == "final" else utterance.lost(LOST, 0.2)
        assert (utterance.ended, utterance.replays.count) == ("finished", 0)
        drain(utterance, 0.3)
        assert utterance.outcome is not None
        assert utterance.outcome.spoken_text == word


# Where no times are known.


UNTIMED = {
    "en": "Thank you very much for calling us today about your order. ",
    "ru": "Большое спасибо, что вы сегодня позвонили нам насчёт заказа. ",
}


@every_language
@pytest.mark.parametrize("characters_a_second", [13.1, 14.9, 17.1])
@pytest.mark.parametrize("reading", ["at once", "half of it"])
def test_a_phrase_without_times_goes_on_near_where_it_was_cut(
    language: str, characters_a_second: float, reading: str
) -> None:
    """P13, P38: at most one word before the estimate, which goes by the sound that was delivered."""
    text = UNTIMED[language]
    words = text.split()
    for heard in range(len(words)):
        utterance = Utterance(make_config(phrase_policy=whole_phrases, sync_alignment=False), 0.0)
        utterance.connected()
        utterance.accept(text, 0.0)
        utterance.complete(0.0)
        assert send(utterance, 0.0) == [text, ""]
        seconds = len(" ".join(words[:heard])) / characters_a_second
        for _ in range(2):
            utterance.receive(silence(seconds / 2), 0.1)
        drain(utterance, 0.1) if reading == "at once" else utterance.deliver(0.1)
        delivered = round(seconds * SAMPLES_A_SECOND) / SAMPLES_A_SECOND / (1 if reading == "at once" else 2)
        estimate = sum(text.index(word) + len(word) <= 15 * delivered + 0.01 for word in words)
        utterance.lost(LOST, 0.2)
        utterance.connected()
        again = send(utterance, 0.3)
        assert again[-1] == ""
        assert "".join(again).split() == words[max(0, estimate - 1) :]
        assert drain(utterance, 0.3) == b""
        assert utterance.spoken(math.inf).split() == words[: max(0, estimate - 1)]
        assert all(word.estimated for word in utterance.segments.words)
        utterance.interrupt(0.4)
        assert utterance.outcome is not None
        assert utterance.outcome.estimated == (heard > 0)
        assert utterance.outcome.spoken_text + utterance.outcome.unspoken_text == text


@every_language
def test_the_rate_of_a_voice_is_learnt_from_its_phrases(language: str) -> None:
    first, second = UNTIMED[language], UNTIMED[language]
    utterance = Utterance(make_config(phrase_policy=whole_phrases, sync_alignment=False), 0.0)
    utterance.connected()
    utterance.accept(first + second, 0.0)
    utterance.complete(0.0)
    assert send(utterance, 0.0) == [first]
    utterance.receive(silence(len(first) / 8), 0.1)
    assert send(utterance, 0.1) == [""]
    utterance.receive(Final(), 0.2)
    utterance.connected()
    assert send(utterance, 0.2) == [second, ""]
    utterance.receive(silence(len(second.rsplit(maxsplit=2)[0]) / 8 + 0.01), 0.3)
    drain(utterance, 0.4)
    utterance.interrupt(0.5)
    assert utterance.outcome is not None
    assert utterance.outcome.unspoken_text.split() == second.split()[-2:]


@every_language
@pytest.mark.parametrize("whole", [True, False])
def test_an_interrupted_static_text_without_times_is_told_in_proportion(language: str, whole: bool) -> None:
    """P38: a greeting that was cut is in the history, in whole words, and marked."""
    text = UNTIMED[language].strip()
    utterance = Utterance(make_config(), 0.0, static=True)
    utterance.say(text, 0.0)
    utterance.connected()
    assert send(utterance, 0.0) == [text, ""]
    for _ in range(40):
        utterance.receive(silence(0.1), 0.1)
    if whole:
        utterance.receive(Final(), 0.1)
    for _ in range(20):
        utterance.deliver(0.2)
    rate = len(text) / 4 if whole else 15.0
    words = text.split()
    told = [word for word in words if text.index(word) + len(word) <= 2 * rate]
    assert utterance.spoken(2000).split() == told
    assert utterance.spoken(1000).split() == [w for w in words if text.index(w) + len(w) <= rate]
    utterance.interrupt(0.3)
    assert utterance.outcome is not None
    assert utterance.outcome.estimated
    assert utterance.outcome.spoken_text.split() == told
    assert utterance.outcome.spoken_text + utterance.outcome.unspoken_text == text


def test_what_is_known_is_not_marked() -> None:
    utterance, _ = started("Раз два. Три")
    utterance.receive(clip("Раз два. "), 0.1)
    drain(utterance, 0.1)
    utterance.interrupt(0.2)
    assert utterance.outcome is not None
    assert (utterance.outcome.estimated, utterance.outcome.spoken_text) == (False, "Раз два.")
    utterance = Utterance(make_config(), 0.0, static=True)
    utterance.say("Раз два.", 0.0)
    utterance.connected()
    send(utterance, 0.0)
    utterance.receive(silence(1.0), 0.1)
    utterance.receive(Final(), 0.1)
    drain(utterance, 0.2)
    assert utterance.outcome is not None
    assert (utterance.outcome.estimated, utterance.outcome.spoken_text) == (False, "Раз два.")


class Leads(WholePhrases):
    """Phrases that note how much speech is ahead of the listener."""

    def __init__(self) -> None:
        super().__init__()
        self.leads: list[float] = []

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        self.leads.append(lead)
        return super().feed(token, now, lead)


@every_language
def test_one_estimate_of_what_is_ahead_of_the_listener(language: str) -> None:
    """Audio that he has not heard; and phrases on their way, or waiting to be sent, by their length."""
    phrases = Leads()
    utterance = Utterance(make_config(phrase_policy=lambda: phrases), 0.0)
    first, second = (f"{sentence}. " for sentence in SENTENCES[language].rstrip("?.").split(". "))
    utterance.accept(first, 0.0)
    utterance.accept(second, 0.0)
    assert phrases.leads == [0.0, len(first) / 15]
    utterance.connected()
    assert utterance.phrases_to_send(0.0) == [first]
    utterance.receive(clip(first), 2.0)
    received = utterance.segments.received_seconds
    utterance.accept("x", 2.0)
    utterance.deliver(2.0)
    utterance.accept("y", 2.5)
    assert phrases.leads[2:] == pytest.approx([received + len(second) / 15, received + len(second) / 15 - 0.5])
