"""Whatever the transforms and the size of the tokens: each character of the source is answered for once, in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import LANGUAGES, replies
from tts_trio import ConfigurationError, PhrasePolicy
from tts_trio.speech.accepted_text import AcceptedText
from tts_trio.text import Phraser
from tts_trio.text.chain import Chain, Piece
from tts_trio.text.input import TextInput
from tts_trio.text.transforms import emoji, for_telephone, links, markdown, reasoning, replacements

PARTS = [
    "Hello", "Да", " ", ", ", ". ", "\n", "**", "_", "# ", "- ", "`", "[", "](http://x.ru/a)", "<think>", "</think>",
    "😊", "👨‍👩‍👧", "1️⃣", "https://www.example.com/a?b=1", "john.doe@example.com", "example.ru", "<|end|>", "kg", "Dr.",
    "5", "<b>", "12 kg",
]  # fmt: skip
ALL = (*for_telephone("en"), replacements({"kg": "kilograms", "Dr.": "doctor", "5": "five"}))
TEXTS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def pieces(text: str, sizes: Iterable[int], chain: Chain, *, pauses: bool = False) -> list[Piece]:
    found: list[Piece] = []
    at = 0
    for size in sizes:
        found += chain.feed(text[at : at + size])
        at += size
        if pauses:
            found += chain.pause()
            assert not chain.holds
    return found + chain.feed(text[at:]) + chain.close()


@given(text=TEXTS, sizes=st.lists(st.integers(1, 9), max_size=20), pauses=st.booleans())
def test_the_source_comes_back_whole(text: str, sizes: list[int], pauses: bool) -> None:
    """P41: nothing is lost, nothing doubled, wherever a token ends and wherever the LLM pauses."""
    found = pieces(text, sizes, Chain(ALL), pauses=pauses)
    assert "".join(source for _, source in found) == text
    accepted = AcceptedText()
    for said, source in found:
        accepted.add(said, source)
    assert accepted.text == text
    letters = sum(len("".join(said.split())) for said, _ in found)
    beginnings = [accepted.beginning(count) for count in range(letters + 1)]
    assert all(text.startswith(beginning) for beginning in beginnings)
    assert all(len(one) <= len(next_one) for one, next_one in itertools.pairwise(beginnings))


@given(text=TEXTS, sizes=st.lists(st.integers(1, 9), max_size=20))
def test_the_size_of_the_tokens_makes_no_difference(text: str, sizes: list[int]) -> None:
    """But for blanks beside a picture, of which one may have gone on already."""
    said = "".join(said for said, _ in pieces(text, sizes, Chain(ALL)))
    whole = "".join(said for said, _ in pieces(text, [], Chain(ALL)))
    assert said.split() == whole.split() or "".join(said.split()) == "".join(whole.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_nothing_is_changed_each_piece_is_its_source(language: str) -> None:
    for reply in replies(language):
        for size in (1, 5, 1000):
            found = pieces(reply.text, [size] * (len(reply.text) // size), Chain([reasoning(), emoji()]))
            assert all(said == source or source.strip() in "😊✅" for said, source in found)


CASES = {
    "Press **Reset**, и всё.": ((markdown(),), "Press Reset, и всё."),
    "Заказ уже в пути 📦. Смотрите 👉 сюда 😊!": ((emoji(),), "Заказ уже в пути. Смотрите сюда!"),
    "Да 👍🏽 ❤️ нет 😊, 🇩🇪!": (
        (emoji({"👍🏽": "палец вверх", "❤": "сердце", "🇩🇪": "Германия"}),),
        "Да палец вверх сердце нет, Германия!",
    ),
    "Да 😊Нет👍5 😊😊6": ((emoji(),), "Да Нет 5 6"),
    "1️⃣ First 👨‍👩‍👧 2 🇩🇪": ((emoji(),), " First 2"),
    "<think>Надо [подумать] <b> ещё.</think>Да!<|im_end|> 5 < 6": ((reasoning(),), "Да! 5 < 6"),
    'Ok. <tool_call>{"a": 1}</tool_call>[TOOL_CALLS]x[/TOOL_CALLS]': ((reasoning(),), "Ok. "),
    "See https://www.example.com/a?b=1. Mail john.doe@example.co.uk, and/or 24/7, e.g. this, v3.5.": (
        (links("en"),),
        "See example dot com. Mail john dot doe at example dot co dot uk, and/or 24/7, e.g. this, v3.5.",
    ),
    "Наш сайт example.ru, почта info@пример.рф.": (
        (links("ru"),),
        "Наш сайт example точка ru, почта info собака пример точка рф.",
    ),
    "Dr. Smith: 80 kg in New  York, kgs, DR. X": (
        (replacements({"Dr.": "doctor", "kg": "kilograms", "New York": "the big apple"}),),
        "doctor Smith: 80 kilograms in the big apple, kgs, doctor X",
    ),
    "it is IT": ((replacements({"IT": "I.T."}, match_case=True),), "it is I.T."),
    "I like it.me too. Hello.It is fine, see site.info/x or mail info@site.it.": (
        for_telephone("en"),
        "I like it.me too. Hello.It is fine, see site dot info or mail info at site dot it.",
    ),
    "See [docs][1] and **bold**ly.": (for_telephone("en"), "See docs and boldly."),
    "**Never closed\n\nThe *next* one**.": (for_telephone("en"), "Never closed\n\nThe next one**."),
    "So I think.</think>Yes.": (for_telephone("en"), "So I think.Yes."),
    '<break time="0.5s"/> <prosody rate="90%">5 kg</prosody> <say-as x="a.com">y</say-as>': (
        for_telephone("en"),
        '<break time="0.5s"/> <prosody rate="90%">five kilograms</prosody> <say-as x="a.com">y</say-as>',
    ),
    "[laughs] **Hi!** [clears throat] It's $5.": (
        for_telephone("en"),
        "[laughs] Hi! [clears throat] It's five dollars.",
    ),
    "**Не закрыто\n\nА *это* да**.": (for_telephone("ru"), "Не закрыто\n\nА это да**."),
    "Так.</think>Да, **важн**ый [смеётся] ответ.": (for_telephone("ru"), "Так.Да, важный [смеётся] ответ."),
    "Visit **[our site](https://example.com/x)** or <b>example.org/path</b> 😊": (
        for_telephone("en"),
        "Visit our site or example dot org",
    ),
}


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_what_is_said(text: str, size: int) -> None:
    transforms, expected = CASES[text]
    found = pieces(text, [size] * (len(text) // size), Chain(transforms))
    said = "".join(said for said, _ in found)
    assert said.replace(" ", "") == expected.replace(" ", "")
    if size == 1000:
        assert said == expected


class TooMuch:
    def feed(self, text: str) -> list[tuple[str, int]]:
        return [(text, len(text) + 1)]

    def pause(self) -> list[tuple[str, int]]:
        return []

    close = pause


class Forgetful(TooMuch):
    def feed(self, text: str) -> list[tuple[str, int]]:
        return []


def test_a_users_own_transform_that_counts_wrongly() -> None:
    """Text that it never answers for is not said, and comes back as what the LLM wrote."""
    with pytest.raises(ConfigurationError, match="answered for 1 more characters than it was fed"):
        Chain([TooMuch]).feed("Да")
    forgetful = Chain([Forgetful])
    assert forgetful.feed("Yes") == []
    assert forgetful.holds
    assert forgetful.close() == [("", "Yes")]


@pytest.mark.parametrize("word", ["", " a", "a ", "a" * 101, 5])
def test_a_word_that_cannot_be_found(word: str) -> None:
    with pytest.raises(ConfigurationError, match=r"replacements: .* is not allowed"):
        replacements({word: "x"})


@pytest.mark.parametrize("names", [{"x": "a"}, {"": "a"}, {"😊😊": "a"}, {"😊": 5}])
def test_an_emoji_that_cannot_be_named(names: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"emoji: .* is not allowed in names"):
        emoji(names)


def test_the_address_of_a_link_is_not_said_when_its_label_was_given_up() -> None:
    """The LLM paused inside of the label."""
    chain = Chain(for_telephone("ru"))
    found = [*chain.feed("Вот [условия"), *chain.pause(), *pieces("](https://example.ru/a) и всё.", [1] * 9, chain)]
    assert "".join(said for said, _ in found) == "Вот [условия и всё."


HOLDS = {"<b ": 40, "[a ": 101, "a < b ": 40, "`a ": 101, "<!-- ": 110, "[1]": 60, "😀": 20, "a.b@": 110, "1 ": 110}


@pytest.mark.parametrize("text", HOLDS)
def test_text_is_held_for_some_characters_only(text: str) -> None:
    """What begins like a construct and never becomes one, in tokens of one character."""
    chain = Chain(for_telephone("en"))
    held = 0
    for count, char in enumerate((text + "and so on " * 30) if text[-1] == " " else text * 100):
        answered = sum(len(source) for _, source in chain.feed(char))
        held = held + 1 - answered
        assert held <= HOLDS[text], count


def test_an_empty_token_is_no_pause() -> None:
    """Some LLMs send empty tokens between two others; what is held stays held."""
    written = TextInput(Phraser(PhrasePolicy()), 0.0, max_characters=99, text_timeout=9.0, transforms=[markdown()])
    said = ""
    for token in ("Да *", "", "*пять", "", "**"):
        written.take(token, 0.0)
        said += "".join(words for words, _ in written.read(0.0, 0.0))
    written.close()
    assert said + "".join(words for words, _ in written.read(0.0, 0.0)) == "Да пять"


def test_a_language_without_names_for_signs() -> None:
    with pytest.raises(ConfigurationError, match="language: 'xx' is not allowed for links; use one of en, ru"):
        links("xx")
