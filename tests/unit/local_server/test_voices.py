from __future__ import annotations

import math
from array import array
from itertools import accumulate

import pytest
import trio
from hypothesis import assume, given
from hypothesis import strategies as st

from tts_trio import AudioFormat
from tts_trio.local_server.espeak import EspeakVoice
from tts_trio.local_server.speech import Order, Speech, Voice, render
from tts_trio.local_server.tone import ToneVoice, read_tones

ENGLISH = "Thank you for calling Northern Dental, how can I help you today? We are open until six. "
RUSSIAN = "Спасибо, что позвонили в нашу клинику, чем я могу вам помочь? Мы работаем до шести. "
PCM_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)


def speak(
    voice: Voice, text: str, *, language_code: str | None = None, speed: float = 1.0, sample_rate: int = 16000
) -> Speech:
    return voice.speak(text, language_code=language_code, speed=speed, sample_rate=sample_rate)


def seconds(speech: Speech) -> float:
    return len(speech.samples) / 2 / speech.sample_rate


def rms(samples: bytes) -> float:
    return math.sqrt(sum(sample * sample for sample in array("h", samples)) / (len(samples) // 2))


def between(speech: Speech, start_ms: float, end_ms: float) -> bytes:
    start, end = (2 * round(ms * speech.sample_rate / 1000) for ms in (start_ms, end_ms))
    return speech.samples[start:end]


def assert_contiguous(speech: Speech, text: str) -> None:
    assert len(speech.starts_ms) == len(speech.durations_ms) == len(text)
    assert all(duration >= 0 for duration in speech.durations_ms)
    if text:
        ends = accumulate(speech.durations_ms)
        assert list(speech.starts_ms) == [0, *ends][: len(text)]
        assert sum(speech.durations_ms) == round(seconds(speech) * 1000)


class TestEspeak:
    @pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, "Good morning! ", "Добрый день! "])
    def test_speaks_at_a_natural_pace_and_loudness(self, text):
        speech = speak(EspeakVoice(), text)

        assert speech.sample_rate == 22050
        assert 10 <= len(text) / seconds(speech) <= 20
        assert rms(speech.samples) > 1500  # of 32768
        assert_contiguous(speech, text)

    @pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
    def test_clips_have_little_silence_around_them(self, text):
        speech = speak(EspeakVoice(), text)

        loud = [i for i, sample in enumerate(array("h", speech.samples)) if abs(sample) > 300]
        assert loud[0] < 0.1 * speech.sample_rate
        assert len(speech.samples) // 2 - loud[-1] < 0.1 * speech.sample_rate

    @pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
    @pytest.mark.parametrize("speed", [0.7, 0.9, 1.2])
    def test_speed_changes_the_length(self, text, speed):
        normal, changed = speak(EspeakVoice(), text), speak(EspeakVoice(), text, speed=speed)

        assert seconds(changed) * speed == pytest.approx(seconds(normal), rel=0.04)

    @pytest.mark.parametrize(
        ("text", "word"),
        [("Stop here. Paul is back.", "Paul"), ("Вам сюда. Потом прямо.", "Потом"), ("It is 42, Peter.", "Peter")],
    )
    def test_times_are_true_of_the_sound(self, text, word):
        speech = speak(EspeakVoice(), text)

        start = speech.starts_ms[text.index(word)]
        pause, sound = between(speech, start - 60, start - 5), between(speech, start, start + 150)
        assert rms(pause) < 0.1 * rms(sound)

    def test_characters_share_the_time_of_their_word(self):
        text = "Extraordinary circumstances, всё."
        speech = speak(EspeakVoice(), text, language_code="ru")

        first_word = speech.durations_ms[: text.index(" ") + 1]
        assert max(first_word) - min(first_word) <= 1
        assert min(speech.durations_ms) > 0

    @pytest.mark.parametrize("text", ["8001234567", "Call 8001234567 now", "Звоните: 8001234567!"])
    def test_a_number_read_as_many_words_is_one_word(self, text):
        speech = speak(EspeakVoice(), text)

        start = text.index("8")
        digits = speech.durations_ms[start : start + 10]
        assert max(digits) - min(digits) <= 1
        assert min(digits) > 200

    @pytest.mark.parametrize("text", ["", " ", "…", "?! — .", "😀", "👍🏽 🇷🇺", "\ud800", "\x00", "\x01\x02"])
    def test_nothing_to_speak_is_no_sound(self, text):
        speech = speak(EspeakVoice(), text)

        assert speech.samples == b""
        assert speech.durations_ms == (0,) * len(text)

    @pytest.mark.parametrize(
        ("text", "plain"),
        [
            ("Hi\x00 there", "Hi there"),
            ("\x01100sHi there", "100sHi there"),
            ("Hi 😀 there", "Hi there"),
            ("Привет\ud83d, Анна", "Привет , Анна"),
        ],
    )
    def test_what_cannot_be_spoken_is_passed_over(self, text, plain):
        odd, even = speak(EspeakVoice(), text), speak(EspeakVoice(), plain)

        assert seconds(odd) == pytest.approx(seconds(even), abs=0.15)
        assert_contiguous(odd, text)

    def test_markup_is_spoken_and_not_obeyed(self):
        with_break = speak(EspeakVoice(), 'Hi <break time="9s"/> there')

        assert 1 < seconds(with_break) < 8

    @given(st.text(st.characters(codec=None), max_size=20))
    def test_any_text_is_safe(self, text):
        assert_contiguous(speak(EspeakVoice(), text), text)

    def test_a_long_text(self, exhaustive):
        text = ((ENGLISH + RUSSIAN) * 300)[: 40_000 if exhaustive else 4_000]
        speech = speak(EspeakVoice(), text)

        assert 10 <= len(text) / seconds(speech) <= 20
        assert_contiguous(speech, text)

    def test_the_language_is_that_of_the_code_or_of_the_script(self):
        def length(text: str, language_code: str | None = None) -> float:
            return seconds(speak(EspeakVoice(), text, language_code=language_code))

        same = {"abs": 0.02}  # eSpeak NG is not exact to the sample
        assert length("Wir sprechen", "de") != pytest.approx(length("Wir sprechen", "en"), **same)
        assert length("Добрий день", "uk") != pytest.approx(length("Добрий день"), **same)
        assert length("你好 friend", "zh-CN") == pytest.approx(length("你好 friend"), **same)
        for unknown in ("tlh", "../uk", "?", ""):
            assert length("Добрий день", unknown) == pytest.approx(length("Добрий день", "ru"), **same)

    @pytest.mark.parametrize(
        "text",
        ["Καλημέρα κόσμε", "שלום עולם", "مرحبا بالعالم", "你好，今天", "こんにちは世界", "안녕하세요", "नमस्ते दुनिया"],
    )
    def test_other_scripts_are_read_and_not_spelled(self, text):
        speech = speak(EspeakVoice(), text)

        assert 1.5 <= len(text) / seconds(speech) <= 20
        assert_contiguous(speech, text)

    def test_a_text_spoken_again_sounds_the_same(self):
        assert speak(EspeakVoice(), ENGLISH).samples == speak(EspeakVoice(), ENGLISH).samples
        assert speak(EspeakVoice(), ENGLISH, speed=1.1).samples != speak(EspeakVoice(), ENGLISH).samples

    async def test_many_threads_speak_at_once(self):
        texts = [f"{words} {i}" for i in range(12) for words in ("Your number is", "Ваш номер")]
        speeches: dict[str, Speech] = {}

        async def work(text: str) -> None:
            speeches[text] = await trio.to_thread.run_sync(lambda: speak(EspeakVoice(), text))

        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(work, text)

        for text in texts:
            assert_contiguous(speeches[text], text)
            assert seconds(speeches[text]) > 0.5


