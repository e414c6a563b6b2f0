"""`python -m benchmarks`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.helpers.terminal import run_on_a_terminal

ROOT = Path(__file__).parent.parent.parent


def test_the_scripts_are_listed_and_have_help() -> None:
    listed = subprocess.run([sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=False).stderr
    names = listed.rpartition(":")[2].replace(",", " ").split()
    assert {"bargein", "calls", "import", "latency", "phrases", "server"} <= set(names)
    command = [sys.executable, "-m", "benchmarks", "latency", "--help"]
    assert "--peers" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_script_that_lacks_a_package_says_what_to_install() -> None:
    program = (
        "import runpy, sys; sys.modules['matplotlib'] = None; sys.argv = ['benchmarks', 'telemetry'];"
        " runpy.run_module('benchmarks', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "benchmarks: error: matplotlib is missing; install it with: pip install -e '.[bench]'\n"


def test_the_extra_has_what_the_scripts_import() -> None:
    """Without it two of them ended in tracebacks: every module of others that a script imports is one of `[bench]`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {"voice", "otel", "redis"} <= set(re.findall(r"\w+", extras["bench"][0]))
    names = " ".join(extras["bench"][1:] + extras["voice"] + extras["local"] + extras["otel"] + extras["cli"])
    names += " ".join(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])
    for path in (ROOT / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                module = node.module
            elif isinstance(node, ast.Import):
                module = node.names[0].name
            else:
                continue
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names | {"benchmarks", "tests", "tts_trio", "pytest"}:
                package = "opentelemetry-sdk" if module.startswith("opentelemetry.sdk") else top.replace("_", "-")
                assert package in names, (path.name, module)


def test_ctrl_c_ends_a_script_without_a_traceback(tmp_path: Path) -> None:
    seen = run_on_a_terminal(
        ["benchmarks", "phrases", "--out", str(tmp_path)],
        cwd=ROOT,
        environment=os.environ,
        interrupt=lambda sent: "0/" in sent,
    )
    assert (seen.code, seen.cursor) == (130, True)
    assert "Traceback" not in seen.sent
