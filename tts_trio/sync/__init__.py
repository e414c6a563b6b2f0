"""The same without `async`, for scripts, notebooks and threads: `with` for `async with`, `for` for `async for`.

    from tts_trio import TTSConfig
    from tts_trio.sync import open_tts

    with open_tts(TTSConfig.from_env()) as tts:
        with tts.speak(llm_tokens) as audio:
            for chunk in audio:
                play(chunk)

All threads of the process share one loop of trio's, in a thread of its own that lives as long as any of them needs it.
Every object may be used by any thread. Leaving the block of an utterance, by Ctrl-C too, is the barge-in; what is told
about the utterance stays valid then.
"""

from __future__ import annotations

from tts_trio.sync.channels import AudioChannel, PacedFrames, TextChannel
from tts_trio.sync.managers import TTSManager, WebSocketConnectionManager, open_tts

__all__ = [
    "AudioChannel",
    "PacedFrames",
    "TTSManager",
    "TextChannel",
    "WebSocketConnectionManager",
    "open_tts",
]
