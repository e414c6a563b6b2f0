from __future__ import annotations

import logging
import math
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import LANGUAGES, replies
from tests.helpers.phrases import HeardAtOnce
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.text import Phraser, phrases_for, places, speakable
from tts_trio.text.words import read_word


def phrases_of(text: str, policy: PhrasePolicy, *, size: int = 3, language_code: str | None = None) -> list[str]:
    """Feed `text` in tokens of `size` characters, 50 a second."""
    phraser = HeardAtOnce(policy, language_code=language_code)
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


@pytest.mark.parametrize("policy", [PhrasePolicy(), PhrasePolicy.sentence(), PhrasePolicy.eager()])
@pytest.mark.parametrize("language", LANGUAGES)
def test_tokens_are_mostly_read_together_and_give_the_same_phrases(language: str, policy: PhrasePolicy) -> None:
    """Whatever the lead and wherever the stream stalls: as where tags may be, and each token is read when it comes."""
    kept = fed = 0
    chance = random.Random(0)
    for reply in replies(language)[::6]:
        phraser = Phraser(policy, language_code=language)
        reference = Phraser(policy, language_code=language, ssml=True)
        now, lead = 0.0, chance.choice([0.0, 3.0, 8.0])
        for piece in reply.pieces():
            assert phraser.feed(piece, now, lead) == reference.feed(piece, now, lead)
            assert phraser.deadline() == reference.deadline()
            assert not reference._unread
            kept, fed = kept + bool(phraser._unread), fed + 1
            now += chance.choice([0.02] * 20 + [0.5, 3.0])
            lead += chance.choice([-0.02] * 20 + [3.0, -3.0])
            while (deadline := reference.deadline()) is not None and deadline <= now:
                assert phraser.expire(now) == reference.expire(now)
                assert phraser.deadline() == reference.deadline()
        assert phraser.pending == reference.pending
        assert phraser.close() == reference.close()
    assert kept > fed / 4


