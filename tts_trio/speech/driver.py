"""What the tasks that run utterances have in common: an error ends the utterance, and never the call."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import trio

from tts_trio.errors import TTSError, unexpected
from tts_trio.errors.redaction import guarded_logger
from tts_trio.speech.utterance import Utterance

logger = guarded_logger(__name__)


@contextmanager
def ending(utterance: Utterance) -> Generator[None]:
    """End the utterance with this block: as failed by what comes out of it, else as interrupted, if it goes on."""
    try:
        yield
    except TTSError as error:
        utterance.fail(error, trio.current_time())
    except Exception as error:
        logger.exception("the task of an utterance failed")
        utterance.fail(unexpected("utterance", error), trio.current_time())
    finally:
        if utterance.ended is None:
            utterance.interrupt(trio.current_time())
