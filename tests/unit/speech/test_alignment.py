from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_trio.speech.alignment import SpokenText
from tts_trio.text import speakable
from tts_trio.wire.events import Alignment, AudioReceived

STEP = 50


def alignment(text: str, start: int = 0, step: int = STEP) -> Alignment:
    """Times for a text, every character as long as the next."""
    return Alignment(tuple(text), tuple(start + step * at for at in range(len(text))), (step,) * len(text))


def spoken_text(*phrases: str) -> SpokenText:
    spoken = SpokenText()
    for phrase in phrases:
        spoken.sent(phrase)
    return spoken


def receive(spoken: SpokenText, ms: float, source: Alignment | None, read: Alignment | None) -> None:
    spoken.received(ms, AudioReceived(b"", source, read))


def times(spoken: SpokenText) -> list[tuple[str, float, float]]:
    return [(word.text, word.start_ms, word.end_ms) for word in spoken.words]


# As recorded (wire/README.md, 2.5): the whole clip in its first message, `alignment` without the leading blank.
HELLO = Alignment(
    tuple("Hello world. "),
    (0, 81, 139, 174, 232, 290, 337, 395, 453, 511, 569, 627, 755),
    (81, 58, 35, 58, 58, 47, 58, 58, 58, 58, 58, 128, 46),
)


@pytest.mark.parametrize(
    ("phrase", "message", "words"),
    [
        ("Hello world. ", HELLO, [("Hello", 0, 290), ("world.", 337, 627)]),
        (
            "Добрый день! ",
            alignment("Добрый день! "),
            [("Добрый", 0, 300), ("день!", 350, 550)],
        ),
        ("Hi. ", alignment(" Hi. "), [("Hi.", 50, 150)]),
        ("Да", alignment("Да "), [("Да", 0, 100)]),
        (
            "早上好。OK",
            alignment("早上好。OK "),
            [("早", 0, 50), ("上", 50, 100), ("好。", 100, 150), ("OK", 200, 300)],
        ),
        ("Ура 🎉! ", alignment("Ура 🎉! "), [("Ура", 0, 150), ("🎉!", 200, 300)]),
    ],
)
def test_one_clip(phrase: str, message: Alignment, words: list[tuple[str, float, float]]) -> None:
    spoken = spoken_text(phrase)
    receive(spoken, 975, message, None)
    assert times(spoken) == words
    assert spoken.covered == len(phrase)
    assert [phrase[word.start : word.end] for word in spoken.words] == [text for text, _, _ in words]


def test_a_clip_begins_after_the_audio_before_it() -> None:  # P9: not by the alignments' own sums
    spoken = spoken_text("Hello world. ", "Как дела? ")
    receive(spoken, 975, HELLO, None)
    receive(spoken, 9, None, None)
    receive(spoken, 700, alignment("Как дела? "), None)
    assert times(spoken)[2:] == [("Как", 984, 1134), ("дела?", 1184, 1384)]


def test_a_phrase_that_is_all_timed_is_not_gone_on_with() -> None:  # whether or not its times end in a blank
    spoken = spoken_text("Hello world. ", "Как дела? ")
    receive(spoken, 975, alignment("Hello world."), None)
    receive(spoken, 700, alignment("Как дела?"), None)
    assert times(spoken)[2:] == [("Как", 975, 1125), ("дела?", 1175, 1375)]


def test_words_never_overlap() -> None:
    spoken = spoken_text("a b. ")
    receive(spoken, 1000, Alignment(("a", " ", "b", "."), (0, 50, 100, 300), (200, 50, 90, 50)), None)
    assert times(spoken) == [("a", 0, 200), ("b.", 200, 200)]


def test_words_wait_for_their_audio_and_coverage_does_not() -> None:
    spoken = spoken_text("Hello world. ")
    receive(spoken, 400, HELLO, None)
    assert times(spoken) == [("Hello", 0, 290)]
    assert spoken.spoken(math.inf) == "Hello"
    assert spoken.covered == len("Hello world. ")
    receive(spoken, 600, None, None)
    assert times(spoken) == [("Hello", 0, 290), ("world.", 337, 627)]