@pytest.mark.parametrize(("first", "last"), [(RUSSIAN, "Чем ещё могу помочь?"), (ENGLISH, "What else can I do?")])
@pytest.mark.parametrize("rest", ["", "»", "👍\n"])
def test_the_words_of_the_last_sentence_are_not_read(
    first: str, last: str, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the rest of the text, whatever they are; only behind the mark might another sentence begin."""
    phraser = Phraser(PhrasePolicy())
    begin, second, *others = f"{last}{rest}".split(" ")
    for token in (first, f" {begin}", f" {second}"):
        phraser.feed(token, 0.0, 2.0)
    read: list[str] = []
    monkeypatch.setattr(places, "read_word", lambda run, **others: read.append(run) or read_word(run, **others))
    for word in others:
        assert phraser.feed(f" {word}", 1.0, 2.0) == []
    assert phraser.close() == [f"{last}{rest}".rstrip() + " "]
    assert read == []


@pytest.mark.parametrize(
    ("first", "last", "more"), [(RUSSIAN, "Чем ещё могу помочь?", "Потом"), (ENGLISH, "What else can I do?", "Then")]
)
def test_a_sentence_that_ends_inside_of_a_token_is_cut_at_once(first: str, last: str, more: str) -> None:
    phraser = Phraser(PhrasePolicy())
    begin, second, rest = last.split(" ", 2)
    for token in (first, f" {begin}", f" {second}"):
        phraser.feed(token, 0.0, 2.0)
    assert phraser.feed(f" {rest} {more}", 1.0, 2.0) == [f"{last} "]


KEPT_TOGETHER = {
    "ru": [
        "3,14", "10:30", "1 500 руб.", "12.03.2025 г.", "5 июня 2025 года", "8 (800) 555-35-35", "+7 495 123-45-67",
        "т. е. так", "и т. д.", "ул. Мира, д. 5, кв. 12", "И. П. Соколов", "им. Павлова", "1 янв. включительно",
        "50 тыс. руб.", "ivan.petrov@mail.ru", "https://a.example.ru/b?c=1,2", "из-за", "не надо", "👨‍👩‍👧", "й̆о",
        "две минуты", "9:15 утра", "№ 5", "Сидоров А. В.", "пять рублей и сорок копеек", "5 рублей сорок копеек",
        "г-жа Белова", "вагон № 5",
    ],
    "en": [
        "$3.14", "10:30 a.m.", "1,500 dollars", "03/12/2025", "May 5, 2025", "1 (800) 555-0142", "e.g. this",
        "i.e. that",
        "Dr. J. K. Smith", "Mr. Jones", "St. James", "U.S. dollars", "no. 5", "john.doe@example.com", "example.com",
        "http://example.com/a?b=c!d", "two minutes", "not now", "the office", "11 o'clock", "Smith & Co.", "20 %",
        "five dollars and ten cents", "5 p.m. EST", "U.S. Postal Service", "half past ten", "No. 10",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("language", "kept"), [(code, text) for code in KEPT_TOGETHER for text in KEPT_TOGETHER[code]])
@pytest.mark.parametrize("words", [None, 1])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_belongs_together_is_not_cut(language: str, kept: str, words: int | None, size: int) -> None:
    before, after = {"ru": ("Мы скажем вам так: ", " — да."), "en": ("We will tell you this: ", " - yes.")}[language]
    policy = PhrasePolicy(clause_words=words, breath_words=words, enough_words=words)
    for code in (language, None):
        phrases = phrases_of(before + kept + after, policy, size=size, language_code=code)
        for part in kept.split(", "):
            assert any(part in phrase for phrase in phrases), phrases


def expired(text: str, *, language_code: str = "en", policy: PhrasePolicy | None = None) -> tuple[list[str], str]:
    """Feed a text and let every patience pass; return the phrases, and what is still pending."""
    phraser = HeardAtOnce(policy or PhrasePolicy.sentence(), language_code=language_code)
    phrases = phraser.feed(text, 0.0)
    while (deadline := phraser.deadline()) is not None and deadline < math.inf:
        phrases += phraser.expire(deadline)
    return phrases, phraser.pending


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        ("en", "One moment.", "One moment. "),
        ("en", "One moment, ", "One moment, "),
        ("en", "Let me see", ""),
        ("en", "Hello there ", "Hello there "),
        ("en", "I will send it to the ", "I will send it "),
        ("en", "It is in room ", ""),
        ("en", "Sure, https", "Sure, "),
        ("en", "Of course, I ", "Of course, "),
        ("ru", "Конечно, по", "Конечно, "),
        ("en", "Your total is $49.45.", "Your total is $49.45. "),
        ("en", "Please ask Mr.", ""),
        ("en", "No.", "No. "),
        ("en", "Let me see. No.", "Let me see. No. "),
        ("en", "She lives at No.", "She lives "),
        ("en", "She pays five dollars ", "She pays "),
        ("ru", "Пять рублей ", ""),
        ("ru", "Это вагон № ", ""),
        ("ru", "Секундочку.", "Секундочку. "),
        ("ru", "Сейчас проверю, ", "Сейчас проверю, "),
        ("ru", "Сейчас я всё посмот", "Сейчас "),
        ("ru", "Это стоит пять ", "Это стоит "),
        ("ru", "Приходите в 10:30.", "Приходите в 10:30. "),
        ("ru", "Это т.", ""),
        ("ru", "Да!", "Да! "),
    ],
)
def test_a_stalled_text_is_spoken_if_it_ends_at_a_word(language: str, text: str, spoken: str) -> None:
    phrases, pending = expired(text, language_code=language)
    assert "".join(phrases) == spoken
    assert "".join(phrases).rstrip() + pending.rstrip() == text.rstrip() or spoken.rstrip() + " " + pending == text


@pytest.mark.parametrize("text", ["It is 3.", "Write to john.", "Open http://example.", "See www."])
def test_a_figure_and_an_address_are_given_more_time(text: str) -> None:
    last = text.split()[-1]
    phraser = HeardAtOnce(PhrasePolicy.sentence(), language_code="en")
    assert phraser.feed(text, 0.0) == []
    phraser.expire(0.15)
    assert phraser.pending.endswith(last)
    assert expired(text, policy=PhrasePolicy(patience_figure=math.inf))[1].endswith(last)


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Sure,", "clause"),
        ("One moment.", "sentence"),
        ("Конечно,", "clause"),
        ("Одну минуту.", "sentence"),
        ("Really?", "sentence"),
        ("Well…", "clause"),
        ("Sure", ""),
        ("Dr.", ""),
        ("тел.", ""),
        ("", ""),
    ],
)
def test_a_text_is_whole_where_its_policy_ends_phrases_at_its_mark(text: str, ends: str, blank: str) -> None:
    """And to ask costs nothing: the next tokens are read as if nobody had asked."""
    for policy in (PhrasePolicy.sentence(), PhrasePolicy.balanced(), PhrasePolicy.eager()):
        phrasers = [Phraser(policy, language_code=None) for _ in range(2)]
        for phraser in phrasers:
            assert phraser.feed(text + blank, 0.0, 0.0) == []
        is_whole = ends == "sentence" or (ends == "clause" and policy.clause_words is not None)
        assert phrasers[0].whole() == (f"{text} " if is_whole else "")
        for token in (" we", " will", " look", " into", " it."):
            assert len({tuple(phraser.feed(token, 0.1, 0.0)) for phraser in phrasers}) == 1
        assert phrasers[0].close() == phrasers[1].close()


@pytest.mark.parametrize("text", ["It is 3.", "Это 3,", "www.example.", "at example.com,", "Am 3."])
def test_a_figure_and_an_address_are_not_whole_before_a_blank(text: str) -> None:
    phraser = Phraser(PhrasePolicy.balanced(), language_code="de")
    phraser.feed(text, 0.0, 0.0)
    assert phraser.whole() == ""


def test_the_deadline_is_the_patience_after_the_last_token() -> None:
    phraser = HeardAtOnce(PhrasePolicy(patience_first=0.1, patience_later=0.3), language_code="en")
    assert phraser.deadline() is None
    phraser.feed("Hello there ", 5.0)
    assert phraser.deadline() == pytest.approx(5.1)
    assert phraser.expire(5.05) == []
    assert phraser.expire(5.1) == ["Hello there "]
    assert phraser.deadline() is None
    phraser.feed("and welcome ", 6.0)
    assert phraser.deadline() == pytest.approx(6.3)


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "Your order is ready. "), ("ru", "Ваш заказ уже готов. ")],
)
def test_sentences_are_gathered_while_much_audio_is_queued(language: str, sentence: str) -> None:
    def after(lead: float) -> list[str]:
        phraser = Phraser(PhrasePolicy(), language_code=language)
        assert phraser.feed(sentence + sentence[0], 0.0, 0.0) == [sentence]
        return phraser.feed(sentence[1:] + sentence + sentence[0], 0.1, lead)

    assert after(2.0) == [sentence] * 2
    assert after(20.0) == []


@pytest.mark.parametrize("language_code", ["ja", "zh", None])
def test_languages_without_blanks_are_cut_after_their_marks(language_code: str | None) -> None:
    text = "こんにちは。「はい。」今日はいい天気ですね。3，500円です。"
    phrases = phrases_of(text, PhrasePolicy.sentence(), size=1, language_code=language_code)
    assert phrases == ["こんにちは。 ", "「はい。」 ", "今日はいい天気ですね。 ", "3，500円です。 "]


@pytest.mark.parametrize(("language_code", "count"), [("de", 2), ("fr", 2), ("uk", 2), ("tr", 2)])
def test_other_languages_end_sentences_too(language_code: str, count: int) -> None:
    text = {
        "de": "Das kostet z. B. fünf Euro. Möchten Sie bestellen?",
        "fr": "Bonjour M. Dupont, tout est prêt. Que puis-je faire ?",
        "uk": "Ваше замовлення готове. Коли вам зручно?",
        "tr": "Siparişiniz hazır. Ne zaman gelirsiniz?",
    }[language_code]
    phrases = phrases_of(text, PhrasePolicy.sentence(), language_code=language_code)
    assert "".join(phrases) == text + " "
    assert len(phrases) == count


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_blanks_at_a_cut_become_one_space_and_none_is_touched_elsewhere(size: int) -> None:
    text = "First  thing.\n\nSecond   thing.\t Third."
    phrases = phrases_of(text, PhrasePolicy.sentence(), size=size, language_code="en")
    assert phrases == ["First  thing. ", "Second   thing. ", "Third. "]


@pytest.mark.parametrize("text", ["", "  ", "…", "👍", "- \n"])
def test_a_reply_with_nothing_to_speak_has_no_phrases(text: str) -> None:
    assert phrases_of(text, PhrasePolicy.eager(), size=1) == []


@pytest.mark.parametrize(
    ("text", "phrases"),
    [("👋 Hello! 😊 Bye! 👍", ["👋 Hello! 😊 ", "Bye! 👍 "]), ("— Да. — Нет.", ["— Да. — ", "Нет. "])],
)
def test_what_is_not_spoken_joins_the_words_beside_it(text: str, phrases: list[str]) -> None:
    assert phrases_of(text, PhrasePolicy.sentence()) == phrases


SSML = (
    'Hello <break time="1.0s" /> there. '
    'Say <phoneme alphabet="ipa" ph="təˈmeɪtoʊ. A">to. mato</phoneme> now. <break/> It is 5 < 6.'
)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("policy", [PhrasePolicy.sentence(), PhrasePolicy.eager()])
def test_ssml_is_kept_whole(size: int, policy: PhrasePolicy) -> None:
    phraser = HeardAtOnce(policy, language_code="en", ssml=True)
    phrases = [phrase for i in range(0, len(SSML), size) for phrase in phraser.feed(SSML[i : i + size], i / 100)]
    phrases += phraser.close()
    assert "".join(phrases) == SSML + " "
    assert len(phrases) >= 3
    for phrase in phrases:
        assert phrase.count("<phoneme") == phrase.count("</phoneme>")
        assert re.sub(r"<[/a-z][^<>]*>", "", phrase).count(">") == 0
        assert speakable(re.sub(r"<[^<>]*>", "", phrase))


def test_a_tag_that_never_ends_does_not_hold_a_reply_back() -> None:
    phraser = HeardAtOnce(PhrasePolicy.sentence(), language_code="en", ssml=True)
    assert phraser.feed("This is <b>bold. " + "It goes on. " * 200, 0.0)


@given(texts=st.lists(st.text(max_size=8), max_size=12), gaps=st.lists(st.sampled_from([0.0, 0.1, 1.0]), min_size=1))
def test_any_text_comes_out_as_it_went_in_but_for_blanks(texts: list[str], gaps: list[float]) -> None:
    phraser = HeardAtOnce(PhrasePolicy.eager())
    out: list[str] = []
    now = 0.0
    for i, text in enumerate(texts):
        now += gaps[i % len(gaps)]
        while (deadline := phraser.deadline()) is not None and deadline <= now:
            out += phraser.expire(deadline)
        out += phraser.feed(text, now)
        assert all(speakable(phrase) and re.search(r"\S \Z", phrase) for phrase in out)
    out += phraser.close()
    spoken, given_text = "".join("".join(out).split()), "".join("".join(texts).split())
    assert given_text.startswith(spoken)
    assert not speakable(given_text[len(spoken) :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clause_words", 0),
        ("breath_words", 0),
        ("enough_words", -1),
        ("long_words", 0),
        ("patience_first", -0.1),
        ("patience_later", math.nan),
        ("patience_figure", -1),
        ("low_lead", -1),
        ("plenty_lead", 0.5),
    ],
)
def test_a_policy_names_the_number_that_is_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        PhrasePolicy(**{field: value})


def test_the_presets() -> None:
    assert PhrasePolicy() == PhrasePolicy.balanced()
    assert len({PhrasePolicy.sentence(), PhrasePolicy.balanced(), PhrasePolicy.eager()}) == 3


class Tokens:
    """A user's own: every token with something to speak is a phrase."""

    pending = ""

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        return [token.strip() + " "] if speakable(token) else []

    def deadline(self) -> None:
        return None

    def expire(self, now: float) -> list[str]:
        return []

    def close(self) -> list[str]:
        return []


def test_a_callable_of_the_users_own_can_stand_in_the_place_of_a_policy() -> None:
    phrases = phrases_for(Tokens, language_code="en")
    assert phrases.feed("Hello", 0.0, 0.0) == ["Hello "]
    assert phrases_for(Tokens, language_code="en") is not phrases
    assert isinstance(phrases_for(PhrasePolicy.eager(), language_code="en"), Phraser)
    tags = "Say <break/> it. A"
    assert phrases_for(PhrasePolicy(), language_code="en", ssml=True).feed(tags, 0.0, 0.0) == ["Say <break/> it. "]


def test_the_language_is_missed_once_a_process(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        phrases_for(PhrasePolicy(), language_code="ru")
        assert caplog.records == []
        phrases_for(PhrasePolicy(), language_code=None)
        phrases_for(PhrasePolicy(), language_code=None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "language_code" in caplog.text


TAGGED = st.lists(
    st.sampled_from(
        [
            '<break time="1s"/>',
            '<break time="1s"/>' * 16,
            f'<break x="{"a " * 200}"/>',
            f"<{'b' * 400}>",
            '<phoneme alphabet="ipa" ph="a. b!">to. mato</phoneme>',
            "<p>One. Two!</p>",
            "<sub alias='你好。再见'>你好。再见，好</sub>",
            "<speak>",
            "</speak>",
            "<",
            ">",
            "5 < 6.",
            "Hello, there.",
            "Да. Нет!",
            "你好。",
            "…",
            " ",
            "\n",
        ]
    ),
    min_size=1,
    max_size=8,
)


def inside_tags(text: str) -> set[int]:
    """The places inside of a tag, or of an element that ends."""
    inside: set[int] = set()
    for match in re.finditer(r"<(phoneme|p|sub)\b[^<>]*>[^<>]*</\1>|<[/a-z][^<>]*>", text):
        inside |= set(range(match.start() + 1, match.end()))
    return inside


@given(pieces=TAGGED, sizes=st.lists(st.integers(1, 400), min_size=1), stalls=st.booleans())
def test_any_ssml_comes_out_whole(pieces: list[str], sizes: list[int], stalls: bool) -> None:
    """In tokens of any size, with stalls or without: nothing raises, nothing is lost or cut inside of tags."""
    text = "".join(pieces)
    phraser = HeardAtOnce(PhrasePolicy.eager(), language_code="en", ssml=True)
    phrases: list[str] = []
    position, now = 0, 0.0
    while position < len(text):
        size = sizes[position % len(sizes)]
        phrases += phraser.feed(text[position : position + size], now)
        position += size
        now += 5.0 if stalls else 0.01
        while (deadline := phraser.deadline()) is not None and deadline <= now:
            phrases += phraser.expire(deadline)
    phrases += phraser.close()
    assert "".join("".join([*phrases, phraser.pending]).split()) == "".join(text.split())
    inside, at = inside_tags(text), 0
    for phrase in phrases:
        at = text.index(phrase.rstrip(), at) + len(phrase.rstrip())
        assert at not in inside, (phrase, text[at:][:20])


@pytest.mark.parametrize("tags", [30, 34, 60])
def test_a_long_tag_behind_many_without_a_blank_is_cut_nowhere(tags: int) -> None:
    text = '<break time="1s"/>' * tags + "<p>One. Two!</p>" + f'<break x="{"a " * 240}"/>' + "Hello, there."
    phraser = HeardAtOnce(PhrasePolicy.eager(), language_code="en", ssml=True)
    phrases = [phrase for token in text for phrase in phraser.feed(token, 0.0)] + phraser.close()
    at, inside = 0, inside_tags(text)
    for phrase in phrases:
        at = text.index(phrase.rstrip(), at) + len(phrase.rstrip())
        assert at not in inside, phrase


@pytest.mark.parametrize("tags", ['<break time="1s"/>' * 16, f"<{'a' * 400}>", f"<a{' b' * 200}>"])
@pytest.mark.parametrize("size", [1, 1000])
def test_many_tags_without_a_blank_between_them(tags: str, size: int) -> None:
    phraser = HeardAtOnce(PhrasePolicy.eager(), language_code="en", ssml=True)
    text = f"Привет.{tags} Hello. {tags} Well, {tags}"
    phrases = [phrase for i in range(0, len(text), size) for phrase in phraser.feed(text[i : i + size], 0.0)]
    assert "".join(phrases + phraser.close()) == text + " "


ORDINALS = {
    "de": [
        "Ich habe am 3. Juni Geburtstag.",
        "Der 2. Stock ist offen.",
        "Sie sind der 100. Anrufer heute.",
        "Im 19. Jahrhundert war das anders.",
    ],
    "cs": ["Sejdeme se 3. Června 5 u nádraží."],
    "fi": ["Tapaamme 24. Joulukuuta asemalla."],
    "da": ["Vi ses den 1. Juledag klokken ti."],
    "pl": ["To był 3. Maja w Warszawie."],
}


@pytest.mark.parametrize(("language", "text"), [(code, text) for code in ORDINALS for text in ORDINALS[code]])
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("policy", [PhrasePolicy.sentence(), PhrasePolicy.eager(), PhrasePolicy.balanced()])
def test_an_ordinal_is_not_the_end_of_a_sentence(policy: PhrasePolicy, size: int, text: str, language: str) -> None:
    phrases = phrases_of(text, policy, size=size, language_code=language)
    assert not any(re.search(r"\d\. \Z", phrase) for phrase in phrases)
    assert "".join(phrases) == text + " "


def test_what_is_no_ordinal_ends_a_sentence() -> None:
    sentences = ["Das war im Jahr 2025. ", "Wir haben bis 18 Uhr offen. ", "Die Nummer ist 4217. ", "Danke! "]
    assert phrases_of("".join(sentences), PhrasePolicy.sentence(), language_code="de") == sentences
    phraser = HeardAtOnce(PhrasePolicy(), language_code="de")
    assert phraser.feed("Sie sind die Nummer 15.", 0.0) == []
    assert phraser.expire(phraser.deadline() or 0) == ["Sie sind "]  # "15. Juni"?
    assert phraser.deadline() == 2.0
    assert phraser.expire(2.0) == ["die Nummer 15. "]


AUDIO_TAGS = [
    "[clears throat] Yes, of course I can help you with that.",
    "[laughs softly, then sighs] And then, well, we go on.",
    "I see. [whispers, very quietly] Да, конечно, [clears throat] сейчас посмотрю.",
    "Well,[in a slow, dramatic voice]she said it to me.",
]


@pytest.mark.parametrize("text", AUDIO_TAGS)
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("gap", [0.02, 5.0])
@pytest.mark.parametrize("policy", [PhrasePolicy.eager(), PhrasePolicy(clause_words=1, breath_words=1, enough_words=1)])
def test_nothing_is_cut_inside_of_an_audio_tag(policy: PhrasePolicy, gap: float, size: int, text: str) -> None:
    """A v3 model would read its halves aloud. It stays with what follows, which is spoken in its way."""
    phraser = HeardAtOnce(policy, language_code="en", audio_tags=True)
    phrases: list[str] = []
    for i in range(0, len(text), size):
        phrases += phraser.feed(text[i : i + size], i * gap)
        while (deadline := phraser.deadline()) is not None and deadline <= (i + 1) * gap:
            phrases += phraser.expire(deadline)
    phrases += phraser.close()
    assert all(phrase.count("[") == phrase.count("]") for phrase in phrases)
    assert "".join("".join(phrases).split()) == "".join(text.split())
    if gap < 1:
        assert len(phrases) > 1
        assert not any(phrase.endswith("] ") for phrase in phrases)


def test_a_remark_in_brackets_is_cut_where_it_is_long_or_no_tag() -> None:
    remark = "[please note that all our offices are closed on the 24th of December, and on the first day of January]"
    for audio_tags, text in [(False, remark), (True, remark[:-1] + ", unless you call before that day.]")]:
        phraser = HeardAtOnce(PhrasePolicy.eager(), language_code="en", audio_tags=audio_tags)
        assert len(phraser.feed(text, 0.0) + phraser.close()) > 1
