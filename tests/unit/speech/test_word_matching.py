from __future__ import annotations

import itertools

import pytest

from tts_trio.speech.readings import read_alignment, word_spans
from tts_trio.speech.word_matching import Found, find_words
from tts_trio.wire.events import Alignment


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


def find(read: str, *phrases: str, from_first: bool = False) -> Found | None:
    """Find words read, every character of which takes 10 ms, in phrases."""
    reading = read_alignment(Alignment(tuple(read), tuple(range(0, 10 * len(read), 10)), (10,) * len(read)))
    assert reading is not None
    written = [words_of(phrase) for phrase in phrases]
    ends = [sum(map(len, written[: index + 1])) for index in range(len(written))]
    return find_words(reading, list(itertools.chain(*written)), ends, from_first=from_first)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Добрый  день!\n", ["Добрый", "день!"]),
        ("a.b@c.de — 3,14", ["a.b@c.de", "—", "3,14"]),
        ("今日は。「良い」天気！OK", ["今", "日", "は。「", "良", "い」", "天", "気！", "OK"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        (" ", []),
    ],
)
def test_words_stand_between_blanks_and_cjk_characters_alone(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("read", "phrases", "skipped", "count", "whole"),
    [
        (" one two. ", ["One two."], 0, 2, True),
        (" Еще чаю? ", ["Ещё чаю?"], 0, 2, True),
        # Several phrases in one clip, as without auto_mode.
        (" да. сорок два. пока. ", ["Да.", "42.", "Пока."], 0, 3, True),
        # A number read in many words does not spill over into the phrase behind it.
        (" нас сто двадцать семь. ", ["Нас 127.", "Нет 16% тут."], 0, 2, True),
        (" anchor five dollars forty two. ", ["anchor $5 42.", "anchor $5."], 0, 3, True),
        # One of its words is not taken for an ordinary word beside it.
        (" sixteen percent don't", ["16% don't don't go."], 0, 2, True),
        # What breaks off reaches to the last word that is certain.
        (" у нас соро", ["У нас 42 рубля."], 0, 2, False),
        # The times of the first phrase are missing.
        (" Вторая фраза. ", ["Первая мысль.", "Вторая фраза."], 2, 2, True),
    ],
)
def test_words_are_found(read: str, phrases: list[str], skipped: int, count: int, whole: bool) -> None:
    found = find(read, *phrases)
    assert found is not None
    assert (found.skipped, len(found.times), found.read == len(read)) == (skipped, count, whole)


@pytest.mark.parametrize(
    ("read", "phrases"),
    [
        (" совсем другое. ", ["Добрый день."]),
        (" good bye. ", ["Добрый день."]),
        (" соро", ["42."]),
        (" . ", ["42."]),
        (" ok ", ["🙂."]),
        (" Добрый день. ", []),
    ],
)
def test_another_text_is_not(read: str, phrases: list[str]) -> None:
    assert find(read, *phrases) is None


def test_the_first_word_may_have_to_be_equal() -> None:
    assert find(" сорок два рубля. ", "42 рубля.") is not None
    assert find(" сорок два рубля. ", "42 рубля.", from_first=True) is None
    assert find(" рубля сорок два. ", "Рубля 42.", from_first=True) is not None


def test_a_clip_too_long_to_compare_is_left() -> None:
    assert find(" слово" * 100 + ". ", "слово " * 100) is not None
    assert find(" слово" * 200 + ". ", "слово " * 200) is None
