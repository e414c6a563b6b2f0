"""The wheel and the source distribution hold what they should, and say what they are."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

from tts_trio import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tts_trio"

pytestmark = pytest.mark.skipif(not PACKAGE.exists(), reason="the installed wheel is tested, and not its source")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Both, built as pip builds them, but without fetching the builder anew."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return lambda pattern: next(target.glob(pattern))


def package_files() -> set[str]:
    found = (
        path for pattern in ("*.py", "README.md") for path in PACKAGE.rglob(pattern)
    )  # the pages stay with the code
    return {path.relative_to(ROOT).as_posix() for path in found} | {"tts_trio/py.typed", "tts_trio/cli/demo/page.html"}


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_holds_the_package_and_nothing_else(built: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(built("*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == package_files()
        scripts = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "tts-trio = tts_trio.cli:main" in wheel.read(scripts).decode()
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_metadata_is_complete(built: Callable[[str], Path]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(built("*.whl")) as wheel:
        told = metadata(wheel)
    assert (told["Name"], told["Version"]) == ("tts_trio", __version__)
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    assert "# tts_trio" in told.get_payload()
    assert set(told.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    plain = [text for text in told.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert len(plain) == len(project["dependencies"])
    assert not [text for text in plain if "espeak" in text or "opentelemetry" in text or "coredis" in text]
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    urls = [text.partition(", ")[2] for text in told.get_all("Project-URL", [])]
    assert len(urls) == 4
    guide = (PACKAGE / "README.md").read_text(encoding="utf-8")
    (dependency,) = re.findall(r"^tts_trio @ git\+(https://\S+)@main$", guide, re.MULTILINE)
    assert all(url.startswith(dependency) for url in urls)
    assert re.search(
        rf"^tts_trio @ file:///.*/tts_trio-{re.escape(__version__)}-py3-none-any.whl$", guide, re.MULTILINE
    )


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="the source distribution has no CI")
def test_every_python_that_is_declared_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    assert project["requires-python"] == f">={declared[0]}"
    listed = re.search(r"^for version in (.*); do$", (ROOT / ".ci" / "pythons").read_text("utf-8"), re.MULTILINE)
    assert listed is not None
    assert set(declared) <= set(listed[1].split())


def test_every_extra_is_in_the_guide() -> None:
    guide = (PACKAGE / "README.md").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in extras:
        assert f"[{extra}]" in guide


def test_the_source_distribution_can_be_tested(built: Callable[[str], Path]) -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() <= names
    for needed in (
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "SECURITY.md",
        "pyproject.toml",
        "tests/conftest.py",
        "benchmarks/__main__.py",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith((".ci/", ".git/")) or "__pycache__" in name]
