"""The conformance tables' machinery: one row, one fact, named by its section of `wire/README.md`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, Heard, Reply, Town, town

Row = Callable[[Town], Awaitable[None]]


class Table:
    """Rows, and the test that runs each of them in a town of its own."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Row, dict[str, Any]]] = {}

    def row(self, name: str, **behavior: Any) -> Callable[[Row], Row]:
        """Enter a row; it runs in a town whose server behaves by default but for `behavior`."""

        def enter(function: Row) -> Row:
            assert name not in self._rows
            self._rows[name] = (function, behavior)
            return function

        return enter

    def test(self) -> Callable[[str, MockClock], Awaitable[None]]:
        """Make the test, when all rows are in."""

        @pytest.mark.parametrize("name", self._rows)
        async def test(name: str, autojump_clock: MockClock) -> None:
            check, behavior = self._rows[name]
            async with town(**behavior) as here:
                await check(here)

        return test


async def speak(here: Town, text: str = ENGLISH, form: str = "/stream", **options: object) -> Reply:
    reply = await here.http().speak(text, form, **options)  # type: ignore[arg-type]
    assert reply is not None
    return reply


async def say(here: Town, *texts: str, init: dict[str, object] | None = None, **query: object) -> list[Heard]:
    socket = await here.socket(**query)
    await socket.say(*texts, **(init or {}))
    return await socket.hear_all()


def audio_of(heard: list[Heard]) -> list[Heard]:
    return [item for item in heard if item.kind == "audio"]


def chars(item: Heard, which: str = "alignment") -> str | None:
    return item.message[which] and "".join(item.message[which]["chars"])
