"""The rules themselves: what the sound of an utterance says about its text."""

from __future__ import annotations

import pytest

from tests.hostile.rules import listen_for, poison
from tests.hostile.script import script_of

TEXT = "Доброе утро — how are you? Ваш заказ готов."


@pytest.mark.parametrize(
    ("sound", "whole"),
    [
        ("", 0),
        ("Добр", 0),
        ("Доброе", 1),
        (TEXT, 8),
        ("Доброе утро — how are you Ваш заказ готов", 8),  # marks may be cut
        ("Доброе утhow are you", 1),
        ("Доброе утутутро — how", 3),  # a word that was cut begins anew, as often as it is cut
        ("Доброе утро — how are yoyou? Вашзаказ гоготов.", 8),
    ],
)
def test_what_may_be_heard(sound: str, whole: int) -> None:
    heard = listen_for(TEXT, sound)
    if sound.startswith("Доброе утhow"):
        assert "only 2 characters" in heard.wrong
    else:
        assert (heard.wrong, heard.whole) == ("", whole)


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        ("Доброе Доброе утро", "was said again"),
        ("Доброе утро how are are you", "was said again"),
        ("Доброе how", "did not"),
        ("Доброе утро Ваш", "did not"),
        ("Доброе уhow", "only 1 characters"),
        ("другие слова", "words of something else"),
        (f"Доброе {poison(7)} утро", "nobody asked for"),
        (TEXT + " Ваш", "again"),
        ("утро — how", "did not"),
    ],
)
def test_what_may_not_be_heard(sound: str, says: str) -> None:
    assert says in listen_for(TEXT, sound).wrong


def test_without_times_some_words_may_be_said_again() -> None:
    assert listen_for(TEXT, "Доброе утро — how how are", again=1).wrong == ""
    assert listen_for(TEXT, "Доброе утро — how утро — how are", again=1).again == 1
    assert listen_for(TEXT, "Доброе утро — how how how are", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — how are you Доброе", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — are", again=5).wrong


def test_a_script_is_repeatable_and_repeats_no_word() -> None:
    for seed in range(50):
        assert script_of(seed) == script_of(seed)
        texts = {saying.text for conversation in script_of(seed).conversations for saying in conversation.sayings}
        words = [word.strip(".,!?").lower() for text in texts for word in text.split() if word != "—"]
        assert len(words) == len(set(words))
