"""How much code a token runs through: in service it meets cold caches, where the number of functions is its cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest
import trio

from tests.helpers import make_config, memory_service, speaking
from tts_trio.local_server import __file__ as local_server_file
from tts_trio.text import __file__ as text_file

_PACKAGE = text_file.removesuffix("text/__init__.py")
_LOCAL_SERVER = local_server_file.removesuffix("__init__.py")
_BEGINNINGS = {"en": "Good afternoon, ", "ru": "Добрый день, "}
_TOKENS = {"en": ["your ", "order ", "left ", "our ", "house"], "ru": ["ваш ", "заказ ", "уже ", "у нас ", "лежит"]}

_REPLIES = {
    "en": "Good afternoon, thank you for calling us today. Your order left our warehouse this morning, and the courier "
    "will bring it to your door on Friday between nine and twelve. Is that fine?",
    "ru": "Добрый день, спасибо за ваш звонок сегодня. Ваш заказ уже уехал со склада сегодня утром, и курьер привезет "
    "его к вам домой в пятницу между девятью и двенадцатью часами. Вам удобно?",
}


def functions_of(act: Callable[[], object]) -> int:
    """Count the package's own functions that run."""
    names: list[str] = []

    def note(frame: FrameType, event: str, _arg: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(_PACKAGE) and not name.startswith(_LOCAL_SERVER):
            names.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return len(names)


@pytest.mark.parametrize("language", _TOKENS)
async def test_most_tokens_run_through_few_functions(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """A token that ends no phrase is only kept: no sending, no waking, one look at one timer."""
    async with memory_service() as service, speaking(make_config(language_code=language), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            text.send_nowait(_BEGINNINGS[language] * 2)
            await audio.receive()
            counts = [functions_of(partial(text.send_nowait, token)) for token in _TOKENS[language]]
            assert all(0 < count <= 20 for count in counts[1:]), counts


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
            assert len(words) < count <= 36 * len(words), count / len(words)
