"""Computes how long to wait before the next attempt, after attempts that failed."""

from __future__ import annotations

import math
import random

import attrs

_MOST_DOUBLINGS = 64  # more would be no float


@attrs.frozen
class Backoff:
    """Exponential backoff with jitter: the wait doubles from failure to failure, and up to half of it is taken off.

    Without the jitter, all calls of a process that failed in the same instant would try again in the same instant.

    Attributes:
        first: The longest wait after the first failure, in seconds.
        longest: The longest wait after any failure, in seconds.
    """

    first: float
    longest: float = math.inf

    def after(self, failures: int, retry_after: float | None = None) -> float:
        """Return how long to wait after so many failures in a row, in seconds: not at all after none.

        Args:
            failures: How many attempts have failed since the last success.
            retry_after: The seconds that the service asked the client to wait, if it did. The wait is no shorter.
        """
        if failures <= 0:
            return 0.0
        wait = min(self.longest, self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
        return max(random.uniform(0.5, 1) * wait, retry_after or 0.0)  # noqa: S311 - no secret
