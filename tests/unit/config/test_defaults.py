"""A field that has its default is not checked again: that the defaults are allowed is tested here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.helpers import make_config
from tts_trio import (
    ConfigurationError,
    Filler,
    PhrasePolicy,
    PronunciationDictionary,
    Timeouts,
    TTSConfig,
    VoiceSettings,
)
from tts_trio.config import validators
from tts_trio.config.validators import Rule

CLASSES: list[type[Any]] = [TTSConfig, Timeouts, PhrasePolicy, Filler, VoiceSettings, PronunciationDictionary]
FIELDS = [
    (kind, field)
    for kind in CLASSES
    for field in attrs.fields(kind)
    if isinstance(field.validator, Rule) and field.default is not attrs.NOTHING
]


def test_there_are_such_fields() -> None:
    assert len(FIELDS) > 60
    assert {kind for kind, _ in FIELDS} == {*CLASSES} - {PronunciationDictionary}


def test_these_are_all_the_classes_of_such_fields() -> None:
    known = {kind.__module__.rpartition(".")[2] for kind in CLASSES}
    config = Path(validators.__file__).parent
    assert known == {path.stem for path in config.glob("*.py") if "validator=" in path.read_text("utf-8")}
    elsewhere = {path for path in config.parent.rglob("*.py") if "validators import" in path.read_text("utf-8")}
    assert not [
        path
        for path in elsewhere
        if path.parent != config and "local_server" not in path.parts and "validator=" in path.read_text("utf-8")
    ]


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
