"""Said for the ear, told in the words of the LLM: whatever is cut, or lost in the middle, no word is lost."""

from __future__ import annotations

import itertools

import pytest
import trio

from tests.helpers import heard, listen, make_config, memory_service, speaking, websocket_path
from tts_trio import ConfigurationError, TTSConfig
from tts_trio.local_server import Behavior, Fault
from tts_trio.text.transforms import for_telephone, markdown, replacements

WRITTEN = {
    "en": "<think>Easy.</think>**Sure!** Your [order](https://a.example.com/b) shipped 📦. It weighs 5 kg. "
    "See example.com, please.",
    "ru": "<think>Легко.</think>**Конечно!** Ваш [заказ](https://a.example.ru/b) уехал 📦. Он весит 5 kg. "
    "Смотрите example.ru, пожалуйста.",
}
SAID = {
    "en": "Sure! Your order shipped. It weighs five kilograms. See example dot com, please.",
    "ru": "Конечно! Ваш заказ уехал. Он весит пять килограммов. Смотрите example точка ru, пожалуйста.",
}


def config_for(language: str, endpoint: str, **fields: object) -> TTSConfig:
    weight = replacements({"kg": {"en": "kilograms", "ru": "килограммов"}[language]})
    return make_config(endpoint, language_code=language, transforms=(*for_telephone(language), weight), **fields)


@pytest.mark.parametrize("language", WRITTEN)
async def test_what_is_said_and_what_is_told(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """P41."""
    written = WRITTEN[language]
    async with memory_service() as service:
        config = config_for(language, endpoint)
        async with speaking(config, service.open_stream) as tts:
            async with tts.speak(written[i : i + 3] for i in range(0, len(written), 3)) as audio:
                sound = await listen(audio)
            assert heard(sound, config) == SAID[language]
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", written)


@pytest.mark.parametrize("language", WRITTEN)
async def test_what_was_spoken_is_a_beginning_of_what_was_written(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """P9, P41: after each piece of audio, in whole words of the source; what a change stands for counts as one."""
    written = WRITTEN[language]
    async with memory_service() as service:
        async with speaking(config_for(language, endpoint), service.open_stream) as tts:
            async with tts.speak([written]) as audio:
                await listen(audio)
                told = {audio.spoken(ms) for ms in range(0, round(audio.received_ms), 20)}
    assert all(written.startswith(spoken) for spoken in told)
    assert len(told) > 10
    partly = [spoken for spoken in told if "5" in spoken and "kg" not in spoken]
    assert all(spoken.endswith("5") for spoken in partly)
    assert not any(spoken.endswith(("exampl", "https", "[")) for spoken in told)


@pytest.mark.parametrize("language", WRITTEN)
async def test_each_word_knows_its_source(autojump_clock: trio.testing.MockClock, endpoint: str, language: str) -> None:
    """P41: for captions and highlights, the text that it is said for, after a replay too."""
    written = WRITTEN[language]
    behavior = Behavior(faults=(Fault("reset", "audio", frame=3, count=1, path=websocket_path(endpoint)),))
    async with memory_service(behavior) as service:
        async with speaking(config_for(language, endpoint), service.open_stream) as tts:
            async with tts.speak([written]) as audio:
                await listen(audio)
            sources = [(word.text, slice(*audio.source_of(word))) for word in audio.words]
    assert [word for word, _ in sources] == SAID[language].split()
    changed = {"five": "5 kg", "kilograms.": "5 kg.", "пять": "5", "килограммов.": "kg."}
    changed |= {"shipped.": "shipped 📦.", "уехал.": "уехал 📦."}
    changed |= {"dot": ".com", "com,": ".com,", "точка": ".ru", "ru,": ".ru,"}
    for word, place in sources:
        assert written[place] == changed.get(word, word)
    assert all(one[1].start <= later[1].start for one, later in itertools.pairwise(sources))


@pytest.mark.parametrize("language", WRITTEN)
@pytest.mark.parametrize("frame", [1, 3, 6])
async def test_a_connection_lost_in_the_middle(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, frame: int
) -> None:
    """P13, P41: the rest is said, in the words of the ear, and told in those of the LLM."""
    written = WRITTEN[language]
    behavior = Behavior(faults=(Fault("reset", "audio", frame=frame, count=1, path=websocket_path(endpoint)),))
    async with memory_service(behavior) as service:
        config = config_for(language, endpoint)
        async with speaking(config, service.open_stream) as tts:
            async with tts.speak([written]) as audio:
                said = heard(await listen(audio), config)  # a fragment of the word that was cut stands before it
            at = 0
            for word in SAID[language].replace(".", "").replace(",", "").split():  # a mark may be a lost pause
                at = said.find(word, at) + len(word)
                assert at >= len(word), (word, said)
            assert audio.outcome is not None
            assert audio.outcome.spoken_text == written


@pytest.mark.parametrize(("held", "said"), [("Да, *", "Да,"), ("Sure, `", "Sure,"), ("Смотри, https", "Смотри,")])
async def test_what_is_held_is_given_up_when_the_llm_pauses(
    autojump_clock: trio.testing.MockClock, held: str, said: str
) -> None:
    """P41: as soon as the patience of the phrase policy ends, and not the one of the phrase behind it too."""
    async with memory_service() as service:
        config = make_config(transforms=for_telephone("ru"))
        async with speaking(config, service.open_stream) as tts:
            await tts.connections.connect()
            began = trio.current_time()
            async with tts.start_llm_stream() as (text, audio), trio.open_nursery() as nursery:
                nursery.start_soon(listen, audio)
                text.send_nowait(held)
                await trio.sleep(1)
                text.close()
            sent = [(round(time - began, 3), phrase) for time, phrase in service.texts() if phrase.strip()]
    assert sent[0] == (0.15, f"{said} ")


@pytest.mark.parametrize("wrong", ["markdown", markdown()(), (markdown,), markdown(), 5])
def test_what_is_no_transform_is_refused(wrong: object) -> None:
    """A callable is asked when a reply begins."""
    if callable(wrong):
        assert make_config(transforms=[wrong]).transforms == (wrong,)
    else:
        with pytest.raises(ConfigurationError, match="transforms"):
            make_config(transforms=(wrong,))
