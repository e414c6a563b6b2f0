"""The interface changes only where somebody meant it to."""

from __future__ import annotations

import difflib

from tests.public_api import RECORD, public_api


def test_the_interface_is_the_recorded_one() -> None:
    recorded, found = RECORD.read_text(encoding="utf-8"), public_api()
    changes = "\n".join(
        difflib.unified_diff(recorded.splitlines(), found.splitlines(), "recorded", "found", lineterm="")
    )
    assert not changes, f"{changes}\nIf that is meant: python -m tests.public_api, and a line in CHANGELOG.md"
