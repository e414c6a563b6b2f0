"""The same replies, cut by each policy and spoken by ElevenLabs: WAV files for ears, with the user's own key."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import trio

from tests.corpus import LANGUAGES, Reply, replies
from tts_trio import PhrasePolicy, TTSConfig, open_tts
from tts_trio.cli.console import note, progress

_RATE = 50  # pieces a second


def speak_live(directory: Path, policies: Mapping[str, PhrasePolicy], count: int) -> None:
    """Write ``<language>-<number>-<policy>.wav`` for the longest replies of the corpus.

    Args:
        directory: Where to; it is made if it is not there.
        policies: The policies by their names.
        count: How many replies of each language.

    Raises:
        TTSError: There is no key, or the service refuses.
    """
    chosen = [
        (f"{language}-{number}", reply)
        for language in LANGUAGES
        for number, reply in enumerate(sorted(replies(language), key=lambda reply: -len(reply.text))[:count], 1)
    ]
    config = TTSConfig.from_env(output_format="pcm_16000")
    characters = len(policies) * sum(len(reply.text) for _, reply in chosen)
    note(f"This has {config.base_url} speak {characters} characters, which the account is billed for.")
    directory.mkdir(parents=True, exist_ok=True)
    with progress("speaking", len(chosen) * len(policies)) as advance:
        for name, reply in chosen:
            for policy in policies:
                path = directory / f"{name}-{policy}.wav"
                spoken = config.evolve(phrase_policy=policies[policy], language_code=reply.language)
                delay = trio.run(_write, spoken, reply, path)
                note(f"{path}  first sound {1000 * delay:.0f} ms after the first piece")
                advance()


async def _write(config: TTSConfig, reply: Reply, path: Path) -> float:
    delay = 0.0
    samples = bytearray()
    async with open_tts(config) as tts, tts.speak(_pieces(reply)) as audio:
        begin = trio.current_time()
        async for chunk in audio:
            delay = delay or trio.current_time() - begin
            samples += chunk
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(config.format.sample_rate)
        file.writeframes(samples)
    return delay


async def _pieces(reply: Reply) -> AsyncIterator[str]:
    for piece in reply.pieces():
        yield piece
        await trio.sleep(1 / _RATE)
