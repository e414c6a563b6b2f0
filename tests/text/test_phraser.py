from __future__ import annotations

import re

import pytest

from tts_trio.text import PhrasePolicy, Phraser, speakable


def phrases_of(text: str, policy: PhrasePolicy, *, size: int = 3, language_code: str | None = None) -> list[str]:
    """Feed `text` in tokens of `size` characters, 50 a second."""
    phraser = Phraser(policy, language_code=language_code)
    phrases: list[str] = []
    for i in range(0, len(text), size):
        phrases += phraser.feed(text[i : i + size], now=i / size * 0.02)
    return phrases + phraser.close()


RUSSIAN = (
    "Добрый день! Чем могу вам помочь сегодня? Приходите т. е. недорого, врач им. Павлова, каб. 12, "
    "до 1 янв. включительно. Стоит 10 000 руб. Доставка бесплатно."
)
ENGLISH = (
    "I can certainly help you with the order you placed on Friday. Dr. J. K. Smith will call you at "
    "10 a.m. tomorrow. It costs $3.14 or 10 000 dollars."
)


@pytest.mark.parametrize("text", [RUSSIAN, ENGLISH])
def test_whole_sentences_are_cut_at_their_ends_and_nowhere_else(text: str) -> None:
    phrases = phrases_of(text, PhrasePolicy.sentence())
    assert "".join(phrases) == text + " "
    assert all(phrase.endswith((". ", "! ", "? ")) for phrase in phrases)
    assert len(phrases) == {RUSSIAN: 4, ENGLISH: 3}[text]


@pytest.mark.parametrize("text", [RUSSIAN, ENGLISH])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("policy", [PhrasePolicy.sentence(), PhrasePolicy.balanced(), PhrasePolicy.eager()])
def test_joined_phrases_are_the_text(text: str, size: int, policy: PhrasePolicy) -> None:
    phrases = phrases_of(text, policy, size=size)
    assert "".join(phrases) == text + " "
    assert all(re.search(r"\S \Z", phrase) for phrase in phrases)


@pytest.mark.parametrize("text", ["Да", "yes", "42", "€", "%", "你"])
def test_speakable(text: str) -> None:
    assert speakable(text)


@pytest.mark.parametrize("text", ["", " \n", "…!? — (", "👍 👨‍👩‍👧 ℹ️"])
def test_nothing_to_speak(text: str) -> None:
    assert not speakable(text)
