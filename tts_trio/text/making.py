"""Makes the phraser of a reply, as the configuration says."""

from __future__ import annotations

import logging
from functools import cache
from typing import cast

from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.protocols import Phrases, PhrasesFactory
from tts_trio.config.validators import is_instance, refuse
from tts_trio.text.phraser import Phraser

logger = logging.getLogger(__name__)


@cache
def warn_of_unknown_language() -> None:
    """Log a warning that `language_code` is None, once in a process."""
    logger.warning(
        "language_code is None, so the service guesses the language of each phrase, and guesses short ones "
        '("Да,", "42") wrongly; set language_code to the language of the call, such as "en" or "ru"'
    )


def phrases_for(
    policy: PhrasePolicy | PhrasesFactory,
    *,
    language_code: str | None,
    ssml: bool = False,
    audio_tags: bool = False,
) -> Phrases:
    """Return the phraser of the next reply.

    Args:
        policy: A policy, or the user's own callable.
        language_code: An ISO 639-1 code. None: a warning is logged once in a process.
        ssml: Whether the service obeys SSML.
        audio_tags: Whether the model performs the words in square brackets.

    Raises:
        ConfigurationError: The user's callable returned an object without the methods of `Phrases`.
    """
    if language_code is None:
        warn_of_unknown_language()
    if isinstance(policy, PhrasePolicy):
        return Phraser(policy, language_code=language_code, ssml=ssml, audio_tags=audio_tags)
    made = cast("object", policy())  # a user's callable may return anything
    if not is_instance(made, Phrases):
        raise refuse("phrase_policy", made, "a callable that returns Phrases, with all of their methods")
    return made
