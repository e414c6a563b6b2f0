"""The tables of the pages that are made of the code. `python -m tests.helpers.tables` prints them."""

from __future__ import annotations

import inspect
import re

import attrs

from tts_trio import Timeouts, TTSConfig
from tts_trio.local_server import ACTIONS, POINTS, Behavior


def fields_of(kind: type[attrs.AttrsInstance]) -> str:
    """The fields of a class that users fill in, from its docstring and its defaults."""
    attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    texts = {name: " ".join(text.split()) for name, text in entries}
    rows = ["| field | default | |", "|---|---|---|"]
    for field in attrs.fields(kind):
        default = field.default
        if default is attrs.NOTHING:
            shown = "required"
        elif isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            shown = f"`{default.factory.__name__}()`"
        else:
            shown = f"`{default!r}`"
        rows.append(f"| `{field.name}` | {shown} | {texts[field.name]} |")
    return "\n".join(rows)


def configuration() -> str:
    """The fields of `TTSConfig`."""
    return fields_of(TTSConfig)


def timeouts() -> str:
    """The fields of `Timeouts`."""
    return fields_of(Timeouts)


def points() -> str:
    """Where a fault of the local server can strike."""
    return "\n".join(["| point | where |", "|---|---|", *(f"| `{name}` | {says} |" for name, says in POINTS.items())])


def actions() -> str:
    """What a fault of the local server can do."""
    rows = ["| action | strikes at | `value` | what it does |", "|---|---|---|---|"]
    for name, action in ACTIONS.items():
        at = "any point" if set(action.points) == set(POINTS) else ", ".join(f"`{point}`" for point in action.points)
        value = "" if action.value is None else f"`{action.value!r}`"
        rows.append(f"| `{name}` | {at} | {value} | {action.says} |")
    return "\n".join(rows)


def switches() -> str:
    """The fields of `Behavior`."""
    rows = ["| field | default | or | |", "|---|---|---|---|"]
    for field in attrs.fields(Behavior):
        if help_text := field.metadata.get("help"):
            others = [choice for choice in field.metadata.get("choices", ()) if choice != field.default]
            shown = ", ".join(f"`{choice!r}`" for choice in others)
            rows.append(f"| `{field.name}` | `{field.default!r}` | {shown} | {help_text} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(configuration(), timeouts(), points(), actions(), switches(), sep="\n\n")
