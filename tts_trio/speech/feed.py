"""Sends the tokens of an iterable to a reply, as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable

import trio

from tts_trio.errors import TTSError
from tts_trio.speech.channels import AudioChannel, TextChannel

_TOKENS_AT_ONCE = 16  # of an LLM's stream in one turn of the loop: it mostly waits for each, so that others run anyhow


async def feed(
    tokens: AsyncIterable[str | None] | Iterable[str | None], text: TextChannel, audio: AudioChannel
) -> None:
    """Send the tokens as they come, and close the text; it returns when the reply has ended or failed.

    Args:
        tokens: The pieces of text; "" and None are skipped. An async generator is closed at the end.
        text: The text of the reply.
        audio: The audio of the reply, which reports its failure.

    Raises:
        TypeError: A token is neither a `str` nor None.
    """

    def sent(token: str | None) -> bool:
        """Send a token, and return True; False when the reply has ended or failed, which the audio channel reports."""
        try:
            text.send_nowait(token)
        except TTSError:
            if audio.outcome is None:  # the reply has not ended: this token is at fault
                raise
            return False
        return True

    with text:
        if isinstance(tokens, AsyncIterable):
            count = 0
            try:
                async for token in tokens:
                    if not sent(token):
                        return
                    count += 1
                    if count % _TOKENS_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()
            finally:
                if isinstance(tokens, AsyncGenerator):
                    await tokens.aclose()  # or it would stay open until it is garbage collected
        else:
            for token in [tokens] if isinstance(tokens, str) else tokens:
                if not sent(token):
                    return
                await trio.lowlevel.checkpoint()
