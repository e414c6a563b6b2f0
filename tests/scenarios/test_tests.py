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
        (str(path), name)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [".".join(filter(None, (getattr(node, "module", ""), alias.name))) for alias in node.names]
        if re.search(r"^tests\.(\w+\.)*test_", name)
    ]
    assert wrong == []


def test_the_unit_tests_mirror_the_package() -> None:
    """A folder of unit tests is that of a folder of the package."""
    unit, package = ROOT / "tests" / "unit", ROOT / "tts_trio"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert {Path("speech"), Path("transport", "http")} <= folders
    assert [folder for folder in folders if not (package / folder).is_dir()] == []


def test_no_test_changes_what_the_tests_share() -> None:
    """What a helper is to know it is told by an argument: nothing global is set, and nothing of the tests patched."""
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in trees()
        for shared in [of_the_tests(tree)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in shared)
        or (isinstance(node, ast.Call) and "setattr" in ast.unparse(node.func) and ast.unparse(node.args[0]) in shared)
    ]
    assert wrong == []


def of_the_tests(tree: ast.Module) -> set[str]:
    """The names of what a module imports from the tests; the hostile server is not shared, but tested itself."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and re.match(r"tests\b(?!\.hostile)", node.module or "")
        for alias in node.names
    }


def test_a_test_of_every_endpoint_says_which_to_what_it_calls() -> None:
    """A test that takes `endpoint` makes each configuration, and each fault's path, for it."""
    wrong = [
        f"{path}:{call.lineno}: {ast.unparse(call)}"
        for path, tree in trees()
        for test in ast.walk(tree)
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef)
        and "endpoint" in {argument.arg for argument in test.args.args}
        for call in ast.walk(test)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in {"make_config", "websocket_path"}
        and "endpoint" not in {ast.unparse(argument) for argument in call.args}
    ]
    assert wrong == []
