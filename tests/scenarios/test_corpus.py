"""The corpus: for tokens of any size and timing no phrase ends where it must not, and no text is lost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import LANGUAGES, Reply, replies
from tests.helpers.phrases import HeardAtOnce
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.text import speakable

POLICIES = {
    "sentence": PhrasePolicy.sentence(),
    "balanced": PhrasePolicy.balanced(),
    "eager": PhrasePolicy.eager(),
    "at every place": PhrasePolicy(
        clause_words=1, breath_words=1, enough_words=1, low_lead=math.inf, plenty_lead=math.inf
    ),
}
ALL = [reply for language in LANGUAGES for reply in replies(language)]
CUTTERS: dict[str, Callable[[Reply], list[str]]] = {
    "characters": lambda reply: list(reply.text),
    "pieces": lambda reply: reply.pieces(),
    "words": lambda reply: re.findall(r"\s*\S+\s*", reply.text),
    "whole": lambda reply: [reply.text],
}


def phrases_of(
    reply: Reply, tokens: list[str], gaps: list[float], policy: PhrasePolicy, language_code: str | None
) -> list[str]:
    """Feed the tokens, each after a gap, and 3 s later where the model pauses; keep the deadlines."""
    phraser = HeardAtOnce(policy, language_code=language_code)
    phrases: list[str] = []
    now, position = 0.0, 0
    for i, token in enumerate(tokens):
        now += 3.0 if position in reply.pauses else gaps[i % len(gaps)]
        while (deadline := phraser.deadline()) is not None and deadline <= now:
            phrases += phraser.expire(deadline)
        phrases += phraser.feed(token, now)
        position += len(token)
    return phrases + phraser.close()


def complaints(reply: Reply, phrases: list[str]) -> list[str]:
    """What is wrong with these phrases: a cut where none may be, a text that is not the source's."""
    found: list[str] = []
    position = 0
    for phrase in phrases:
        if not re.search(r"\S \Z", phrase) or not speakable(phrase):
            found.append(f"no phrase: {phrase!r}")
        if not reply.text.startswith(phrase[:-1], position):
            return [*found, f"not the source: {phrase!r}"]
        end = position + len(phrase) - 1
        position = len(reply.text) - len(reply.text[end:].lstrip())
        if position < len(reply.text) and (position == end or not reply.forbidden.isdisjoint(range(end, position))):
            found.append(f"cut: {reply.text[:end][-20:]!r} | {reply.text[end:][:20]!r}")
    if speakable(reply.text[position:]):
        found.append(f"lost: {reply.text[position:]!r}")
    return found


def test_the_corpus_is_large_and_half_russian() -> None:
    assert len(replies("ru")) + len(replies("en")) >= 200
    assert abs(len(replies("ru")) - len(replies("en"))) <= 10
    assert all("".join(reply.pieces()) == reply.text for reply in ALL)
    assert sum(len(reply.forbidden) for reply in ALL) >= 250


@pytest.mark.parametrize("language", [*LANGUAGES, None])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cutter", CUTTERS)
def test_no_forbidden_cut_at_50_tokens_a_second(
    cutter: str, policy: str, language: str | None, exhaustive: bool
) -> None:
    """A sample is every second reply, others with each policy."""
    corpus = ALL if language is None else replies(language)
    for reply in corpus if exhaustive else corpus[list(POLICIES).index(policy) % 2 :: 2]:
        phrases = phrases_of(reply, CUTTERS[cutter](reply), [0.02], POLICIES[policy], language)
        assert complaints(reply, phrases) == []
        assert "".join(phrases).split() == reply.text.split()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_forbidden_cut_where_every_character_stalls(policy: str, language: str) -> None:
    """A pause of a second after each character: what is whole is spoken, what may go on is not."""
    for reply in replies(language):
        assert complaints(reply, phrases_of(reply, list(reply.text), [1.0], POLICIES[policy], language)) == []


@given(data=st.data(), reply=st.sampled_from(ALL), policy=st.sampled_from(sorted(POLICIES)), told=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_forbidden_cut_for_any_tokens_and_any_timing(
    data: st.DataObject, reply: Reply, policy: str, told: bool
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=20))
    gaps = data.draw(st.lists(st.sampled_from([0.0, 0.005, 0.02, 0.1, 0.2, 0.5, 1.9, 5.0]), min_size=1, max_size=20))
    patience = 2.0 if max(gaps) < 2.0 else math.inf  # beyond it a figure and an address are taken for whole
    tokens: list[str] = []
    position = 0
    while position < len(reply.text):
        size = sizes[len(tokens) % len(sizes)]
        tokens.append(reply.text[position : position + size])
        position += size
    patient = attrs.evolve(POLICIES[policy], patience_figure=patience)
    phrases = phrases_of(reply, tokens, gaps, patient, reply.language if told else None)
    assert complaints(reply, phrases) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_said_before_a_tool_call_is_spoken_while_it_runs(language: str) -> None:
    unfinished = {"Let me check with a specialist": "Let me check ", "Сейчас уточню у специалиста": "Сейчас уточню "}
    paused = [reply for reply in replies(language) if reply.pauses]
    assert len(paused) >= 3
    for reply in paused:
        (pause,) = reply.pauses
        phraser = HeardAtOnce(PhrasePolicy.balanced(), language_code=language)
        said = reply.text[:pause]
        phrases = phraser.feed(said, 0.0)
        while (deadline := phraser.deadline()) is not None:
            assert deadline <= 0.4
            phrases += phraser.expire(deadline)
        assert "".join(phrases) == unfinished.get(said, said + " ")
