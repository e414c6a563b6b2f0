"""The rooms of `tts_trio/`, from the ground up: what a module imports lies below it, and no imports go in a circle.

Imports for type checkers alone (`if TYPE_CHECKING:`) are exempt, since nothing runs by them; but whoever is to read the
modules that carry an utterance reads them one after another, and there they go in no circle either.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROOMS = (
    "local_server",
    "_nurseries",
    "errors",
    "config",
    "text",
    "wire",
    "limits",
    "transport",
    "speech",
    "static_text",
    "connection_manager",
    "manager",
    "sync",
    "__init__",
    "testing",
    "cli",
    "__main__",
)
"""From the ground up. `local_server` is the service's double: it may not know how its client works."""

WITHOUT_IO = (
    "text",
    "wire",
    "limits.hedging",
    *(
        f"speech.{module}"
        for module in (
            "utterance",
            "segment",
            "segments",
            "alignment",
            "accepted_text",
            "timed_words",
            "estimated_words",
            "characters",
            "sent_text",
            "word_matching",
            "readings",
            "deadlines",
            "playback",
            "lead",
            "openings",
            "replays",
            "report",
            "results",
        )
    ),
)
IO = {"trio", "anyio", "trio_websocket", "httpx", "socket", "ssl", "time", "asyncio", "threading"}


@functools.cache
def parsed(source: str) -> ast.Module:
    """Return the tree of a module, of which the tests that turn an import round look at many copies."""
    return ast.parse(source)


@functools.cache
def imported(tree: ast.Module) -> frozenset[str]:
    """Return the dotted names that a module imports when it runs."""
    return frozenset(imports(tree))


def modules(root: Path) -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name; "tts_trio.__init__" is the package itself."""
    found: dict[str, ast.Module] = {}
    for path in sorted((root / "tts_trio").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)
        found[name] = parsed(path.read_text("utf-8"))
    return found


def imports(tree: ast.AST, *, for_type_checkers: bool = False) -> Iterator[str]:
    """Yield the dotted names that a module imports, also late, and those under `if TYPE_CHECKING` if asked for."""
    for node in ast.iter_child_nodes(tree):
        if not for_type_checkers and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, for_type_checkers=for_type_checkers)


def module_of(name: str, known: dict[str, ast.Module]) -> str | None:
    """Return the module of the package in which an imported name is, or None where it is another's."""
    if name.split(".")[0] != "tts_trio":
        return None
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return name if name in known else "tts_trio.__init__"


def room(module: str) -> int:
    return ROOMS.index(module.split(".")[1])


def faults(root: Path) -> list[str]:
    """Return what breaks a rule of the house, in words."""
    known = modules(root)
    graph = {name: imported(tree) for name, tree in known.items()}
    inner = {
        name: {module for used in names if (module := module_of(used, known)) not in (None, name)}
        for name, names in graph.items()
    }
    found = [
        f"{name} imports {other}, which lies above it"
        for name, others in inner.items()
        for other in sorted(others)
        if other is not None and room(other) > room(name)
    ]
    found += [
        f"{name} imports {other}, and knows nothing of the client"
        for name, others in inner.items()
        for other in sorted(filter(None, others))
        if room(name) == 0 and room(other) != 0
    ]
    found += [
        f"{name} imports {used}, and does no I/O"
        for name, names in graph.items()
        for used in sorted(names)
        if name.removeprefix("tts_trio.").startswith(WITHOUT_IO) and used.split(".")[0] in IO
    ]
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        found.append(f"imports go in a circle: {' -> '.join(error.args[1])}")
    return found


def test_every_import_goes_down() -> None:
    assert faults(ROOT) == []


def test_in_the_rooms_of_the_connections_type_checkers_go_in_no_circle_either() -> None:
    rooms = ("tts_trio.wire", "tts_trio.limits", "tts_trio.transport", "tts_trio.connection_manager")
    known = {name: tree for name, tree in modules(ROOT).items() if name.startswith(rooms)}
    graph = {
        name: {module_of(used, known) for used in imports(tree, for_type_checkers=True)} - {name}
        for name, tree in known.items()
    }
    assert "tts_trio.transport.connection" in graph["tts_trio.transport.hot_socket"]
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("config/voice.py", "from tts_trio.manager import TTSManager", "tts_trio.manager, which lies above it"),
        ("errors/__init__.py", "from tts_trio import TTSConfig", "tts_trio.__init__, which lies above it"),
        ("wire/encode.py", "import trio", "trio, and does no I/O"),
        ("speech/segments.py", "def late():\n    from time import monotonic", "time.monotonic, and does no I/O"),
        ("local_server/tone.py", "from tts_trio.errors import TTSError", "and knows nothing of the client"),
        ("text/words.py", "from tts_trio.text.phraser import Phraser", "imports go in a circle"),
    ],
)
def test_an_import_that_is_turned_round_is_seen(tmp_path: Path, module: str, line: str, fault: str) -> None:
    for name in (path for path in (ROOT / "tts_trio").rglob("*.py")):
        copy = tmp_path / name.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(name.read_bytes())
    turned = tmp_path / "tts_trio" / module
    turned.write_text(f"{turned.read_text('utf-8')}\n{line}\n", "utf-8")
    assert any(fault in found for found in faults(tmp_path))


def test_the_house_can_be_taken_in_at_a_glance() -> None:
    """At most 15 rooms, each a file or a folder at the top; and no file over 350 lines."""
    assert len([name for name in ROOMS if not name.startswith("__")]) <= 15
    top = ROOT / "tts_trio"
    assert {path.stem for path in top.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} == set(
        ROOMS
    )
    long = [str(path.relative_to(top)) for path in top.rglob("*.py") if len(path.read_text("utf-8").splitlines()) > 350]
    assert long == []  # such a file wants to be two
