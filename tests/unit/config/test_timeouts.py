"""`Timeouts`: every field is checked, and a refusal names it as the user reaches it."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from tests.helpers import make_config
from tts_trio import ConfigurationError, Timeouts

FIELDS = [field.name for field in attrs.fields(Timeouts)]
BAD = [0, -1, 1e7, float("inf"), float("nan"), "5", True, (1,), 10**400]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", BAD)
def test_what_is_not_allowed_is_refused_by_name(field: str, value: Any) -> None:
    shortest = 0.1 if field == "ping" else 0.001
    with pytest.raises(
        ConfigurationError, match=rf"^timeouts\.{field}: .* a number of seconds from {shortest}"
    ) as caught:
        Timeouts(**{field: value})
    assert caught.value.field == f"timeouts.{field}"


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_is_taken_and_pickled(field: str) -> None:
    shortest = 0.1 if field == "ping" else 0.001
    config = make_config(timeouts=Timeouts(**{field: shortest}))
    assert getattr(config.timeouts, field) == shortest
    assert pickle.loads(pickle.dumps(config)).timeouts == config.timeouts
    assert config.evolve(timeouts=attrs.evolve(config.timeouts, **{field: 7})).timeouts == Timeouts(**{field: 7})


def test_the_first_audio_may_be_left_to_the_model_and_nothing_else_to_anything() -> None:
    assert Timeouts(first_audio=None) == Timeouts()
    for field in set(FIELDS) - {"first_audio"}:
        with pytest.raises(ConfigurationError, match=f"timeouts.{field}: None is not allowed"):
            Timeouts(**{field: None})


@pytest.mark.parametrize("value", [5.0, None, {"stall": 1.0}, Timeouts])
def test_other_types_are_refused(value: Any) -> None:
    """Not even one number for all: a dial and a reply do not take the same time."""
    with pytest.raises(ConfigurationError, match=r"^timeouts: .* of the type Timeouts"):
        make_config(timeouts=value)