@pytest.mark.parametrize(("end", "dialogue"), [("final", False), ("final", True), ("clip", True)])
def test_times_a_little_longer_than_the_audio_are_compressed_into_it(end: str, dialogue: bool) -> None:
    spoken = SpokenText(dialogue=dialogue)
    spoken.sent("one two ")
    spoken.sent("три ")
    receive(spoken, 200, alignment("one two "), None)
    receive(spoken, 80, None, None)
    if end == "final":
        spoken.final()
    else:
        receive(spoken, 200, alignment("три "), None)
    assert not spoken.lost_audio
    assert times(spoken)[:2] == [("one", 0, 120), ("two", 160, 280)]


@pytest.mark.parametrize("reaches", [1, 20, 49])
def test_a_character_may_reach_into_the_next_message(reaches: int) -> None:
    """P9: whose times count from its own audio; over a long phrase nothing adds up."""
    text = "Здравствуйте-здравствуйте-здравствуйте, notwithstanding-notwithstanding. "
    spoken = spoken_text(text)
    for index in range(0, len(text), 5):
        message = alignment(text[index : index + 5], reaches if index else 0)
        receive(spoken, 5 * STEP - (reaches if not index else 0), message, None)
    assert times(spoken) == times_of_one(text)


def times_of_one(text: str) -> list[tuple[str, float, float]]:
    """The times of a clip that came in one message."""
    whole = spoken_text(text)
    receive(whole, len(text) * STEP, alignment(text), None)
    return times(whole)


CUT = "Hola, Antoine, soy Maria, la talent manager virtual de Orbio test. "


@pytest.mark.parametrize("first_ms", [1000, 1600, 1900], ids=["audio behind", "audio along", "audio ahead"])
@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "normalized"),
    [
        (CUT[:30], CUT[30:], False),
        (" " + CUT[:30], CUT[30:], True),
        (" " + CUT[:30], " " + CUT[30:], True),  # a blank in the middle of the word
    ],
)
def test_times_that_broke_off_inside_a_word_go_on(
    first: str, second: str, normalized: bool, restarts: bool, first_ms: float
) -> None:  # pipecat #4316, #4391, elevenlabs-python #689: only the sum of the messages is right
    spoken = spoken_text(CUT)
    start = 0 if restarts else len(first) * STEP
    for ms, piece in ((first_ms, alignment(first)), (4000, alignment(second, start))):
        receive(spoken, ms, *((None, piece) if normalized else (piece, None)))
    told = {text: (start, end) for text, start, end in times(spoken)}
    word = CUT.index("talent") * STEP
    lead = (len(first) - 30) * STEP
    inner = (len(second) - len(CUT[30:])) * STEP
    assert list(told) == CUT.split()
    assert told["talent"] == (lead + word, lead + inner + word + 6 * STEP)
    assert told["test."][1] == lead + inner + (len(CUT) - 2) * STEP


@pytest.mark.parametrize("text", ["Да... Вот так! ", "Yes... This way! "])
@pytest.mark.parametrize("dialogue", [True, False])
def test_a_word_whose_marks_are_still_to_come_has_a_time(text: str, dialogue: bool) -> None:
    """P13: times may break off behind its last letter, and what was heard by then is not said again."""
    spoken = SpokenText(dialogue=dialogue)
    spoken.sent(text)
    letters = text.index(".")
    pieces = [text[:letters], text[letters : letters + 1], text[letters + 1 : letters + 6], text[letters + 6 :]]
    for piece in pieces:
        receive(spoken, STEP * len(piece), alignment(piece), None)
        if piece is pieces[0]:
            assert times(spoken) == [(text.split()[0], 0, STEP * letters)]
            assert spoken.spoken(math.inf) == text.split()[0]
            assert spoken.resume(STEP * letters) == (letters + 4, STEP * letters)
    whole = SpokenText(dialogue=dialogue)
    whole.sent(text)
    receive(whole, STEP * len(text), alignment(text), None)
    assert times(spoken) == times(whole)
    assert [spoken.resume(ms) for ms in range(0, 700, 10)] == [whole.resume(ms) for ms in range(0, 700, 10)]


def test_the_rest_of_a_word_is_found_when_only_the_words_read_come() -> None:
    spoken = spoken_text("la talent. ")
    receive(spoken, 200, alignment("la t"), None)
    receive(spoken, 500, None, alignment("alent. "))
    assert times(spoken) == [("la", 0, 100), ("talent.", 150, 450)]


