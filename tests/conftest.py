"""Options of the test run: `--exhaustive` tries every checkpoint and every interleaving where a plain run samples."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.helpers import ENDPOINTS, Sample
from tts_trio.config import checks
from tts_trio.static_text import driver
from tts_trio.testing.service import forget_what_was_said
from tts_trio.text.making import warn_of_unknown_language

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive", action="store_true", help="cancel at every checkpoint, try all interleavings; takes minutes"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say how many examples Hypothesis draws; and take SIGINT back where it is ignored.

    It is so for what a script runs in the background: who starts a process hands that down, and the tests interrupt
    what they start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("dist", "no") == "load":  # with -n; else some processes are long at work when others are done
        config.option.dist = "worksteal"
    settings.register_profile("sampled", max_examples=50, deadline=None)
    settings.register_profile("exhaustive", max_examples=1000, deadline=None)
    settings.load_profile("exhaustive" if config.getoption("--exhaustive") else "sampled")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector pass over what the collection made: thousands of tests, and the modules of all."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two processes on each core with `-n auto`: the tests wait half of their time."""
    return 2 * (os.cpu_count() or 1)


def pytest_report_header(config: pytest.Config) -> str | list[str]:
    if config.getoption("--exhaustive"):
        return "exhaustive: every checkpoint is cancelled at, every cut is made, 500 interruptions an endpoint"
    return [
        "sampled, seeded; all with --exhaustive: 9 checkpoints of a scenario (over sockets 2 or more) are cut at,",
        "  16 steps of the local server, one cut of a reply in three, 3 cuts of a static text that is cached,",
        "  30 interleavings of interruptions an endpoint, 100 short turns of 1,000, 3,000 words of 100,000 that nobody",
        "  hears, every second reply of the corpus with each policy, 50 examples of Hypothesis of 1,000,",
        "  4 or 5 steps of a late utterance, and 60 replies of 400 to a service with a tail",
    ]


@pytest.fixture
def exhaustive(request: pytest.FixtureRequest) -> bool:
    """Whether to try everything, rather than a seeded sample; it takes the time that it takes."""
    everything = bool(request.config.getoption("--exhaustive"))
    if everything:
        faulthandler.cancel_dump_traceback_later()
    return everything


@pytest.fixture
def sample(request: pytest.FixtureRequest, exhaustive: bool) -> Sample:
    """Take the first and the last of a family, and a few between them that the test's name decides; or take all."""
    draw = random.Random(request.node.name)

    def take(family: Sequence[T], few: int) -> list[T]:
        if exhaustive or len(family) <= few:
            return list(family)
        between = draw.sample(range(1, len(family) - 1), few - 2)
        return [family[number] for number in (0, *sorted(between), len(family) - 1)]

    return take


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the argument `endpoint` for all endpoints, or for those in its marker `endpoints`."""
    if "endpoint" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("endpoints")
        metafunc.parametrize("endpoint", marker.args if marker else ENDPOINTS)


@pytest.fixture(autouse=True)
def as_a_process_begins() -> None:
    """Begin with empty caches, and with every warning to come that is logged once in a process."""
    forget_what_was_said()
    for warning in (warn_of_unknown_language, checks._warn_of_v3_stability, driver._warn_of_long_text):
        warning.cache_clear()
