"""What is heard of replies that begin from memory, played in real time, beside the same replies without openings.

Where an opening is over before the next phrase was written and answered, there is silence. Nobody knows what an LLM
will write, and how fast. What holds is that no reply begins or ends later than without openings, that all silence, that
before its beginning included, is no longer, and that none behind an opening is longer by what a caller would notice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import attrs
import pytest

from tests.corpus import LANGUAGES, Reply, replies
from tests.helpers import make_config
from tts_trio import PhrasePolicy
from tts_trio.speech.utterance import Utterance
from tts_trio.wire.events import Alignment, AudioReceived

OPENINGS = {
    "en": (
        *("Yes.", "Sure,", "Sure.", "Okay,", "Of course,", "All right.", "Let me see.", "Good question."),
        *("One moment, please.", "Thanks for waiting.", "I understand, that must be annoying.", "Let me check that."),
    ),
    "ru": (
        *("Да.", "Конечно,", "Хорошо.", "Минутку.", "Понимаю,", "Поняла вас.", "Да, конечно.", "Хороший вопрос."),
        *("Одну минуту, пожалуйста.", "Спасибо за ожидание.", "Понимаю, это неприятно.", "Сейчас посмотрю."),
    ),
}
ANSWER = 0.175  # seconds: a round trip of 100 ms, and a model of 75 ms
STEP = 65  # milliseconds of a character
NOTICED = 0.1  # seconds: a longer pause is one that the speaker makes
ROUNDED = 1e-6
CONFIGS = {
    language: make_config(output_format="ulaw_8000", phrase_policy=PhrasePolicy()).evolve(language_code=language)
    for language in LANGUAGES
}


class Kept:
    """Openings that are all kept."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._clips = {f"{text} ": [clip_of(f"{text} ")] for text in texts}

    def recall(self, phrase: str) -> Sequence[AudioReceived] | None:
        return self._clips.get(phrase)

    def wants(self, phrase: str) -> bool:
        raise AssertionError

    def keep(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        raise AssertionError


@attrs.frozen
class Played:
    """When a reply was heard, in seconds from its first token, and how often it was silent in between."""

    first: float
    last: float
    silence: float
    is_hit: bool


def clip_of(phrase: str) -> AudioReceived:
    starts = tuple(range(0, STEP * len(phrase), STEP))
    times = Alignment(tuple(phrase), starts, (STEP,) * len(phrase))
    return AudioReceived(bytes(8 * STEP * len(phrase)), times)


def play(tokens: Sequence[str], interval: float, language: str, openings: Kept | None) -> Played:
    """Speak a reply as its driver does, by a service that answers each phrase with one message."""
    utterance = Utterance(CONFIGS[language], 0.0)
    utterance.connected()
    to_write = [(number * interval, token) for number, token in enumerate(tokens)]
    to_come: list[tuple[float, AudioReceived]] = []
    is_opening = True
    while to_write or to_come or utterance.phrases:
        now = min(to_write[0][0] if to_write else math.inf, to_come[0][0] if to_come else math.inf)
        now = min(now, utterance.deadline())
        if to_write and to_write[0][0] <= now:
            utterance.accept(to_write.pop(0)[1], now)
        elif to_come and to_come[0][0] <= now:
            assert utterance.receive(to_come.pop(0)[1], now) is None
        else:
            assert utterance.expire(now) is None
        if not to_write:
            utterance.complete(now)
        if openings is not None and is_opening:
            is_opening = not utterance.say_from_memory(openings, now)
        to_come += [(now + ANSWER, clip_of(phrase)) for phrase in utterance.phrases_to_send(now)]
        while utterance.deliver(now):
            pass
    heard, first = utterance.playback, utterance.timeline.first_delivered
    assert first is not None
    assert utterance.segments.accepted == "".join(tokens)
    return Played(first, heard.silent_from, heard.silence, utterance.segments.begins_from_memory)


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_hundred_replies_have_no_silence_that_is_not_there_without_openings(language: str) -> None:
    """Half of them are Russian; at 20 and at 50 tokens a second. What is said from memory sounds at its mark."""
    openings = OPENINGS[language]
    kept = Kept(openings)
    corpus = [reply.text for reply in replies(language) if not reply.pauses and " " in reply.text][:100]
    assert len(corpus) == 100
    for tokens_a_second, fewest_hits in ((20, 20), (50, 90)):
        interval = 1 / tokens_a_second
        hits = 0
        for opening, text in zip(itertools.cycle(openings), corpus, strict=False):
            begun = Reply(language, f"{opening} {text}", frozenset(), frozenset()).pieces()
            without, with_openings = (play(begun, interval, language, each) for each in (None, kept))
            assert with_openings.last <= without.last + ROUNDED
            assert with_openings.silence < without.silence + NOTICED
            gained = without.first - with_openings.first
            assert with_openings.silence <= without.silence + gained + ROUNDED
            if with_openings.is_hit:
                hits += 1
                tokens = Reply(language, opening, frozenset(), frozenset()).pieces()
                assert with_openings.first <= (len(tokens) - 1) * interval + ROUNDED
                assert gained >= ANSWER - ROUNDED
        assert hits >= fewest_hits
