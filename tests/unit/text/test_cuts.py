"""Where phrases end in languages that write no blanks, or none after a mark, and behind emoji, quotes and figures."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.phrases import HeardAtOnce
from tts_trio import PhrasePolicy
from tts_trio.speech.readings import word_pattern, word_spans
from tts_trio.text.words import read_word

SENTENCES = [
    ("zh", ["您好,很高兴为您服务!", "您的订单已到达."]),
    ("zh", ["网址是example.com,请访问.", "价格3,500元,数量5个,文件.txt在这里."]),
    ("zh", ["他说:“好的!”", "然后走了。"]),
    ("ja", ["「はい!」", "ご注文は本日発送しました.", "ありがとうございます"]),
    ("hi", ["नमस्ते।", "आपका ऑर्डर आज सुबह निकल गया है।"]),
    ("ar", ["مرحبا بك،كيف حالك؟", "طلبك جاهز الآن عند د.محمد."]),
    ("ur", ["آپ کا آرڈر نکل گیا ہے۔", "کل پہنچ جائے گا۔", "شکریہ"]),
    ("hy", ["Բարև Ձեզ։", "Ձեր պատվերն այսօր առավոտյան ուղարկվել է։"]),
    ("am", ["ሰላም።", "እንዴት ነህ፧", "ትእዛዝህ ተልኳል።"]),
    ("km", ["សួស្តី។", "ការបញ្ជាទិញរបស់អ្នកត្រូវបានផ្ញើហើយ។"]),
    ("my", ["မင်္ဂလာပါ။", "သင့်အော်ဒါကိုပို့ပြီးပါပြီ။", "ကျေးဇူးတင်ပါတယ်။"]),
    ("he", ["שלום!", "ת.ז. שלי כאן."]),
    ("en", ["Your order shipped 📦.", "Track it here 👉 soon 😊.", "Bye 👋"]),
    ("en", ['She said "it is done".', "Ask Mr. 😊 Smith now."]),
    ("ru", ["Заказ уже в пути 📦.", "Он сказал «готово» 😊.", "Пока 👋"]),
    ("de", ["Der Laden ist am 3. Juni offen.", "Am 24. Dezember nicht."]),
    ("hu", ["Találkozzunk június 3. Reggel nyolckor.", "Jó."]),
]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize(
    ("language", "sentences"), SENTENCES, ids=[f"{code}-{i}" for i, (code, _) in enumerate(SENTENCES)]
)
def test_a_sentence_ends_at_its_mark(language: str, sentences: list[str], named: bool, size: int) -> None:
    """P18: whether a blank follows or not, and whether the language of the reply is known or not."""
    gap = " " if language in ("en", "ru", "de", "hu", "he") else ""
    text = gap.join(sentences)
    phraser = HeardAtOnce(PhrasePolicy.sentence(), language_code=language if named else None)
    phrases = [phrase for i in range(0, len(text), size) for phrase in phraser.feed(text[i : i + size], i / 100)]
    phrases += phraser.close()
    assert phrases == [sentence + " " for sentence in sentences]


def test_a_date_in_figures_ends_no_sentence() -> None:
    """P18: of a language that writes ordinals with a full stop."""
    phraser = HeardAtOnce(PhrasePolicy.sentence(), language_code="de")
    assert phraser.feed("Am 24.12. Heiligabend. Danach frei. ", 0.0) == ["Am 24.12. Heiligabend. "]


THAI = [
    "สวัสดีครับ คำสั่งซื้อของคุณถูกส่งออกไปแล้วเมื่อเช้านี้",
    "พัสดุจะถึงในวันพรุ่งนี้ก่อนเที่ยง",
    "กรุณาเตรียมเงินสด 500 บาท ไว้ด้วยนะ ครับ",
    "หากมีคำถามโทรหาเราได้ทุกเวลา",
]


@pytest.mark.parametrize("language", ["th", None])
@pytest.mark.parametrize("policy", [PhrasePolicy.balanced(), PhrasePolicy.eager()])
def test_a_blank_in_thai_is_the_end_of_a_clause(policy: PhrasePolicy, language: str | None) -> None:
    """P18: words are not parted by blanks, so a reply waited for its end. A particle stays with its clause."""
    text = " ".join(THAI)
    phraser = HeardAtOnce(policy, language_code=language)
    phrases = [phrase for i, char in enumerate(text) for phrase in phraser.feed(char, i / 10)] + phraser.close()
    assert "".join(phrases) == text + " "
    assert len(phrases) >= len(THAI)
    assert not any(phrase.startswith("ครับ") for phrase in phrases)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("สวัสดีครับ 500บาท น้ำ", ["ส", "วั", "ส", "ดี", "ค", "รั", "บ", "500", "บา", "ท", "น้ำ"]),
        ("ສະບາຍດີ", ["ສະ", "ບາ", "ຍ", "ດີ"]),
        ("កម្ពុជា។ល្អ", ["ក", "ម្ពុ", "ជា។", "ល្អ"]),
        ("ကျေးဇူး၊ပါတယ်။", ["ကျေး", "ဇူး၊", "ပါ", "တယ်။"]),
        ("您好, hello", ["您", "好,", "hello"]),
        ("Привет, мир", ["Привет,", "мир"]),
    ],
)
def test_what_was_heard_is_told_by_clusters_where_no_blank_parts_words(text: str, words: list[str]) -> None:
    """P9: a Thai clause was one word of some seconds, of which nothing counted as heard before its end."""
    assert [text[start:end] for start, end in word_spans(text)] == words


PIECES = [
    "Да",
    "ёж",
    "Okay",
    "co-op",
    "№5",
    "42",
    "й",
    "\u2139",
    "…",
    "“that”",
    "你",
    "好，",
    "สวัส",
    "ကျေး",
    "\u00a0",
    " ",
    ".",
    "'s",
]
"""Parts of words, and of texts: letters with marks of their own too, and a letter that is an emoji."""


@example("Да, 好，สวัส “that” ကျေး")
@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_words_are_found_alike_in_texts_of_all_scripts(text: str) -> None:
    """Where blanks part all words, they are found by a shorter pattern, in a third of the time."""
    assert word_spans(text) == [match.span() for match in word_pattern().finditer(text)]


@example("\u2139Да")
@given(st.lists(st.sampled_from(PIECES), min_size=1).map(lambda pieces: "".join(pieces).replace(" ", "")) | st.text())
def test_a_word_without_marks_is_taken_apart_as_one_with_a_mark(run: str) -> None:
    """It needs no search for its marks; behind a mark, the same word is searched for."""
    plain, marked = (read_word(f"{mark}{run}", end=9, previous=None, starts_line=False) for mark in ("", "("))
    assert (plain is None) == (marked is None)
    if plain is not None and marked is not None:
        assert marked.body == f"({plain.body}"
        plain.body = marked.body
        assert plain == marked
