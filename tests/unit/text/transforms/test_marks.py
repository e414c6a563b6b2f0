"""Markdown goes, the words stay, whatever the size of the tokens."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.corpus import LANGUAGES, replies
from tts_trio.text.transforms.marks import Markdown

CASES = {
    "Press **Reset** and *wait*.": "Press Reset and wait.",
    "**Привет!** Ваш _заказ_ готов.": "Привет! Ваш заказ готов.",
    "# Title\n\n- one\n- **two**\n* three\n+ four\n1. five": "Title\n\none\ntwo\nthree\nfour\n1. five",
    "Список:\n- раз\n  - два\n> цитата": "Список:\nраз\nдва\nцитата",
    "See [our site](https://x.com/a?b=1) now. ![a map](map.png)": "See our site now. a map",
    "**[жирная](http://a.ru)** ссылка и [просто скобки]": "жирная ссылка и [просто скобки]",
    "Run `pip install x`:\n```bash\npip **x**\n```\nDone": "Run pip install x:\npip **x**\nDone",
    "one\n---\ntwo\n* * *\nthree": "one\ntwo\nthree",
    "2 * 3, 2*3, 2**3, snake_case, ~5, Name: ____": "2 * 3, 2*3, 2**3, snake_case, ~5, Name: ____",
    "__bold__ ~~no~~ ***both***": "bold no both",
    r"\*not bold\*": "*not bold*",
    "-5 градусов\n+7 495 123-45-67": "-5 градусов\n+7 495 123-45-67",
    "a [b": "a [b",
    "Hello![x](y)": "Hello!x",
    "-": "-",
}


def stripped(text: str, size: int) -> str:
    stripper = Markdown()
    pairs = [pair for i in range(0, len(text), size) for pair in stripper.feed(text[i : i + size])] + stripper.close()
    assert sum(length for _, length in pairs) == len(text)
    return "".join(said for said, _ in pairs)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("text", CASES)
def test_the_marks_go_and_the_words_stay(text: str, size: int) -> None:
    assert stripped(text, size) == CASES[text]


@example(text=">  ", size=1)
@example(text="1 *_1", size=1)
@example(text="```1", size=1)
@given(text=st.text(alphabet="ab я1*_`~[]()!#->+\\ \n", max_size=60), size=st.integers(1, 10))
def test_the_size_of_the_tokens_makes_no_difference(text: str, size: int) -> None:
    assert stripped(text, size) == stripped(text, len(text) or 1)
    assert [char for char in stripped(text, size) if char.isalnum()] == [
        char for char in text if char.isalnum()
    ] or any(mark in text for mark in ("](", "```"))  # an address, or the language of a block of code, is not spoken


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
