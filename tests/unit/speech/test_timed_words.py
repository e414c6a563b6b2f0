"""What asking for words costs: nothing before somebody asks, and then what is new since the last time."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_trio.speech import timed_words
from tts_trio.speech.alignment import SpokenText
from tts_trio.speech.results import Word
from tts_trio.wire.events import Alignment, AudioReceived

STEP = 60
PHRASES = ("The doctor sees you on Tuesday at nine. ", "Приём у доктора во вторник, в девять часов. ")


def message(chars: str, start: int = 0) -> AudioReceived:
    starts = tuple(start + STEP * at for at in range(len(chars)))
    return AudioReceived(b"", Alignment(tuple(chars), starts, (STEP,) * len(chars)))


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.fixture
def taken_apart(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The characters of each alignment that is taken apart into words."""
    lengths: list[int] = []
    read = timed_words.read_alignment

    def count(alignment: Alignment | None) -> object:
        lengths.append(len(alignment.chars) if alignment else 0)
        return read(alignment)

    monkeypatch.setattr(timed_words, "read_alignment", count)
    return lengths


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that are made."""
    texts: list[str] = []

    def make(text: str, *args: object) -> Word:
        texts.append(text)
        return Word(text, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(timed_words, "Word", make)
    return texts


@pytest.mark.parametrize("text", PHRASES)
def test_what_goes_on_with_the_text_is_taken_apart_when_somebody_asks(text: str, taken_apart: list[int]) -> None:
    spoken = SpokenText()
    spoken.sent(text)
    for piece in pieces(text, 4):
        spoken.received(STEP * len(piece), message(piece))
        assert not spoken.lacks_audio(strictly=False)
        assert not spoken.lost_audio
    assert spoken.covered == len(text)
    assert spoken.is_covered
    spoken.final()
    assert taken_apart == []
    assert [word.text for word in spoken.words] == text.split()
    assert sum(taken_apart) == len(text)


@pytest.mark.parametrize("text", PHRASES)
def test_a_clip_that_is_timed_by_its_first_message_tells_what_is_covered_unasked(
    text: str, taken_apart: list[int]
) -> None:
    spoken = SpokenText()
    for _ in range(3):
        spoken.sent(text)
        spoken.received(STEP * len(text) / 2, message(text))
        assert spoken.is_covered
        spoken.received(STEP * len(text) / 2, AudioReceived(b""))
    assert taken_apart == []
    assert len(spoken.words) == 3 * len(text.split())


@pytest.mark.parametrize("text", PHRASES)
@pytest.mark.parametrize("clips", [False, True])
def test_a_message_leaves_no_object_to_the_garbage_collector(text: str, clips: bool) -> None:
    """It looks at every object that stays: at 200 calls, five for each message were a part in fifty of all CPU."""
    spoken = SpokenText()
    spoken.sent(text)
    clip = message(text).alignment
    assert clip is not None
    times = zip(clip.chars, clip.starts_ms, clip.durations_ms, strict=True)
    first, *others = [
        AudioReceived(b"", Alignment((char,), (0 if clips else start,), (ms,))) for char, start, ms in times
    ]
    spoken.received(STEP, first)
    tracked = len(gc.get_objects())
    for each in others:
        spoken.received(STEP, each)
    assert len(gc.get_objects()) - tracked < len(others) / 4
    assert [word.text for word in spoken.words] == text.split()


def test_what_waits_for_somebody_to_ask_is_bounded(taken_apart: list[int]) -> None:
    """However much comes before anybody asks, little is left to be done then: less than a millisecond of work."""
    spoken = SpokenText()
    for _ in range(299):
        for text in PHRASES:
            spoken.sent(text)
            spoken.received(STEP * len(text), message(text))
    done = sum(taken_apart)
    words = spoken.words
    assert 0 < sum(taken_apart) - done <= 600
    assert len(words) == 299 * sum(len(text.split()) for text in PHRASES)


def ask_at_every_message(ask: Callable[[SpokenText], object], *, timed: bool, phrases: int) -> SpokenText:
    spoken = SpokenText()
    for text in itertools.islice(itertools.cycle(PHRASES), phrases):
        spoken.sent(text)
    for text in itertools.islice(itertools.cycle(PHRASES), phrases):
        for piece in pieces(text, 4):
            spoken.received(STEP * len(piece), message(piece) if timed else AudioReceived(b""))
            ask(spoken)
    return spoken


@pytest.mark.parametrize("timed", [True, False])
def test_no_word_is_made_twice(timed: bool, made: list[str]) -> None:
    spoken = ask_at_every_message(lambda spoken: spoken.words, timed=timed, phrases=40)
    assert len(spoken.words) > 250
    assert len(made) <= 1.1 * len(spoken.words)


def test_what_was_told_stays_the_same_object_until_there_is_more() -> None:
    spoken = ask_at_every_message(lambda spoken: spoken.words, timed=True, phrases=2)
    assert spoken.words is spoken.words


@given(
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    share=st.sampled_from([1.0, 1.004, 0.97, 0.8]),
    asked=st.sets(st.integers(0, 40)),
    dialogue=st.booleans(),
)
def test_it_does_not_matter_when_somebody_asks(cuts: list[int], share: float, asked: set[int], dialogue: bool) -> None:
    """Whoever asks at every message, now and then, or only at the end, is told the same then."""
    both = [SpokenText(dialogue=dialogue) for _ in range(2)]
    for spoken in both:
        for text in PHRASES:
            spoken.sent(text)
    count = itertools.count()
    size = itertools.cycle(cuts)
    for text in PHRASES:
        at = 0
        while at < len(text):
            piece = text[at : at + next(size)]
            at += len(piece)
            for spoken in both:
                spoken.received(STEP * len(piece) * share, message(piece))
            if next(count) in asked:
                assert both[0].words is not None
                both[0].spoken(300)
            assert both[0].lost_audio == both[1].lost_audio
            assert both[0].covered == both[1].covered
            assert both[0].lacks_audio(strictly=True) == both[1].lacks_audio(strictly=True)
    assert both[0].words == both[1].words
    assert both[0].resume(500) == both[1].resume(500)
    for spoken in both:
        spoken.final()
    assert both[0].words == both[1].words


@pytest.mark.parametrize("phrase", PHRASES)
def test_the_last_word_of_an_estimate_ends_with_the_audio(phrase: str) -> None:
    """Whatever its length is: at 22,050 Hz it is no whole number of milliseconds, and a product is rounded."""
    for samples in range(20_000, 20_300):
        spoken = SpokenText()
        spoken.sent(phrase)
        spoken.received(1000 * samples / 22_050, AudioReceived(b"", None))
        spoken.final()
        assert [word.text for word in spoken.words] == phrase.split(), samples
        assert spoken.words[-1].end_ms == spoken.received_ms
