"""The public names are typed and documented. What a user writes, `usage.py`, is checked by `pyright` and `mypy`."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.public_api import MODULES

ROOT = Path(__file__).parents[2]


def public_symbols() -> set[str]:
    """The public names, where they are given and where they are made."""
    found = set[str]()
    for module in MODULES:
        for name, value in vars(importlib.import_module(module)).items():
            if not name.startswith("_") and not inspect.ismodule(value):
                found.add(f"{module}.{name}")
                if inspect.isclass(value) or inspect.isfunction(value):
                    found.add(f"{value.__module__}.{value.__qualname__}")
    return found


def test_every_public_name_is_typed_and_documented() -> None:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--verifytypes", "tts_trio", "--ignoreexternal", "--outputjson"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # it asks the `python` of PATH
    # Its status is that of all modules, so it is not looked at.
    said = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PATH": path}, timeout=300)
    symbols: list[dict[str, Any]] = json.loads(said.stdout)["typeCompleteness"]["symbols"]
    public = public_symbols()

    def is_public(symbol: dict[str, Any]) -> bool:
        name = symbol["name"]
        return name in public or name.rpartition(".")[0] in public

    checked = [symbol for symbol in symbols if is_public(symbol)]
    assert len(checked) > 300
    wrong = [each["name"] for each in checked if not each["isTypeKnown"] or each["isTypeAmbiguous"]]
    assert wrong == []
    undocumented = [
        f"{module}.{name}"
        for module in MODULES
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and inspect.isclass(value) and not inspect.getdoc(value)
    ]
    assert undocumented == []
