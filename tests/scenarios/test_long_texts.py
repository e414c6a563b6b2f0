"""What a caller gives in one piece: it is read in slices, in a time that grows as its length does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, heard, listen, make_config, memory_service, speaking
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.speech.accepted_text import AcceptedText
from tts_trio.text import Phraser
from tts_trio.text.chain import Chain
from tts_trio.text.input import TextInput
from tts_trio.text.transforms import for_telephone
from tts_trio.text.words import SLICE

pytestmark = pytest.mark.usefixtures("collected")

LENGTH = 20_000
HOLDS_UP = 0.05  # seconds of the loop that nothing may take in one piece

PIECES = {
    "English": ENGLISH + " ",
    "Russian": RUSSIAN + " ",
    "short sentences": "Yes. No. ",
    "Chinese": "你好，我可以帮你查一下你的订单。请稍等片刻！",
    "Chinese without marks": "你",
    "marks of a language without blanks": "。",
    "blanks": " ",
    "line breaks": "\n",
    "combining marks": "\u0301",
    "one word": "a",
    "initials": "A. ",
    "numbers": "1. ",
    "emoji": "🙂 ",
    "no place to cut": "the ",
    "no-break spaces": "a\u00a0",
    "emphasis": "**a** ",
    "signs of emphasis": "*_",
    "links": "[a](b) ",
    "links that do not end": "[a](",
    "brackets": "[",
    "a list": "- a\n",
    "rules": "- ",
    "code": "`a` ",
    "tags": '<break time="1s"/>',
    "elements": "<p>One. Two. </p>",
    "elements that do not end": "<a ",
    "brackets of tags": "<",
    "pictures that do not end": "👨\u200d",
    "figures": "1 ",
    "citations": "[1]",
    "addresses that do not end": "a.",
}
FEEDS: dict[str, Callable[[], Callable[[str], object]]] = {
    "phraser": lambda: lambda text: Phraser(PhrasePolicy(), language_code="en").feed(text, 0.0, 0.0),
    "phraser, SSML": lambda: lambda text: Phraser(PhrasePolicy(), language_code="de", ssml=True).feed(text, 0.0, 0.0),
    "phraser, audio tags": lambda: lambda text: Phraser(PhrasePolicy(), audio_tags=True).feed(text, 0.0, 0.0),
    "transforms": lambda: Chain(for_telephone("en")).feed,
}


def cost(feed: Callable[[str], object], text: str) -> float:
    """Seconds of this process's time, which others on the machine do not lengthen."""
    began = time.process_time()
    feed(text)
    return time.process_time() - began


@pytest.mark.parametrize("face", FEEDS)
@pytest.mark.parametrize("piece", PIECES)
def test_one_token_costs_what_its_length_says(piece: str, face: str) -> None:
    """Four times as long, about four times the time; by its square it would be sixteen times."""
    text = (PIECES[piece] * LENGTH)[:LENGTH]

    def is_in_proportion() -> bool:
        short = cost(FEEDS[face](), text[: LENGTH // 4])
        return cost(FEEDS[face](), text) < max(0.05, 9 * short)

    assert any(is_in_proportion() for _ in range(3))  # a shared processor may be half as fast for a moment


def text_input(*, marks: bool, ssml: bool) -> TextInput:
    phraser = Phraser(PhrasePolicy(), language_code="en", ssml=ssml)
    return TextInput(
        phraser, 0.0, max_characters=3 * LENGTH, text_timeout=60.0, transforms=for_telephone("ru") if marks else ()
    )


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("piece", PIECES)
def test_no_slice_holds_up_the_loop(piece: str, marks: bool) -> None:
    text = (PIECES[piece] * LENGTH)[:LENGTH]
    written = text_input(marks=marks, ssml=marks)
    longest = cost(lambda token: written.take(token, 0.0), text)
    said: list[str] = []
    while not written.complete:
        if not written.unread and not written.closed:
            written.close()
        longest = max(longest, cost(lambda _: said.extend(source for _, source in written.read(0.0, 0.0)), ""))
    assert longest < HOLDS_UP
    assert "".join(said) == text


@pytest.mark.parametrize("piece", ["one word", "blanks", "combining marks", "Chinese without marks", "elements"])
@pytest.mark.parametrize("marks", [False, True])
def test_many_short_tokens_cost_the_same_each(piece: str, marks: bool) -> None:
    written = text_input(marks=marks, ssml=piece == "elements")

    def feed(text: str) -> None:
        for token in text:
            written.take(token, 0.0)
            written.read(0.0, 0.0)

    text = (PIECES[piece] * LENGTH)[: LENGTH // 4]
    first = cost(feed, text)
    cost(feed, text)
    assert cost(feed, text) < 3 * first + 0.1


@pytest.mark.parametrize(("letter", "said"), [("a", "bb"), ("а", "бб")])
def test_many_changed_pieces_cost_the_same_each(letter: str, said: str) -> None:
    """P36: a transform may change every word of a long reply."""
    accepted = AcceptedText()

    def add(text: str) -> None:
        for char in text:
            accepted.add(said, char)

    text = letter * (LENGTH // 4)
    first = cost(add, text)
    cost(add, text)
    assert cost(add, text) < 3 * first + 0.1


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_others_go_on_while_a_long_text_is_read(language: str) -> None:
    """The whole of it is accepted at once; it is cut into phrases in slices, and the loop is given back in between."""
    text = ((ENGLISH if language == "en" else RUSSIAN) + " ") * 400
    config = make_config(language_code=language, max_lead=1.0)
    async with (
        memory_service() as service,
        speaking(config, service.open_stream) as tts,
        trio.open_nursery() as nursery,
    ):
        longest = 0.0  # seconds of this process between two turns of a task

        async def watch() -> None:
            nonlocal longest
            seen = time.process_time()
            while True:
                await trio.lowlevel.checkpoint()
                longest = max(longest, time.process_time() - seen)
                seen = time.process_time()

        nursery.start_soon(watch)
        async with tts.start_llm_stream() as (channel, audio):
            await channel.send(text)
            channel.close()
            first = await audio.receive()
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert audio.outcome.spoken_text + audio.outcome.unspoken_text == text
        assert text.startswith(heard(first, config)[:-1])
        nursery.cancel_scope.cancel()
    assert longest < HOLDS_UP


async def test_a_long_text_is_spoken_as_it_was_given(autojump_clock: trio.testing.MockClock) -> None:
    """In one piece, or followed by more before it was read; nothing is lost, and all is in order."""
    text = " ".join(f"Sentence number {number}, и ещё одна фраза." for number in range(100))
    config = make_config(language_code="en", max_lead=1000.0)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for pieces in ([text], [text[:3000], text[3000:3001], text[3001:]]):
            async with tts.start_llm_stream() as (channel, audio):
                for piece in pieces:
                    channel.send_nowait(piece)
                channel.close()
                assert heard(await listen(audio), config) == text
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)


@pytest.mark.parametrize("letter", ["ы", "a"])
async def test_the_rest_of_a_long_piece_does_not_wait_for_the_timer(
    autojump_clock: trio.testing.MockClock, letter: str
) -> None:
    """The timer may be set already, to the time when the LLM counts as silent."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        await tts.connections.connect()
        async with tts.start_llm_stream() as (text, audio):
            text.send_nowait(letter)
            await turns()
            text.send_nowait(letter * 5 * SLICE)
            assert audio._utterance.unread
            await turns()
            assert not audio._utterance.unread


async def turns() -> None:
    """Let the other tasks run for some turns of the loop, in which no time of the clock passes."""
    for _ in range(20):
        await trio.lowlevel.checkpoint()
