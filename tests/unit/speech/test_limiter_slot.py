"""The slot that a reply holds: whose lease has lapsed, nothing is sent under it, and another one is waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.helpers import make_config
from tts_trio.limits.limiter import Lease
from tts_trio.speech.limiter_slot import LimiterSlot
from tts_trio.speech.utterance import Utterance


class Leases:
    """A limiter whose leases last a second each."""

    def __init__(self) -> None:
        self.given = 0

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[Lease]:
        self.given += 1
        yield Lease(trio.current_time() + 1.0)

    def learn(self, slots: int) -> None:
        pytest.fail("nobody was refused")


async def test_a_slot_that_has_lapsed_is_lost_where_something_can_be_sent(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    limiter = Leases()
    utterance = Utterance(make_config(), trio.current_time())
    slot = LimiterSlot(limiter, utterance, background=False)
    nursery.start_soon(slot.hold, lambda: None)
    await trio.sleep(0.1)
    assert (utterance.admitted, limiter.given) == (False, 0)  # there are no phrases yet
    slot.want(connected=True)
    await trio.sleep(0.1)
    assert (utterance.admitted, limiter.given) == (True, 1)
    await trio.sleep(2)
    slot.want(connected=False)
    await trio.sleep(0.1)
    assert (utterance.admitted, limiter.given) == (True, 1)  # the next one would be held for nothing
    slot.want(connected=True)
    assert not utterance.admitted
    await trio.sleep(0.1)
    assert (utterance.admitted, limiter.given) == (True, 2)
    slot.give_back()
    await trio.sleep(0.1)
    assert (utterance.admitted, limiter.given) == (True, 2)
