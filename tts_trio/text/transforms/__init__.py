"""What changes a reply for the ear before it is spoken: Markdown, emoji, links, thoughts, and words of your own.

    from tts_trio.text.transforms import emoji, markdown

    TTSConfig(..., transforms=(markdown(), emoji()))

What was spoken is told in the text that the LLM wrote, whatever was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tts_trio.config.protocols import Transform as Transform
from tts_trio.config.protocols import TransformFactory as TransformFactory

__all__ = [
    "Transform",
    "TransformFactory",
    "emoji",
    "for_telephone",
    "links",
    "markdown",
    "numbers",
    "reasoning",
    "replacements",
]


def markdown(code: str = "") -> TransformFactory:
    """Return what takes Markdown out, and leaves what is none as it is.

    Out go the marks of emphasis, headings, bullets, task boxes, quotations and rules, HTML tags and citations, and what
    is struck through. Of a link or an image its label is said, of a table its cells, row by row.

    Args:
        code: What is said in the place of a block of code.
    """
    from tts_trio.text.transforms.marks import Markdown

    return partial(Markdown, code)


def emoji(names: Mapping[str, str] | None = None) -> TransformFactory:
    """Return what takes emoji out, which the service would skip, or read by a name of its own.

    Args:
        names: What is said for which, such as ``{"👍": "thumbs up"}``. The others are left out.

    Raises:
        ConfigurationError: A key is not one emoji, or a name is no text.
    """
    from tts_trio.text.transforms.pictures import Emoji, keys_of

    return partial(Emoji, keys_of(names or {}))


def reasoning() -> TransformFactory:
    """Return what takes out what is not for the listener: `<think>…</think>`, tool calls, special tokens."""
    from tts_trio.text.transforms.thoughts import Reasoning

    return Reasoning


def links(language: str) -> TransformFactory:
    """Return what has addresses of the Internet read as a person reads them: "example dot com".

    Args:
        language: The language of the reply: "en" or "ru".

    Raises:
        ConfigurationError: It is another one.
    """
    from tts_trio.text.transforms.addresses import Links, words_of

    return partial(Links, words_of(language))


def numbers(language: str) -> TransformFactory:
    """Return what reads figures: amounts, money, dates, times, telephone numbers, per cent, units, ordinals, ranges.

    What is not certain stays as it is, for the service to read. It needs `pip install "tts_trio[numbers]"`.

    Args:
        language: The language of the reply: "en" or "ru".

    Raises:
        ConfigurationError: It is another one, or `num2words` is not installed.
    """
    from tts_trio.text.transforms.figures import Figures, readers_of

    readers_of(language)  # raises now what it would raise in a reply
    return partial(Figures, language)  # which can be pickled


def replacements(words: Mapping[str, str], *, match_case: bool = False) -> TransformFactory:
    """Return what says other words in the place of some.

    Args:
        words: What to say for which word, or words. With `enable_ssml_parsing` this may be SSML, such as a phoneme.
        match_case: Whether "IT" is another word than "it".

    Raises:
        ConfigurationError: A word is empty, or begins or ends in a blank, or has over 100 characters.
    """
    from tts_trio.text.transforms.words import Replacements, compiled

    return partial(Replacements, compiled(words, match_case=match_case))


def for_telephone(language: str) -> tuple[TransformFactory, ...]:
    """Return the transforms for what LLMs write, in the order that works.

    Args:
        language: The language of the reply: "en" or "ru".

    Raises:
        ConfigurationError: It is another one.
    """
    return (reasoning(), markdown(), links(language), emoji(), numbers(language))
