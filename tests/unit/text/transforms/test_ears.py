"""What LLMs write is heard as a person would want to hear it, and told as the LLM wrote it."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import pytest

from tests import corpus
from tests.corpus import LANGUAGES, replies
from tests.helpers.phrases import HeardAtOnce
from tts_trio import PhrasePolicy
from tts_trio.speech.accepted_text import AcceptedText
from tts_trio.text.chain import Chain
from tts_trio.text.transforms import for_telephone

ROWS = [
    [cell.replace(r"\n", "\n") for cell in f"{row} ".split(" ¦ ")]
    for row in (Path(corpus.__file__).parent / "ears.txt").read_text("utf-8").splitlines()[1:]
]


def chain_for(language: str) -> Chain:
    return Chain(for_telephone(language if language in LANGUAGES else "en"))


SIZES = [1, 2, 3, 7, 1000]


@pytest.mark.parametrize(("language", "report", "written", "heard"), ROWS)
def test_what_is_heard_and_what_is_told(language: str, report: str, written: str, heard: str) -> None:
    """P41, in tokens of any size."""
    for size in SIZES:
        check(written, heard, chain_for(language), size)


def check(written: str, heard: str, chain: Chain, size: int) -> None:
    pieces = [piece for i in range(0, len(written), size) for piece in chain.feed(written[i : i + size])]
    pieces += chain.close()
    said = "".join(said for said, _ in pieces)
    assert "".join(said.split()) == "".join(heard.split())
    if size == 1000:
        assert said.strip() == heard.strip()
    accepted = AcceptedText()
    for said, source in pieces:
        accepted.add(said, source)
    assert accepted.text == written


@pytest.mark.parametrize(("language", "report", "written", "heard"), ROWS)
def test_a_pause_anywhere_loses_no_word_of_the_source(language: str, report: str, written: str, heard: str) -> None:
    """P41: what is held is given up, and what was given up is not given again."""
    for at in range(1, len(written)):
        chain = chain_for(language)
        pieces = [*chain.feed(written[:at]), *chain.pause()]
        assert not chain.holds
        pieces += [*chain.feed(written[at:]), *chain.close()]
        assert "".join(source for _, source in pieces) == written


def test_there_are_inputs_enough_and_half_of_them_from_reports() -> None:
    assert len(ROWS) >= 150
    assert sum(report != "-" for _, report, _, _ in ROWS) >= len(ROWS) / 2


def first_phrase_at(tokens: list[str], chain: Chain | None) -> int:
    """Which token ends the first phrase; the number of tokens where none does."""
    phraser = HeardAtOnce(PhrasePolicy.balanced(), language_code="en")
    for index, token in enumerate(tokens):
        said = token if chain is None else "".join(said for said, _ in chain.feed(token))
        if phraser.feed(said, index / 50):
            return index
    return len(tokens)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_phrase_comes_no_later(language: str) -> None:
    """At 50 tokens a second: no later where no figure and no address is near, and on the average of all replies."""
    later: list[int] = []
    for reply in replies(language):
        tokens = reply.pieces()
        end = first_phrase_at(tokens, None)
        later.append(first_phrase_at(tokens, chain_for(language)) - end)
        changed = re.search(r"\d|http", "".join(tokens[: end + 2]))
        assert changed or later[-1] <= 0, reply.text
    assert statistics.mean(later) <= 0


def test_a_token_costs_little() -> None:
    """With the whole preset, some 10 us where nothing else runs; counted in functions, as no busy machine does."""
    tokens = [token for language in LANGUAGES for reply in replies(language) for token in reply.pieces()]
    chain = chain_for("en")
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for token in tokens:
            chain.feed(token)
    finally:
        sys.setprofile(before)
    assert 5 < calls / len(tokens) < 40