class TestTones:
    @pytest.mark.parametrize("sample_rate", PCM_RATES)
    def test_sixty_milliseconds_a_character(self, sample_rate):
        text = "Hello, Мир! 😀"
        speech = speak(ToneVoice(), text, sample_rate=sample_rate)

        assert speech.sample_rate == sample_rate
        assert len(speech.samples) == 2 * len(text) * sample_rate * 60 // 1000
        assert speech.durations_ms == (60,) * len(text)
        assert rms(speech.samples) > 1500
        assert_contiguous(speech, text)
        assert read_tones(speech.samples, f"pcm_{sample_rate}") == text

    @pytest.mark.parametrize("speed", [0.7, 0.93, 1.2])
    def test_speed_changes_the_length(self, speed):
        speech = speak(ToneVoice(), RUSSIAN, speed=speed)

        assert seconds(speech) == pytest.approx(0.06 * len(RUSSIAN) / speed, rel=0.001)
        assert_contiguous(speech, RUSSIAN)
        assert read_tones(speech.samples, "pcm_16000") == RUSSIAN

    @given(st.text(st.characters(codec=None)), st.sampled_from(PCM_RATES), st.floats(0.7, 1.2))
    def test_any_text_comes_back(self, text, sample_rate, speed):
        speech = speak(ToneVoice(), text, sample_rate=sample_rate, speed=speed)

        assert read_tones(speech.samples, f"pcm_{sample_rate}") == text

    @given(st.data())
    def test_pieces_cut_and_joined_anywhere(self, data: st.DataObject):
        samples, expected, last_fragment = b"", "", 0
        length = 480
        for _ in range(3):
            text = data.draw(st.text("aб😀", min_size=1, max_size=6))
            start = data.draw(st.integers(0, length * len(text) - 1))
            end = data.draw(st.integers(start + 1, length * len(text)))
            assume((start - last_fragment) % length or not last_fragment)  # not the rest of what was cut
            assume(end % length < length - 5)  # a last few samples are alike by chance
            samples += speak(ToneVoice(), text, sample_rate=8000).samples[2 * start : 2 * end]
            expected += text[-(-start // length) : max(end // length, -(-start // length))]
            last_fragment = end % length

        assert read_tones(samples, "pcm_8000") == expected

    def test_a_character_interrupted_by_another_of_its_kind_is_not_heard(self):
        burst = speak(ToneVoice(), "ж").samples

        for cut in range(0, len(burst), 2):
            for resumed in (2, 400, cut - 2, cut + 2):
                if 0 < resumed < len(burst) and resumed != cut:
                    assert read_tones(burst[:cut] + burst[resumed:], "pcm_16000") == ""

    def test_other_samples_say_nothing(self):
        samples = speak(ToneVoice(), ENGLISH).samples

        assert read_tones(b"", "pcm_16000") == ""
        assert read_tones(samples, "pcm_8000") == ""
        assert read_tones(samples[1:], "pcm_16000") == ""
        assert read_tones(speak(EspeakVoice(), ENGLISH).samples, "pcm_22050") == ""


TELEPHONE = pytest.mark.parametrize("output_format", ["ulaw_8000", "alaw_8000"])


def encoded(text: str, output_format: str, speed: float = 1.0) -> bytes:
    return b"".join(piece.audio for piece in render(Order(text, output_format, speed=speed), ToneVoice()).slices)


class TestTonesOfTheTelephone:
    @TELEPHONE
    @pytest.mark.parametrize("speed", [0.7, 0.93, 1.0, 1.2])
    @pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, "Hello, Мир! 😀"])
    def test_the_text_comes_back(self, text: str, speed: float, output_format: str):
        assert read_tones(encoded(text, output_format, speed), output_format) == f" {text} "
        assert read_tones(encoded(text, output_format, speed), AudioFormat.parse(output_format)) == f" {text} "

    @TELEPHONE
    def test_a_character_interrupted_by_another_is_not_heard(self, output_format: str):
        """Of the same pitch, and of its own kind."""
        first = encoded("ж", output_format)[480:-480]
        for other in (first, encoded(chr(ord("ж") + 32), output_format)[480:-480]):
            for cut in range(16, 480, 7):  # from where one can tell the two by their sound alone
                assert read_tones(first[:cut] + other[cut:], output_format) == ("ж" if other == first else "")
                assert read_tones(first[:cut] + other[cut + 1 :], output_format) == ""

    @TELEPHONE
    def test_a_cut_anywhere(self, output_format: str):
        sound = encoded("Раз.", output_format)
        for cut in range(0, len(sound), 97):
            assert read_tones(sound[cut:], output_format) == " Раз. "[-(-cut // 480) :]
            assert read_tones(sound[:cut], output_format) == " Раз. "[: cut // 480]

    def test_of_another_format_it_says_nothing(self):
        sound = encoded(ENGLISH, "ulaw_8000")
        assert read_tones(sound, "alaw_8000") == ""
        assert read_tones(sound, "pcm_8000") == ""

    @pytest.mark.parametrize("wrong", ["mp3_44100_128", "opus_48000_32", "wav_16000", "ulaw_16000", "pcm_", "16000"])
    def test_what_cannot_be_read_is_refused(self, wrong: str):
        with pytest.raises(ValueError, match=f"pcm_ and a sample rate, ulaw_8000 or alaw_8000, not '{wrong}'"):
            read_tones(b"", wrong)
        with pytest.raises(ValueError, match="not 'mp3_22050_32'"):
            read_tones(b"", AudioFormat.parse("mp3_22050_32"))


def test_who_may_be_called_in_the_loop():
    assert (EspeakVoice().blocking, ToneVoice().blocking) == (True, False)
