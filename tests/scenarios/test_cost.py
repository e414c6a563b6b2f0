"""How much code a token and a message run through: in service it meets cold caches, where each function costs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import pytest
import trio

from tests.helpers import make_config, memory_service, speaking
from tts_trio.local_server import Behavior
from tts_trio.local_server import __file__ as local_server_file
from tts_trio.text import __file__ as text_file
from tts_trio.transport.tls_stream import TLSStream

_PACKAGE = text_file.removesuffix("text/__init__.py")
_LOCAL_SERVER = local_server_file.removesuffix("__init__.py")
_BELOW = ("transport/", "testing/")  # the socket, over TLS or in memory, has a cost of its own
_BEGINNINGS = {"en": "Good afternoon, ", "ru": "Добрый день, "}
_TOKENS = {"en": ["your ", "order ", "left ", "our ", "house"], "ru": ["ваш ", "заказ ", "уже ", "у нас ", "лежит"]}

_REPLIES = {
    "en": "Good afternoon, thank you for calling us today. Your order left our warehouse this morning, and the courier "
    "will bring it to your door on Friday between nine and twelve. Is that fine?",
    "ru": "Добрый день, спасибо за ваш звонок сегодня. Ваш заказ уже уехал со склада сегодня утром, и курьер привезет "
    "его к вам домой в пятницу между девятью и двенадцатью часами. Вам удобно?",
}


@contextmanager
def own_calls(called: Callable[[FrameType], object]) -> Generator[None]:
    """Tell of each of the package's own functions that runs in a block, by its frame."""

    def note(frame: FrameType, event: str, _arg: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(_PACKAGE) and not name.startswith(_LOCAL_SERVER):
            called(frame)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def functions() -> Generator[list[str]]:
    """Note the package's own functions that run in a block, each as its file and its name."""
    names: list[str] = []

    def note(frame: FrameType) -> None:
        names.append(f"{frame.f_code.co_filename.removeprefix(_PACKAGE)} {frame.f_code.co_qualname}")

    with own_calls(note):
        yield names


@contextmanager
def owners() -> Generator[set[type]]:
    """Note the package's own classes whose methods run in a block."""
    classes: set[type] = set()

    def note(frame: FrameType) -> None:
        owner = type(frame.f_locals.get("self"))
        if owner.__module__.startswith("tts_trio."):
            classes.add(owner)

    with own_calls(note):
        yield classes


def functions_of(act: Callable[[], object]) -> int:
    """Count the package's own functions that run."""
    with functions() as names:
        act()
    return len(names)


@pytest.mark.parametrize("language", _TOKENS)
async def test_most_tokens_run_through_few_functions(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """A token that ends no phrase is only kept: no sending, no waking, one look at one timer."""
    async with memory_service() as service, speaking(make_config(language_code=language), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            text.send_nowait(_BEGINNINGS[language] * 2)
            await audio.receive()
            counts = [functions_of(partial(text.send_nowait, token)) for token in _TOKENS[language]]
            assert all(0 < count <= 17 for count in counts[1:]), counts


@pytest.mark.parametrize("language", _REPLIES)
async def test_the_words_of_a_reply_run_through_few_functions(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """A token a word, with what sends its phrases: each word is looked at once, and a place when it is asked for."""
    words = _REPLIES[language].split()
    async with memory_service() as service, speaking(make_config(language_code=language), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, _audio):
            count = 0
            for word in words:
                count += functions_of(partial(text.send_nowait, f" {word}"))
                await trio.sleep(0.03)
            assert len(words) < count <= 30 * len(words), count / len(words)


@pytest.mark.parametrize("language", _TOKENS)
async def test_a_message_runs_through_few_functions(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """Once all text was sent, a message with times is decoded, placed in the text, and given to its one reader."""
    config = make_config(language_code=language)
    async with memory_service(Behavior(speed=1.0)) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(_BEGINNINGS[language] * 9) as audio:
            counts: list[int] = []
            for _ in range(6):
                with functions() as names:
                    await anext(audio)
                taken = names[names.index("wire/messages.py decode") :]
                puts_off = "transport/timers.py Timer.put_off" in taken  # which one in several does, by four more
                counts.append(sum(not name.startswith(_BELOW) for name in taken) - 4 * puts_off)
            assert all(0 < count <= 30 for count in counts[1:]), counts  # the first one has more to tell
            assert len(audio.words) > 4


@pytest.mark.parametrize("language", _BEGINNINGS)
async def test_the_request_of_a_static_text_is_behind_few_functions(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """A caller waits for it, mostly after some silence, in which the caches have gone to others."""
    async with memory_service() as service, speaking(make_config(language_code=language), service.open_stream) as tts:
        for number in range(2):  # what is done once for each voice is done with the first one
            with functions() as names:
                async with tts.stream_static_text(_BEGINNINGS[language] + str(number)) as audio:
                    assert b"".join([chunk async for chunk in audio])
            await trio.sleep(1)
        before = names[: names.index("transport/http/stream.py WatchedStream.is_quiet")]
    assert 100 < len(before) <= 125
    assert "static_text/driver.py StaticText._keep_deadlines" not in before, "nothing is due before the request"
    assert "static_text/guarded_cache.py GuardedCache._guard" not in before, "the cache in memory is never waited for"


async def test_what_tokens_and_messages_touch_keeps_its_attributes_in_slots(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Between two messages of one of 200 calls its objects leave the caches; in a dict they take twice the lines."""
    async with memory_service(Behavior(speed=1.0)) as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            text.send_nowait(_BEGINNINGS["ru"] * 9)
            await audio.receive()
            with owners() as classes:
                for token in _TOKENS["ru"]:
                    text.send_nowait(token)
                await audio.receive()
    assert len(classes) > 20
    in_dicts = {each.__name__ for each in {*classes, TLSStream} if each.__dictoffset__}
    assert in_dicts == {"TTSManager", "AudioChannel", "TextChannel"}, "those that users have in hand"