def test_where_alignment_overlaps_the_normalized_one_counts() -> None:  # pipecat #4316
    spoken = spoken_text(CUT, "И дальше. ")
    receive(spoken, 1600, alignment(CUT[:32]), alignment(" " + CUT[:30]))
    receive(spoken, 1900, alignment(CUT), alignment(CUT[30:]))
    receive(spoken, 500, alignment("И дальше. "), None)
    assert [text for text, _, _ in times(spoken)] == [*CUT.split(), "И", "дальше."]
    assert times(spoken)[-1] == ("дальше.", 3600, 3900)


@pytest.mark.parametrize(
    ("phrase", "read", "words"),
    [
        (
            "У нас 42 рубля. ",
            " У нас сорок два рубля. ",
            [("У", 50, 100), ("нас", 150, 300), ("42", 350, 800), ("рубля.", 850, 1100)],
        ),
        ("Осталось 42. ", " Осталось сорок два. ", [("Осталось", 50, 450), ("42.", 500, 950)]),
        ("42. ", " сорок два. ", [("42.", 50, 500)]),
        (
            "Д-р Ежов ждёт в каб. 12. ",
            " Доктор Ежов ждет в кабинете двенадцать. ",
            [
                ("Д-р", 50, 350),
                ("Ежов", 400, 600),
                ("ждёт", 650, 850),
                ("в", 900, 950),
                ("каб.", 1000, 1400),
                ("12.", 1450, 1950),
            ],
        ),
        ("Dr. Who is. ", " doctor who is. ", [("Dr.", 50, 350), ("Who", 400, 550), ("is.", 600, 700)]),
        # What lies between two anchors is shared out by the length of the words.
        (
            "at 10:30 am sharp. ",
            " at half past ten sharp. ",
            [("at", 50, 150), ("10:30", 200, 633), ("am", 633, 850), ("sharp.", 900, 1150)],
        ),
        # What is not said takes no time of its own, what is said besides belongs to the word before.
        ("Готово! 🙂 ", " Готово! ", [("Готово!", 50, 350), ("🙂", 400, 400)]),
        ("ten kg left. ", " ten whole kg left. ", [("ten", 50, 500), ("kg", 550, 650), ("left.", 700, 900)]),
        ("早上好。", " Zao Shang Hao . ", [("早", 50, 200), ("上", 250, 500), ("好。", 550, 700)]),
    ],
)
def test_words_read_otherwise_than_written(phrase: str, read: str, words: list[tuple[str, float, float]]) -> None:
    spoken = spoken_text(phrase, "Next. ")
    receive(spoken, 3000, None, alignment(read))
    assert [(text, round(start), round(end)) for text, start, end in times(spoken)] == words
    assert spoken.covered == len(phrase)


@pytest.mark.parametrize(
    "message",
    [
        None,
        alignment("Что-то совсем другое. "),
        alignment("Что-то совсем друго"),
        alignment("Something el"),
        Alignment(("a",), (), ()),
    ],
)
def test_a_clip_without_times_has_ended_when_the_next_begins(message: Alignment | None) -> None:
    spoken = spoken_text("Первая фраза. ", "Second phrase. ", "Третья. ")
    receive(spoken, 800, message, None)
    assert (spoken.estimated, spoken.covered) == (True, 0)
    receive(spoken, 800, alignment("Second phrase. "), None)
    assert times(spoken) == [("Second", 800, 1100), ("phrase.", 1150, 1450)]
    assert not spoken.estimated
    assert spoken.spoken(799) == ""
    assert spoken.spoken(800) == "Первая фраза."
    assert spoken.resume(900) == (len("Первая фраза. "), 800)


def test_a_word_that_is_not_said_holds_nothing_up() -> None:
    spoken = spoken_text("Готово! 🙂 ", "«Дальше». ")
    receive(spoken, 350, alignment("Готово!"), None)
    assert spoken.covered == len("Готово! 🙂 «")
    receive(spoken, 500, alignment("«Дальше». "), None)
    assert times(spoken) == [("Готово!", 0, 300), ("«Дальше».", 350, 700)]


