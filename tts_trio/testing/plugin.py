"""The pytest fixture `tts_service`. Name this module to have it: `pytest_plugins = ["tts_trio.testing.plugin"]`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tts_trio.testing.service import Service, forget_what_was_said, memory_service


@pytest.fixture
async def tts_service(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Service]:
    """The service in memory, which every dial of the test reaches; the caches in memory are empty.

    The environment has a key and a voice, for `TTSConfig.from_env`. With the fixture `autojump_clock` beside it, the
    test waits in virtual time.
    """
    forget_what_was_said()
    for name, value in {"API_KEY": "any", "VOICE_ID": "any", "BASE_URL": "http://127.0.0.1"}.items():
        monkeypatch.setenv(f"ELEVENLABS_{name}", value)
    async with memory_service() as service:
        with service.answer_every_dial():
            yield service
