"""The wait after failures: it doubles, has jitter and an end, and is no shorter than what the service asks for."""

from __future__ import annotations

import pytest

from tts_trio.limits.backoff import Backoff

BACKOFF = Backoff(first=0.25, longest=4.0)


@pytest.mark.parametrize(("failures", "most"), [(1, 0.25), (2, 0.5), (3, 1), (4, 2), (5, 4), (6, 4), (10_000, 4)])
def test_the_wait_doubles_up_to_the_longest_and_half_of_it_is_jitter(failures: int, most: float) -> None:
    waits = [BACKOFF.after(failures) for _ in range(300)]
    assert all(most / 2 <= wait <= most for wait in waits)
    assert min(waits) < 0.6 * most
    assert max(waits) > 0.9 * most


def test_after_no_failure_there_is_no_wait() -> None:
    assert BACKOFF.after(0) == 0
    assert BACKOFF.after(0, retry_after=3.0) == 0


def test_it_has_no_end_unless_one_is_given() -> None:
    assert 0.5 * 2**19 <= Backoff(first=1).after(20) <= 2**19
    assert Backoff(first=1).after(10_000) < float("inf")


def test_the_service_is_not_asked_again_before_it_wants_to_be() -> None:
    assert BACKOFF.after(1, retry_after=30.0) == 30
    assert 2 <= BACKOFF.after(5, retry_after=1.0) <= 4
