"""Markdown goes, the words stay, whatever the size of the tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import corpus
from tests.corpus import LANGUAGES, replies
from tts_trio.text.transforms.marks import Markdown

CORPUS = Path(corpus.__file__).parent
CASES = dict(row.split(" ¦ ") for row in (CORPUS / "markdown.txt").read_text("utf-8").splitlines()[1:])
TRAPS = (CORPUS / "no_markdown.txt").read_text("utf-8").splitlines()[1:]


def stripped(text: str, size: int, *, code: str = "") -> str:
    stripper = Markdown(code)
    pairs = [pair for i in range(0, len(text), size) for pair in stripper.feed(text[i : i + size])] + stripper.close()
    assert sum(length for _, length in pairs) == len(text)
    return "".join(said for said, _ in pairs)


SIZES = [1, 2, 3, 7, 1000]


@pytest.mark.parametrize("text", CASES)
def test_the_marks_go_and_the_words_stay(text: str) -> None:
    """P41. A blank beside a mark may have gone on before the mark came."""
    written, expected = text.replace(r"\n", "\n"), CASES[text].replace(r"\n", "\n")
    for size in SIZES:
        assert "".join(stripped(written, size).split()) == "".join(expected.split())
    assert stripped(written, 1000) == expected


@pytest.mark.parametrize("text", TRAPS)
def test_what_is_no_markdown_is_not_touched(text: str) -> None:
    """P41: feature codes, globs, powers, masked cards, paths, names of programs."""
    written = text.replace(r"\n", "\n")
    assert {stripped(written, size) for size in SIZES} == {written}


def test_there_are_traps_enough() -> None:
    assert len(TRAPS) >= 60


@pytest.mark.parametrize("said", ["", "An example follows.", "Дальше код."])
def test_a_block_of_code_is_left_out_or_announced(said: str) -> None:
    text = "Run:\n```py\nx = **1**\n```\nDone."
    assert stripped(text, 3, code=said) == f"Run:\n{said}Done."


@example(text=">  ", size=1)
@example(text="1 *_1", size=1)
@example(text="```1", size=1)
@given(text=st.text(alphabet="ab я1*_`~[]()!#->+\\ \n|.", max_size=60), size=st.integers(1, 10))
def test_the_size_of_the_tokens_makes_no_difference(text: str, size: int) -> None:
    assert stripped(text, size).split() == stripped(text, len(text) or 1).split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_without_markdown_stays_as_it_is(language: str) -> None:
    for reply in replies(language):
        if "\n- " not in reply.text:
            assert stripped(reply.text, 3) == reply.text


def test_plain_text_is_given_out_at_once() -> None:
    stripper = Markdown()
    assert stripper.feed("Hello!") == [("Hello!", 6)]
    assert stripper.feed(" Your order") == [(" Your order", 11)]
    assert stripper.feed(" is **") == [(" is ", 4)]
    assert stripper.feed("ready") == [("", 2), ("ready", 5)]
