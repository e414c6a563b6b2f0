"""Figures are read as a person reads them, in tokens of any size; what is not certain stays as it was written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import corpus
from tts_trio import ConfigurationError
from tts_trio.text.chain import Chain
from tts_trio.text.transforms import for_telephone, numbers
from tts_trio.text.transforms.figures import numerals, readers_of

ROWS = [row for row in (Path(corpus.__file__).parent / "figures.txt").read_text("utf-8").splitlines() if " | " in row]
SAID = [[cell.replace(r"\n", "\n") for cell in row.split(" | ")] for row in ROWS[1:]]

SIZES = [1, 2, 3, 7, 1000]

LEFT_ALONE = {
    "en": [
        "version 2.0.1, 192.168.0.1, A12, 12B, UA1204, 3x4, 1/2, x=5, a2b, 1e6, 2**3, 5*6",
        "03/05/2027",
        "5G and 3M, ±5, ¥500, 6'2 and 5'10, 2 1/2 cups, 2+2=4, 3rd-party, 20K",
        "ratio 3:1, score 2-1, ISBN 978-3-16-148410-0",
    ],
    "ru": [
        "с 5 минут, по 5 рублей, 1 ночь, на 2 этаже",
        "рейс SU1402, место 4А, дом12, 10:5, 2/3, 192.168.0.1",
        "1-м, в 1990-е, в 2023–2024 гг.",
        "Python 3.12, пункт 4.1, в 12.05, в 5 км от дома, между 5 и 10, 2+2=4",
    ],
}


def said(text: str, language: str, size: int) -> str:
    chain = Chain([numbers(language)])
    pieces = [piece for i in range(0, len(text), size) for piece in chain.feed(text[i : i + size])] + chain.close()
    assert "".join(source for _, source in pieces) == text
    return "".join(words for words, _ in pieces)


@pytest.mark.parametrize(("language", "text", "expected"), SAID)
def test_figures_in_words(language: str, text: str, expected: str) -> None:
    """P41."""
    assert {said(text, language, size) for size in SIZES} == {expected}


@pytest.mark.parametrize(("language", "text"), [(code, text) for code in LEFT_ALONE for text in LEFT_ALONE[code]])
def test_what_is_not_certain_stays_as_it_is(language: str, text: str) -> None:
    """P41: codes, fractions, dates that two countries read differently, a case that no word tells."""
    assert {said(text, language, size) for size in SIZES} == {text}


@pytest.mark.parametrize(
    ("language", "text", "held"), [("en", "In 5 days ", 0), ("ru", "Через 5 минут ", 0), ("en", "Room 5", 1)]
)
def test_a_figure_waits_for_the_word_behind_it_and_no_longer(language: str, text: str, held: int) -> None:
    chain = Chain([numbers(language)])
    chain.feed(text)
    assert chain.holds
    chain.feed("a")
    assert not chain.holds or held
    chain.pause()
    assert not chain.holds


def test_without_the_library_that_knows_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "num2words", None)
    for cached in (numerals, readers_of):
        cached.cache_clear()
    with pytest.raises(ConfigurationError, match=r'pip install "tts_trio\[numbers\]"'):
        for_telephone("en")
    for cached in (numerals, readers_of):
        cached.cache_clear()


def test_a_language_without_figures() -> None:
    with pytest.raises(ConfigurationError, match="language: 'de' is not allowed for numbers; use one of en, ru"):
        numbers("de")
