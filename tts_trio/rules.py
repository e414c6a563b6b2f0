"""Validators for attrs fields: what they refuse is told by the field's name and by what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import attrs

from tts_trio.errors import ConfigurationError

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

Check: TypeAlias = "Callable[[Any, attrs.Attribute[Any], Any], None]"


def refuse(field: str, value: object, allowed: str) -> ConfigurationError:
    """Return the refusal of a value."""
    return ConfigurationError(f"{field}: {value!r} is not allowed; it must be {allowed}", field=field)


def rule(allowed: str, good: Callable[[Any], bool]) -> Check:
    """A validator that says, when it refuses, which field it was and what would have been right."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        try:
            accepted = good(value)
        except (TypeError, ValueError):
            accepted = False
        if not accepted:
            raise refuse(attribute.name, value, allowed)

    return check


def matches(pattern: re.Pattern[str], allowed: str) -> Check:
    """A text of this pattern."""
    return rule(allowed, lambda value: pattern.fullmatch(value) is not None)


def number(low: float, high: float) -> Check:
    """A number in this range."""
    allowed = f"a number from {low:g} to {high:g}"
    return rule(allowed, lambda value: not isinstance(value, bool) and low <= value <= high)


def whole(low: int, high: int) -> Check:
    """A whole number in this range."""
    allowed = f"a whole number from {low} to {high}"
    return rule(allowed, lambda value: type(value) is int and low <= value <= high)


def one_of(*values: str) -> Check:
    """One of these texts."""
    return rule(f"one of {', '.join(values)}", lambda value: value in values)


def is_a(kind: type) -> Check:
    """Of this type."""
    allowed = "True or False" if kind is bool else f"of the type {kind.__name__}"
    return rule(allowed, lambda value: isinstance(value, kind))


def to_tuple(value: Any) -> Any:
    """Freeze a list; what is no list goes on to the validator, which refuses it by name."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


seconds = rule("a number of seconds above 0", lambda value: not isinstance(value, bool) and 0 < value < math.inf)
unless_none = attrs.validators.optional