def test_a_later_clip_is_found_by_the_words_read_too() -> None:
    spoken = spoken_text("Первая фраза. ", "Ещё 42 рубля. ")
    receive(spoken, 800, None, None)
    receive(spoken, 1500, None, alignment(" Еще сорок два рубля. "))
    assert [word.text for word in spoken.words] == ["Ещё", "42", "рубля."]
    assert spoken.spoken(800) == "Первая фраза."


@pytest.mark.parametrize(
    ("phrases", "pieces"),
    [
        (["$5 ещё anchor. ", "$5 anchor $5 42. "], ["five dollars anchor five d", "ollars с", "орок два. "]),
        (
            ["16% ещё привет. ", "16% привет 16% 42. "],
            ["шестнадцать процентов привет шестн", "адцать п", "роцентов сорок два. "],
        ),
    ],
)
def test_times_that_broke_off_behind_what_was_found_go_on(phrases: list[str], pieces: list[str]) -> None:
    """P33: the phrase before came without times, and ends like these begin; no audio is missing."""
    spoken = spoken_text(*phrases)
    receive(spoken, 250, None, None)
    for ms, piece in zip((1, 0, 3000), pieces, strict=True):
        receive(spoken, ms, None, alignment(piece))
        assert not spoken.lost_audio
    spoken.final()
    assert spoken.spoken(spoken.received_ms) == "".join(phrases).rstrip()


@pytest.mark.parametrize(
    ("phrases", "pieces"),
    [
        (["Первая фраза. ", "Осталось 42 рубля. "], ["О", "сталось сорок два рубля. "]),
        (["The first phrase. ", "Order 42 left. "], ["O", "rder forty two left. "]),
    ],
)
@pytest.mark.parametrize("first_ms", [10, STEP, 90], ids=["audio behind", "audio along", "audio ahead"])
def test_a_later_phrase_begins_with_the_times_that_were_not_found_yet(
    phrases: list[str], pieces: list[str], first_ms: float
) -> None:
    """P9: its times count from where the clip began, and not from the message that told where it belongs."""
    spoken = spoken_text(*phrases)
    receive(spoken, 800, None, None)
    for ms, piece in zip((first_ms, 2000), pieces, strict=True):
        receive(spoken, ms, None, alignment(piece))
    whole = spoken_text(*phrases)
    receive(whole, 800, None, None)
    receive(whole, 2000, None, alignment("".join(pieces)))
    assert times(spoken) == times(whole) != []
    assert spoken.spoken(800) == phrases[0].rstrip()


def test_nothing_is_passed_without_audio_for_it() -> None:
    spoken = spoken_text("Первая фраза. ", "Second phrase. ")
    receive(spoken, 800, alignment("Second phrase. "), None)
    assert (spoken.estimated, spoken.covered) == (True, 0)


@pytest.mark.parametrize("text", ["Первая фраза тут. Second phrase. ", "One, two, three — four 🙂! "])
def test_without_any_times_the_audio_is_shared_out_by_characters(text: str) -> None:  # P38
    spoken = SpokenText(characters_a_second=10)
    spoken.sent(text)
    words, length = text.split(), len(text.rstrip())
    for ms in range(0, 100 * length, 50):
        ended = [word for word in words if 100 * (text.index(word) + len(word)) <= ms]
        assert [word.text for word in spoken.words] == ended
        assert all(word.estimated for word in spoken.words)
        assert spoken.spoken(math.inf).split() == ended
        offset, trimmed = spoken.resume(ms)
        again = text[offset:].split()
        assert again == words[len(words) - len(again) :]
        heard = sum(map(speakable, ended))
        assert sum(map(speakable, again)) == sum(map(speakable, words)) - max(0, heard - 1)  # a word earlier
        assert trimmed == ms
        receive(spoken, 50, None, None)
    assert spoken.covered == 0
    spoken.final()
    assert spoken.covered == len(text)
    assert spoken.spoken(spoken.received_ms) == text.rstrip()
    assert spoken.resume(spoken.received_ms) == (len(text), spoken.received_ms)


def test_a_final_without_audio_has_spoken_nothing() -> None:
    spoken = spoken_text("Hello. ")
    spoken.final()
    assert spoken.spoken(math.inf) == ""


