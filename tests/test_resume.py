"""Every cut heals: a connection that breaks, or freezes, before any message of a reply costs no word and repeats none.

The tone voice's samples say which text they voice. A word is heard when its last byte was delivered; of a word that was
cut in the middle a fragment may be heard, and then the whole word.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import pytest
import trio

from tests.helpers import TEXTS, Service, heard, make_config, memory_service, speaking, tokens
from tts_trio import AudioChannel, TTSConfig
from tts_trio.local_server import Behaviour, Fault, Struck

Listening: TypeAlias = Literal["eagerly", "by the clock"]
LISTENING: tuple[Listening, ...] = ("eagerly", "by the clock")
CUTS = ("reset", "freeze")


async def play(audio: AudioChannel, listening: Listening, into: list[bytes]) -> None:
    """Take the audio at once as it comes, or as a telephone does: a piece after the one before it was played."""
    clock = trio.current_time()
    async for chunk in audio:
        into.append(chunk)
        if listening == "by the clock":
            clock = max(clock, trio.current_time()) + len(chunk) / (2 * audio.format.sample_rate)
            await trio.sleep_until(clock)


def whole_words(spoken: str, text: str, *, cuts: int) -> list[str]:
    """The words heard, without the fragments of words that were cut and then said whole."""
    words: list[str] = []
    expected = text.split()
    for token in spoken.split():
        following = expected[len(words)] if len(words) < len(expected) else ""
        if token != following and following.startswith(token) and cuts:
            cuts -= 1  # a fragment: the word begins again
        else:
            words.append(token)
    return words


def every_cut(action: str, at: str = "audio") -> Iterable[Fault]:
    return (Fault(action, "audio", frame=frame, count=1, path="stream-input") for frame in itertools.count())


async def for_every_cut(
    action: str,
    config: TTSConfig,
    check: Callable[[Service, Any], Any],
    **behaviour: Any,
) -> int:
    """Run a check with the connection cut before the first message, the second, … until there are no more."""
    for fault in every_cut(action):
        async with memory_service(Behaviour(faults=(fault,), **behaviour)) as service:
            async with speaking(config, service.open_stream) as tts:
                await check(service, tts)
            if not any(isinstance(record, Struck) for record in service.server.records):
                return fault.frame or 0
    raise AssertionError("unreachable")


@pytest.mark.parametrize("listening", LISTENING)
@pytest.mark.parametrize("action", CUTS)
@pytest.mark.parametrize("language", TEXTS)
async def test_no_word_is_lost_and_none_said_twice(
    autojump_clock: trio.testing.MockClock, language: str, action: str, listening: Listening
) -> None:
    """P13: after a cut the reply goes on with the first word that was not heard whole."""
    text, config = TEXTS[language], make_config()

    async def check(service: Service, tts: Any) -> None:
        sound: list[bytes] = []
        async with tts.speak(tokens(text)) as audio:
            await play(audio, listening, sound)
        assert whole_words(heard(b"".join(sound), config), text, cuts=1) == text.split()
        assert [word.text for word in audio.words] == text.split()
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)

    assert await for_every_cut(action, config, check) > 8
