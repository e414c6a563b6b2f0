"""Options of the test run: `--exhaustive` tries every checkpoint and every interleaving where a plain run samples."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="cancel at every checkpoint, try all interleavings; takes minutes"
    )


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("--exhaustive"):
        return "exhaustive: every checkpoint is cancelled at, 500 interleavings of interruptions, 100,000 words"
    return (
        "sampled: 11 checkpoints of a scenario (6 or more over sockets) are cancelled at,"
        " 100 interleavings of interruptions, 20,000 words of 100,000 that nobody hears; seeded; all with --exhaustive"
    )


@pytest.fixture
def exhaustive(request: pytest.FixtureRequest) -> bool:
    """Whether to try everything, rather than a seeded sample."""
    return bool(request.config.getoption("--exhaustive"))
