"""The case and the gender of a Russian figure, by the preposition before it and the ending of the noun behind it."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from tts_trio.text.transforms.figures import written_before

Case: TypeAlias = Literal["n", "g", "d", "a", "i", "p"]  # as num2words names them
Gender: TypeAlias = Literal["m", "f", "n"]

# Prepositions, and other words, behind which a figure has one case.
GENITIVE = frozenset(
    ["до", "от", "из", "для", "без", "после", "около", "у", "более", "менее", "больше", "меньше", "свыше"]
) | {"порядка", "кроме", "вместо", "течение", "против", "нет"}
ACCUSATIVE = frozenset(["в", "во", "на", "через", "за", "про", "спустя"])
DATIVE = frozenset(["к", "ко"])
_UNSURE = frozenset(["с", "со", "по", "о", "об", "обо", "между", "над", "под", "перед", "при"])


def word_before(match: re.Match[str]) -> str:
    """Return the word before a figure, in lower case."""
    words = written_before(match).lower().split()
    if len(words) > 2 and words[-1] in ("и", "или") and words[-2].isdigit():
        return words[-3]  # "до 5 или 10", "между 5 и 10"
    return words[-1] if words else ""


def case_before(word: str) -> Case | None:
    """Return the case that the word before a figure asks for; None where another word has to tell."""
    if word in GENITIVE:
        return "g"
    if word in DATIVE:
        return "d"
    return None if word in _UNSURE else "n"


def case_and_gender(before: str, number: int, noun: str) -> tuple[Case, Gender] | None:
    """Tell case and gender of a figure by the word before it and the noun behind it; None where they do not tell."""
    if noun.endswith(("ами", "ями")):
        return "i", "m"
    if noun.endswith(("ах", "ях")):
        return "p", "m"
    if noun.endswith(("ам", "ям")):
        return "d", "m"
    case = case_before(before)
    if noun in _NO_NOUNS:
        return (case, "m") if case is not None else None
    if case is None or case == "d":
        return None  # "с 5", "к 1 часу": the endings of a single noun are many
    ends_in_one, ends_in_two = number % 10 == 1 and number % 100 != 11, number % 10 == 2 and number % 100 != 12
    if case == "g":
        if ends_in_one:
            return ("g", "f") if noun.endswith(("ы", "и")) else ("g", "m") if noun.endswith(("а", "я")) else None
        return "g", "m"
    if ends_in_one:
        return _case_of_one(before, noun)
    if ends_in_two:
        return ("n", "f") if noun.endswith(("ы", "и")) else ("n", "m") if noun.endswith(("а", "я")) else None
    return "n", "m"


def _case_of_one(before: str, noun: str) -> tuple[Case, Gender] | None:
    if noun in _MASCULINE:
        return "n", "m"
    if noun.endswith(_OF_OTHER_CASES) or noun in _OF_A_MAN:
        return None
    if noun.endswith(("у", "ю")):
        return "a", "f"
    if noun.endswith(("а", "я")):
        return None if before in ACCUSATIVE else ("n", "f")
    if noun.endswith(("о", "е")):
        return "n", "n"
    return None if noun[-1] in "ыиьэё" else ("n", "m")


# What may stand behind a figure and is not what it counts.
_NO_NOUNS = frozenset(["из", "и", "или", "на", "в", "во", "до", "за", "к", "от", "по", "для", "без", "но", "а", "с"])
_OF_OTHER_CASES = ("ого", "его", "ому", "ему", "ой", "ей", "ом", "ем", "ём", "ых", "их", "ым", "им", "теля", "ника")
_OF_A_MAN = frozenset(
    ["человека", "клиента", "гостя", "сотрудника", "ребенка", "ребёнка", "друга", "врача", "пассажира", "оператора"]
) | {"менеджера", "специалиста", "абонента", "пациента", "студента", "агента", "водителя", "курьера", "взрослого"}
_MASCULINE = frozenset(
    ["рубль", "день", "гость", "житель", "пользователь", "покупатель", "процент", "автомобиль", "отель", "календарь"]
) | {"евро", "дом", "прием", "приём", "объем", "объём", "том", "кофе"}