@pytest.mark.parametrize(
    ("delivered", "said", "rest", "trimmed"),
    [
        (0, "", "Hello world. ", 0),
        (289, "", "Hello world. ", 0),
        (290, "Hello", "world. ", 290),
        (289.9999, "Hello", "world. ", 289.9999),  # a rounding of the caller's
        (626, "Hello", "world. ", 290),
        (627, "Hello world.", "", 627),  # the mark is no reason to say it again
        (754, "Hello world.", "", 754),
        (755, "Hello world.", "", 755),
        (math.inf, "Hello world.", "", 755),
    ],
)
def test_resuming_begins_at_the_first_word_not_wholly_delivered(
    delivered: float, said: str, rest: str, trimmed: float
) -> None:  # P13
    spoken = spoken_text("  Hello world. ")
    receive(spoken, 975, HELLO, None)
    offset, trimmed_ms = spoken.resume(delivered)
    assert spoken.spoken(delivered).strip() == said
    assert spoken.text[offset:] == rest
    assert trimmed_ms == trimmed


@pytest.mark.parametrize("text", ["Hi there. ", "Да конечно. "])
@pytest.mark.parametrize("missing", [0.4, 1e-9])  # a sample that does not fill a millisecond; the sum of many messages
def test_the_last_word_that_came_is_not_said_again_for_a_rounding(text: str, missing: float) -> None:
    spoken = spoken_text(text)
    receive(spoken, 2 * STEP - missing, alignment(text[:2]), None)
    assert times(spoken) == [(text[:2], 0, spoken.received_ms)]
    assert spoken.spoken(math.inf) == text[:2]
    assert spoken.resume(spoken.received_ms) == (3, spoken.received_ms)


@pytest.mark.parametrize(
    "broken",
    [
        Alignment(("H", "i"), (0,), (50, 50)),
        Alignment(("H", "i"), (0, 50), (50,)),
        Alignment(("H", "i"), (50, 0), (50, 50)),
        Alignment(("H", "i"), (-1, 50), (50, 50)),
        Alignment(("H", "i"), (0, 50), (50, -50)),
        Alignment(("H", "i"), (0, 10**400), (50, 50)),
        Alignment((), (), ()),
        Alignment(("", ""), (0, 1), (1, 1)),
    ],
)
def test_malformed_times_are_passed_over(broken: Alignment) -> None:
    spoken = spoken_text("Hi ", "there. ")
    receive(spoken, 100, broken, broken)
    assert (spoken.words, spoken.covered, spoken.received_ms) == ((), 0, 100)
    receive(spoken, 400, alignment("there. "), broken)
    assert times(spoken) == [("there.", 100, 350)]


@pytest.mark.parametrize("chars", [("👋", "!"), ("\ud83d", "\udc4b", "!"), ("👋!",), ("", "👋", "", "!")])
def test_characters_may_come_in_halves_or_together(chars: tuple[str, ...]) -> None:
    spoken = spoken_text("👋! ")
    receive(spoken, 1000, Alignment(chars, (0,) * len(chars), (100,) * len(chars)), None)
    assert times(spoken) == [("👋!", 0, 100)]


# The service, simulated: what is said of every word, and how its clips may come.

WORDS = {
    "привет": "привет",
    "рублей,": "рублей,",
    "ещё": "еще",
    "world": "world",
    "don't": "don't",
    "как": "как",
    "42": "сорок два",
    "$5": "five dollars",
    "д-р": "доктор",
    "16%": "шестнадцать процентов",
}


@attrs.frozen
class Message:
    ms: float
    source: Alignment | None
    read: Alignment | None


@attrs.frozen
class Said:
    end: int  # in the text
    start_ms: float
    end_ms: float
    as_written: bool


@attrs.frozen
class Speech:
    phrases: list[str]
    messages: list[Message]
    words: list[Said]


def timed(text: str, starts: Sequence[int], offset: int = 0) -> Alignment:
    first, durations = starts[offset], [end - start for start, end in itertools.pairwise(starts)]
    until = offset + len(text)
    return Alignment(tuple(text), tuple(at - first for at in starts[offset:until]), tuple(durations[offset:until]))


