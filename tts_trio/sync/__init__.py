"""The same interface without `async`, for scripts, notebooks and threads: `with`, and `for` over the audio.

    from tts_trio import TTSConfig
    from tts_trio.sync import open_tts

    with open_tts(TTSConfig.from_env()) as tts:
        with tts.speak(llm_tokens) as audio:
            for chunk in audio:
                play(chunk)

All threads of the process share one trio loop, which runs in a thread of its own as long as a block of this module is
open. Any thread may use any object. Leaving the block of an utterance, by Ctrl-C too, is the barge-in; the properties
of its audio channel stay valid.
"""

from __future__ import annotations

from tts_trio.sync.channels import AudioChannel, PacedFrames, TextChannel
from tts_trio.sync.managers import Line, TTSManager, WebSocketConnectionManager, open_tts

__all__ = [
    "AudioChannel",
    "Line",
    "PacedFrames",
    "TTSManager",
    "TextChannel",
    "WebSocketConnectionManager",
    "open_tts",
]
