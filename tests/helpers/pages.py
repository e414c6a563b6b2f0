"""The pages of this repository, and the code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tts_trio

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
