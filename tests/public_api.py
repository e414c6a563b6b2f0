"""What is public, as text: `python -m tests.public_api` records it in `public_api.txt`, to which a test compares it."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD = Path(__file__).with_suffix(".txt")
MODULES = ("tts_trio", "tts_trio.text.transforms", "tts_trio.sync", "tts_trio.local_server", "tts_trio.testing")


def public_api() -> str:
    """Return a line for each public name, and for each public attribute of a class."""
    return "".join(f"{line}\n" for name in MODULES for line in _of_module(importlib.import_module(name)))


def _of_module(module: ModuleType) -> Iterator[str]:
    for name, value in ((name, getattr(module, name)) for name in sorted(dir(module))):
        if name.startswith("_") or inspect.ismodule(value) or not _belongs_to(module, name, value):
            continue
        full = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            yield from _of_class(full, value)
        elif inspect.isfunction(value):
            yield f"{full}{_signature(value)}"
        else:
            yield full


def _belongs_to(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a package gives the name on, or a module is where it is from."""
    if hasattr(module, "__path__"):
        return name in getattr(module, "__all__", {name} - {"annotations"})
    return getattr(value, "__module__", None) == module.__name__


def _of_class(full: str, kind: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base is not object)
    yield f"class {full}({bases})"
    if not getattr(kind, "_is_protocol", False) and "__init__" in vars(kind):
        yield f"{full}.__init__{_signature(vars(kind)['__init__'])}"
    names = {name for base in kind.__mro__ if base.__module__.startswith("tts_trio") for name in vars(base)}
    names |= {name for base in kind.__mro__ for name in getattr(base, "__annotations__", ())}
    for name in sorted(name for name in names if not name.startswith("_")):
        value = inspect.getattr_static(kind, name, None)
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        yield f"{full}.{name}{_signature(value) if inspect.isfunction(value) else ''}"


def _signature(function: Any) -> str:
    """A signature without quotes round the annotations, and without addresses."""
    text = str(inspect.signature(function))
    return re.sub(r"<function .*? at 0x[0-9a-f]+>", "...", text).replace("'", "").replace('"', "")


if __name__ == "__main__":
    RECORD.write_text(public_api(), encoding="utf-8")
