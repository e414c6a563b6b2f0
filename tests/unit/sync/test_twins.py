"""The face without `async` is the async one: each public method and property has its twin, with the same parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import tts_trio
from tts_trio import sync

WITHOUT_TWIN = {
    "TTSManager": set[str](),
    # A connection's callbacks run in the loop.
    "WebSocketConnectionManager": {"get_connection"},
    # Where nothing is awaited there is nothing to be quicker than, and `close` is what `aclose` is.
    "AudioChannel": {"aclose", "receive_nowait", "statistics", "closed", "dismissed"},
    "TextChannel": {"aclose", "send_nowait"},
    # They are iterated over.
    "PacedFrames": {"aclose", "receive", "receive_nowait"},
    "Line": set[str](),
}
"""What a class does without there, and why."""

OTHER_PARAMETERS = {("WebSocketConnectionManager", "__init__")}  # `open_stream` would open trio's streams


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") or name == "__init__"}


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [
        (each.name, each.kind, "a function" if inspect.isfunction(each.default) else each.default)
        for each in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("name", WITHOUT_TWIN)
def test_every_method_has_its_twin(name: str) -> None:
    one, twin = public(getattr(tts_trio, name)), public(getattr(sync, name))
    assert one.keys() - twin.keys() == WITHOUT_TWIN[name]
    assert twin.keys() - one.keys() == set()
    for member, value in twin.items():
        assert isinstance(value, property) == isinstance(one[member], property), member
        made_here = member == "__init__" and not name.endswith("Manager")  # out of another channel
        if not isinstance(value, property) and not made_here and (name, member) not in OTHER_PARAMETERS:
            assert parameters(value) == parameters(one[member]), member


def test_every_function_has_its_twin() -> None:
    """All that speaks is there; what is left are values, errors, and what a user fills in."""
    names = {name for name in sync.__all__ if not inspect.isclass(getattr(sync, name))}
    assert names == {name for name in dir(tts_trio) if name[0] != "_" and inspect.isfunction(getattr(tts_trio, name))}
    for name in names:
        assert parameters(getattr(sync, name)) == parameters(getattr(tts_trio, name))
