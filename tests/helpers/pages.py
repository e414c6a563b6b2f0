"""The pages of this repository, and the code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tts_trio
from tests.helpers import Service
from tts_trio import WebSocketConnectionManager

ROOT = Path(__file__).parents[2]
_ROOMS = (Path(tts_trio.__file__).parent, ROOT / "benchmarks", ROOT / "tests")  # the first one may be installed
PAGES = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")} | {
    path.relative_to(room.parent).as_posix(): path.read_text(encoding="utf-8")
    for room in _ROOMS
    for path in room.rglob("*.md")
}
"""The text of each page, by its path."""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield the path of the page and the text of each block of code in this language."""
    for path, page in PAGES.items():
        for block in re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
            yield path, block


def example(name: str) -> str:
    """Return the one example, of all pages, that defines a function of this name."""
    (found,) = [block for _, block in blocks("python") if f"def {name}(" in block]
    return found


def run_example(name: str) -> Any:
    """Run the example that defines a function of this name, as it stands, and return the function."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example(name), f"the example of {name}", "exec"), names)
    return names[name]


def put_on_the_network(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever a program dials be the local server in memory."""
    defaults = WebSocketConnectionManager.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "open_stream", service.open_stream)
