"""A field that has its default is not checked again: that the defaults are allowed is tested here."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.helpers import make_config
from tts_trio import ConfigurationError, PhrasePolicy, Timeouts, TTSConfig
from tts_trio.config.validators import Rule

CLASSES: list[type[Any]] = [TTSConfig, Timeouts, PhrasePolicy]
FIELDS = [
    (kind, field)
    for kind in CLASSES
    for field in attrs.fields(kind)
    if isinstance(field.validator, Rule) and field.default is not attrs.NOTHING
]


def test_there_are_such_fields() -> None:
    assert len(FIELDS) > 30
    assert {kind for kind, _ in FIELDS} >= {TTSConfig, PhrasePolicy}


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda value: getattr(value, "name", None))
def test_the_default_is_allowed(kind: type[Any], field: attrs.Attribute[Any]) -> None:
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type] - it is a class where it runs
        default = default.factory()
    if field.converter is not None:
        default = field.converter(default)
    assert isinstance(field.validator, Rule)
    field.validator.check(field.name, default)


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Timeouts)])
def test_the_default_timeouts_are_allowed(field: str) -> None:
    """Given as other objects than the defaults, they are checked."""
    default = getattr(Timeouts(), field)
    given = default if default is None else float(repr(default))
    assert Timeouts(**{field: given}) == Timeouts()
    with pytest.raises(ConfigurationError, match=f"timeouts.{field}"):
        Timeouts(**{field: "Привет"})


def test_what_equals_a_default_and_is_not_it_is_checked() -> None:
    assert make_config().max_characters == attrs.fields(TTSConfig).max_characters.default
    with pytest.raises(ConfigurationError, match="max_characters"):
        make_config(max_characters=float(attrs.fields(TTSConfig).max_characters.default))