@st.composite
def speeches(draw: st.DrawFn, *, lose: bool = False) -> Speech:
    """Speech as it may come: clips with silence behind them, their audio and their times cut into messages."""
    phrases: list[str] = []
    messages: list[Message] = []
    heard: list[Said] = []
    begins = chars = 0
    use_read = draw(st.booleans())
    for _ in range(draw(st.integers(1, 4))):
        words = draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=6))
        words.insert(draw(st.integers(0, len(words))), "anchor")  # a phrase is more than numbers
        phrase = " ".join(words) + ". "
        phrases.append(phrase)
        spelled = [WORDS.get(word, word) for word in words] if use_read else words
        said = " ".join(spelled) + ". "
        durations = draw(st.lists(st.integers(10, 90), min_size=len(said), max_size=len(said)))
        starts = [0, *itertools.accumulate(durations)]
        at = position = 0
        for index, (written, spelling) in enumerate(zip(words, spelled, strict=True)):
            stop = index == len(words) - 1
            ends, read = at + len(written) + stop, position + len(spelling) + stop
            as_written = spelling == written or written == "ещё"
            letters = read - stop - spelling.endswith(",")  # a mark after a word is no part of it in time
            heard.append(Said(chars + ends, begins + starts[position], begins + starts[letters], as_written))
            at, position = ends + 1, read + 1
        chars += len(phrase)
        cuts = draw(st.lists(st.integers(1, len(said) - 1), max_size=2, unique=True).map(sorted))
        cuts = [0, *(cut for cut in cuts if said[cut - 1 : cut + 1].isalnum()), len(said)]
        total = starts[-1] + draw(st.integers(0, 300))
        lost = lose and draw(st.booleans())
        audio = draw(st.lists(st.integers(1, total), min_size=len(cuts) - 1, max_size=len(cuts) - 1).map(sorted))
        audio[-1] = total
        for index, (begin, end) in enumerate(itertools.pairwise(cuts)):
            piece = None if lost else timed(said[begin:end], starts, begin)
            ms = audio[index] - (audio[index - 1] if index else 0)
            messages.append(Message(ms, *((None, piece) if use_read else (piece, None))))
        if draw(st.booleans()):
            messages.append(Message(0, None, None))
        begins += total
    return Speech(phrases, messages, heard)


def check(spoken: SpokenText, delivered: float) -> None:
    """What holds at any time, whatever came."""
    words, text = spoken.words, spoken.text
    assert [text[word.start : word.end] for word in words] == [word.text for word in words]
    assert all(0 <= word.start_ms <= word.end_ms <= spoken.received_ms for word in words)
    assert all(a.end <= b.start and a.end_ms <= b.start_ms for a, b in itertools.pairwise(words))
    said = [spoken.spoken(ms) for ms in (0, delivered / 2, delivered, math.inf)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(said))
    assert text.startswith(said[-1])
    offset, trimmed = spoken.resume(delivered)
    begun = spoken.spoken(delivered)
    if spoken.estimated:
        assert begun.startswith(text[:offset].rstrip())
        assert sum(map(speakable, begun[offset:].split())) <= 1
    else:
        assert begun in {text[:offset].rstrip(), text[:offset].strip()}
    assert offset == len(text) or (not text[offset].isspace() and (not offset or text[offset - 1].isspace()))
    assert 0 <= trimmed <= delivered
    assert all(word.end_ms <= delivered + 0.5 for word in words if word.end <= offset)


@given(speech=speeches(), delivered=st.floats(0, 1), ahead=st.booleans())
def test_no_word_is_lost_or_early(speech: Speech, delivered: float, ahead: bool) -> None:
    spoken = spoken_text(*(speech.phrases if ahead else []))
    waiting = iter([] if ahead else speech.phrases)
    seen, covered = 0, 0
    for message in speech.messages:
        if spoken.covered == len(spoken.text):
            spoken.sent(next(waiting, ""))
        estimated = spoken.estimated
        receive(spoken, message.ms, message.source, message.read)
        check(spoken, spoken.received_ms * delivered)
        assert len(spoken.words) >= seen or (estimated and not spoken.estimated)  # an estimate gives way to times
        assert spoken.covered >= covered
        seen, covered = len(spoken.words), spoken.covered
    spoken.final()
    check(spoken, spoken.received_ms * delivered)
    assert [word.end for word in spoken.words] == [said.end for said in speech.words]
    earliest = 0.0
    for index, (word, said) in enumerate(zip(spoken.words, speech.words, strict=True)):
        if said.as_written:
            assert word.end_ms == pytest.approx(said.end_ms)
            earliest = said.end_ms
        else:  # somewhere between the words beside it that were read as written
            following = (later.start_ms for later in speech.words[index:] if later.as_written)
            assert earliest <= word.end_ms <= next(following, speech.words[-1].end_ms) + 1e-6
    assert spoken.spoken(math.inf) == "".join(speech.phrases).rstrip()


