"""What is true of every utterance, decided from its sound."""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs

POISON = "отрава"
"""What no utterance ever says; the server voices it where nobody asked. A number follows."""


_STRANGE = re.compile(r"отр(?:а(?:в(?:а\d*)?)?)?")  # or its beginning, where no word has these letters


def poison(number: int) -> str:
    """What nobody is to hear."""
    return f"{POISON}{number}"


def is_excused(sound: str, crossed: Collection[str]) -> bool:
    """Tell whether all that nobody asked for is what a request crossed on its way; the end of it may be cut.

    A WebSocket's messages and HTTP's answers do not say what they answer. So what was on its way when the request left
    is an answer to it, as far as the client can tell: it is heard, and what really answers may come too late.

    Args:
        sound: The characters that were heard.
        crossed: What nobody asked for, and the requests crossed.
    """
    strange = _STRANGE.findall(sound)
    return bool(strange) and all(any(what.startswith(piece) for what in crossed) for piece in strange)


@attrs.frozen
class Heard:
    """What the sound says about a text.

    Attributes:
        whole: Words (from the first one on) that were heard up to their last letter.
        again: How many words began anew after a whole one of them had been heard: 0 where times are known.
        wrong: What is wrong, or "".
    """

    whole: int
    again: int
    wrong: str


def listen_for(text: str, sound: str, *, again: int = 0) -> Heard:
    """Follow a text in what was heard.

    Words come in their order. One that was cut may begin anew as often as it is cut; one whose last letter was heard
    may not, but `again` times in all, which go back by no more than two words. Marks may be cut.

    Args:
        text: What was to be said; no word of it comes twice.
        sound: The characters that were heard.
        again: How often a word that was heard may be said again: where no times of the words are known.
    """
    words = [_letters(word) for word in text.split()]
    marks = [word[len(letters) :] for word, letters in zip(text.split(), words, strict=True)]
    words, marks = _join_marks(words, marks)
    # (the word, how many of its characters were heard, how often a whole one began anew)
    states = {(0, 0, 0)}
    for at, char in enumerate(sound):
        if char.isspace():
            continue
        following = set()
        for word, heard, repeated in states:
            following |= _steps(words, marks, word, heard, repeated, char, again)
        if not following:
            return Heard(_whole(words, states), 0, _diagnosis(words, states, sound, at))
        states = following
    return Heard(_whole(words, states), min(repeated for _, _, repeated in states), "")


def _steps(
    words: list[str], marks: list[str], word: int, heard: int, repeated: int, char: str, again: int
) -> set[tuple[int, int, int]]:
    steps: set[tuple[int, int, int]] = set()
    if word < len(words):
        spoken = words[word] + marks[word]
        if heard < len(spoken) and spoken[heard] == char:
            steps.add((word, heard + 1, repeated))
        if heard < len(words[word]) and words[word][0] == char:  # it was cut, and begins anew
            steps.add((word, 1, repeated))
        for skipped in range(len(words[word]), len(spoken)):  # of its marks a part was not heard
            if heard <= skipped and heard >= len(words[word]) and spoken[skipped] == char:
                steps.add((word, skipped + 1, repeated))
        if heard >= len(words[word]) and word + 1 < len(words) and words[word + 1][0] == char:
            steps.add((word + 1, 1, repeated))
        if repeated < again:
            for back in range(max(0, word - 2), word + 1):
                if words[back][0] == char and (back < word or heard >= len(words[word])):
                    steps.add((back, 1, repeated + 1))
    return steps


def _whole(words: list[str], states: set[tuple[int, int, int]]) -> int:
    return max(word + (word < len(words) and heard >= len(words[word])) for word, heard, _ in states)


def words_of(text: str) -> list[str]:
    """The letters of the words of a text."""
    return [letters for word in text.split() if (letters := _letters(word))]


def _letters(word: str) -> str:
    return word.rstrip(".,!?—…")


def _join_marks(words: list[str], marks: list[str]) -> tuple[list[str], list[str]]:
    """A dash between two words belongs to the one before it."""
    joined: list[list[str]] = []
    for word, mark in zip(words, marks, strict=True):
        if word or not joined:
            joined.append([word, mark])
        else:
            joined[-1][1] += mark
    return [word for word, _ in joined], [mark for _, mark in joined]


def _diagnosis(words: list[str], states: set[tuple[int, int, int]], sound: str, at: int) -> str:
    around = f"…{sound[max(0, at - 25) : at]}|{sound[at : at + 25]}…"
    if _STRANGE.search(sound):
        return f"something was heard that nobody asked for: {around}"
    word, heard, _ = max(states)
    rest = sound[at:]
    if word < len(words) and 0 < heard < len(words[word]):
        return f"of {words[word]!r} only {heard} characters were heard, then it went on: {around}"
    for index, other in enumerate(words):
        if rest.startswith(other[: max(1, min(len(other), len(rest)))]):
            what = "was said again" if index <= word else f"came, and {words[word + 1 : index]} did not"
            return f"{other!r} {what}: {around}"
    return f"words of something else: {around}"
