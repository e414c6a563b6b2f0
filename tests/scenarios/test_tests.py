"""The tests are where one looks for them, share what they share by helpers, and cite promises that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted((ROOT / "tests").rglob("*.py"))]


def test_every_promise_that_is_cited_is_told() -> None:
    promises = (ROOT / "tests" / "PROMISES.md").read_text(encoding="utf-8")
    told = re.findall(r"^- \*\*(P\d+)\*\* ", promises, re.MULTILINE)
    assert told == [f"P{number}" for number in range(1, len(told) + 1)]
    cited: dict[str, str] = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for promise in re.findall(r"\bP\d+\b", ast.get_docstring(node) or ""):
                    cited[promise] = str(path)
    assert len(cited) > 30
    assert {promise: path for promise, path in cited.items() if promise not in told} == {}


def test_no_test_imports_a_test() -> None:
    wrong = [
        (str(path), node.module)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and re.search(r"^tests\..*\btest_", node.module or "")
    ]
    assert wrong == []


def test_the_unit_tests_mirror_the_package() -> None:
    """A folder of unit tests is that of a folder of the package."""
    unit, package = ROOT / "tests" / "unit", ROOT / "tts_trio"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert {Path("speech"), Path("transport", "http")} <= folders
    assert [folder for folder in folders if not (package / folder).is_dir()] == []