@given(speech=speeches(lose=True), delivered=st.floats(0, 1))
def test_where_times_are_lost_the_end_is_certain(speech: Speech, delivered: float) -> None:
    spoken = spoken_text(*speech.phrases)
    for message in speech.messages:
        receive(spoken, message.ms, message.source, message.read)
        check(spoken, spoken.received_ms * delivered)
    spoken.final()
    check(spoken, spoken.received_ms * delivered)
    assert spoken.spoken(spoken.received_ms) == "".join(speech.phrases).rstrip()
    assert spoken.covered == len(spoken.text)


def test_estimates_made_before_more_text_was_sent_do_not_overlap_those_made_after_it() -> None:
    spoken = spoken_text("44好44444444 4444 4444444 ")
    receive(spoken, 134, None, None)
    assert spoken.words
    spoken.sent("4 ")
    receive(spoken, 66, None, None)
    words = spoken.words
    assert words[0].end_ms == words[1].start_ms


TEXTS = st.text(st.sampled_from("аб a4.🙂\ud83d\udc4b好 "), max_size=12)
NUMBERS = st.integers(-100, 900) | st.integers()
ALIGNMENTS = st.none() | st.builds(
    Alignment,
    st.lists(TEXTS, max_size=8).map(tuple) | TEXTS.map(tuple),
    st.lists(NUMBERS, max_size=8).map(tuple) | st.lists(st.integers(0, 900), max_size=12).map(sorted).map(tuple),
    st.lists(NUMBERS, max_size=8).map(tuple) | st.just((9,) * 8),
)


@given(
    steps=st.lists(
        TEXTS.map(lambda text: text + " ") | st.tuples(st.floats(0, 900), ALIGNMENTS, ALIGNMENTS), max_size=9
    ),
    delivered=st.floats(0, 1),
)
def test_nothing_that_comes_makes_it_fail(
    steps: list[str | tuple[float, Alignment | None, Alignment | None]], delivered: float
) -> None:
    spoken = SpokenText()
    for step in steps:
        if isinstance(step, str):
            spoken.sent(step)
        else:
            receive(spoken, *step)
        words, text = spoken.words, spoken.text
        assert all(a.end <= b.start and a.end_ms <= b.start_ms for a, b in itertools.pairwise(words))
        offset, _ = spoken.resume(spoken.received_ms * delivered)
        assert text.startswith(spoken.spoken(math.inf))
        assert 0 <= offset <= len(text)
    spoken.final()
    assert spoken.covered == len(spoken.text)


@pytest.mark.parametrize(
    "phrases",
    [
        ("Кахимста? ", "Люцофо. ", "Кака джонифо! ", "Тунтун ведён граска. ", "Тун. "),
        ("One moment. ", "Bitte. ", "Your order left yesterday evening. ", "It is on its way to you. ", "Fine? "),
    ],
)
def test_times_that_are_told_twice_are_of_no_later_phrase(phrases: tuple[str, ...]) -> None:
    """P5: a phrase that nobody heard would not be said again when the connection is lost."""
    spoken = spoken_text(*phrases)
    for phrase in phrases[:2]:
        receive(spoken, STEP * len(phrase), alignment(phrase), alignment(phrase))
    for _ in range(3):
        receive(spoken, 0.1, alignment(phrases[1]), alignment(phrases[1]))
    assert spoken.resume(spoken.received_ms)[0] == len(phrases[0] + phrases[1])
    receive(spoken, STEP * len(phrases[2]), alignment(phrases[2]), alignment(phrases[2]))
    assert spoken.resume(spoken.received_ms)[0] == len("".join(phrases[:3]))
