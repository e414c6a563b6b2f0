"""What the policies promise of time, sound and cost, by the measures of the benchmark."""

from __future__ import annotations

import time

import pytest

from benchmarks.phrases import POLICIES, RATES, SOONER, measure, time_first_audio, try_sooner
from tests.corpus import LANGUAGES, replies
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.text import Phraser


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("policy", "most"), [("balanced", 0.6), ("eager", 0.4)])
def test_the_first_phrase_leaves_long_before_the_sentence_ends(language: str, policy: str, most: float) -> None:
    row = measure(language, 50, policy)
    assert row.ratio <= most
    assert row.first_phrase <= most * measure(language, 50, "sentence").first_phrase


@pytest.mark.parametrize("language", LANGUAGES)
def test_first_phrases_end_where_the_words_allow_it(language: str) -> None:
    balanced = measure(language, 50, "balanced")
    assert balanced.bad <= balanced.replies / 20
    assert balanced.unmarked < measure(language, 50, "eager").unmarked


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("policy", ["balanced", "eager"])
def test_the_listener_is_never_kept_waiting_by_a_cut(policy: str, language: str, rate: int) -> None:
    assert measure(language, rate, policy).gaps == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_balanced_waits_for_more_than_an_interjection(language: str) -> None:
    """Its clip would be over before a slow LLM has written more; other marks gain a token here and there."""
    interjection, *marks = [try_sooner(language, 20, what) for what in SOONER]
    assert interjection.longer_gaps > 0
    assert all(0 < mark.mean_gain < 25 for mark in marks)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_sound_comes_sooner_than_by_whole_sentences(language: str) -> None:
    """Through the whole library, over a link of 100 ms round trip."""
    corpus = replies(language)[::5]
    sound = {name: time_first_audio(corpus, policy, 50) for name, policy in POLICIES.items()}
    assert sound["balanced"] <= 0.80 * sound["sentence"]
    assert sound["eager"] <= 0.65 * sound["sentence"]


@pytest.mark.parametrize("text", ["x", "word ", "a, ", "你", "3.", "<", "— "])
@pytest.mark.parametrize("policy", [PhrasePolicy.sentence(), PhrasePolicy.eager()])
def test_a_token_costs_the_same_however_long_the_reply(text: str, policy: PhrasePolicy) -> None:
    def cost(length: int) -> float:
        tokens = text * (length // len(text))
        best = float("inf")
        for _ in range(2):
            phraser = Phraser(policy, language_code="en", ssml=True)
            begin = time.process_time()
            for token in tokens:
                phraser.feed(token, 0.0, 0.0)
            best = min(best, (time.process_time() - begin) / len(tokens))
        return best

    assert cost(6_000) < 4 * cost(500)
