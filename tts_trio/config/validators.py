"""The validators of every class that a user fills in. Each error names the field, its value and what is allowed.

A `Rule` is a validator for attrs, and `Rule.check` does the same for an argument. A value may be any object, so an
exception that the value raises while it is checked counts as a refusal.
"""

from __future__ import annotations

import inspect
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import attrs

from tts_trio.errors import ConfigurationError

Brought = TypeVar("Brought")

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
LONGEST = 1_000_000
"""The longest timeout or interval, in seconds: eleven and a half days."""

_LONGEST_URL = 2000
_API_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_SERVICE_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_SERVICE_PATH = re.compile(r"(/([A-Za-z0-9_.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_SHOWN = 100  # characters of a refused value that the message shows
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_AUTHORITY = re.compile(r"([^@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


def refuse(field: str, value: object, allowed: str) -> ConfigurationError:
    """Return the error for a value that is not allowed. It quotes the value, so it is not for secrets."""
    return ConfigurationError(f"{field}: {_shown(value)} is not allowed; it must be {allowed}", field=field)


def refuse_wrapped_secret(field: str, value: object) -> None:
    """Refuse a `SecretStr` of pydantic, and what is like it, with the words that tell how to get the text."""
    if hasattr(type(value), "get_secret_value"):
        raise ConfigurationError(
            f"{field}: it must not be a {type(value).__name__}; pass its get_secret_value()", field=field
        )


@attrs.frozen
class Rule:
    """Which values a field may have.

    Attributes:
        allowed: The values in words, to follow "it must be" in a message.
        good: A function that says whether a value is allowed. An exception of it means no.
        secret: Whether a value may contain a secret, so that the error must not quote it.
        within: What stands before the name of a field in its error, where a user reaches it so: `timeouts.`.
    """

    allowed: str
    good: Callable[[Any], object]
    secret: bool = False
    within: str = ""

    def __call__(self, _instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        """Check a field of an attrs class, as `check` does; that a default is allowed is tested once for all."""
        if value is not attribute.default:
            self.check(self.within + attribute.name, value)

    def check(self, field: str, value: object) -> None:
        """Check that a value is allowed.

        Raises:
            ConfigurationError: It is not; the message names the field, the value and what is allowed.
        """
        try:
            accepted = bool(self.good(value))
        except Exception:  # noqa: BLE001 - the value's own comparisons may raise anything
            accepted = False
        if accepted:
            return
        refuse_wrapped_secret(field, value)
        if self.secret:
            kind = "" if isinstance(value, str) else f"a str, not {type(value).__name__}: "
            raise ConfigurationError(f"{field}: it must be {kind}{self.allowed}", field=field)
        raise refuse(field, value, self.allowed)


def matches(pattern: re.Pattern[str], allowed: str) -> Rule:
    """Return the rule for a text that matches this pattern as a whole."""
    return Rule(allowed, pattern.fullmatch)


def number(low: float, high: float, what: str = "a number") -> Rule:
    """Return the rule for an `int` or `float` in this range.

    Other types that compare like numbers (bool, Decimal, numpy's) are refused, since JSON and timers do not take them.
    """
    return Rule(
        f"{what} from {low:.12g} to {high:.12g}",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high,
    )


def seconds(low: float, high: float = LONGEST) -> Rule:
    """Return the rule for a duration in seconds."""
    return number(low, high, "a number of seconds")


def or_endless(rule: Rule) -> Rule:
    """Return the rule for `math.inf`, or what another rule allows."""
    return Rule(
        f"{rule.allowed}, or math.inf", lambda value: (type(value) is float and value == math.inf) or rule.good(value)
    )


def whole(low: int, high: int) -> Rule:
    """Return the rule for a whole number in this range."""
    return Rule(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def one_of(*values: str) -> Rule:
    """Return the rule for one of these texts."""
    return Rule(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def is_a(kind: type) -> Rule:
    """Return the rule for an instance of this type."""
    allowed = "True or False" if kind is bool else f"of the type {kind.__name__}"
    return Rule(allowed, lambda value: isinstance(value, kind))


def tuple_of(what: str, least: int, most: int, good: Callable[[Any], object]) -> Rule:
    """Return the rule for a list or tuple (made a tuple by `to_tuple`) of `least` to `most` good values."""

    def holds(value: tuple[Any, ...]) -> bool:
        return type(value) is tuple and least <= len(value) <= most and all(map(good, value))

    return Rule(f"a list of {f'{least} to' if least else 'at most'} {most} {what}", holds)


def unless_none(rule: Rule) -> Rule:
    """Return the rule for None, or what another rule allows."""
    allowed = f"{rule.allowed}, or None"
    return Rule(allowed, lambda value: value is None or rule.good(value), rule.secret, rule.within)


def to_tuple(value: Any) -> Any:
    """Make a list a tuple. Any other value is returned as it is, for the validator to check."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


TEXT = Rule("text without half surrogate pairs", lambda value: f"-{value}".encode() and type(value) is str)


def split_url(url: object, schemes: frozenset[str]) -> SplitResult | None:
    """Parse a URL strictly, so that every library below us reads it alike.

    Args:
        url: Any object.
        schemes: The allowed schemes.

    Returns:
        The parts of the URL, or None where it is not allowed. The host is an IP address or a name in ASCII, the port is
        absent or 1 to 65535, and no character is a blank or a control character.
    """
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not url.isprintable() or re.search(r"[\s\\]", url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if parts.scheme not in schemes or authority is None or not _is_host(authority["host"]):
        return None
    return parts if authority["port"] is None or 0 < int(authority["port"]) < 65536 else None


def check_api_key(_instance: object, _attribute: object, value: object) -> None:
    """Refuse a value that cannot be an API key. The message does not quote it."""
    refuse_wrapped_secret("api_key", value)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"api_key: it must be a str, not {type(value).__name__}; pass its text", field="api_key"
        )
    if not value:
        raise ConfigurationError(
            "api_key: it is missing; pass api_key=, or set ELEVENLABS_API_KEY and use from_env()", field="api_key"
        )
    if not _API_KEY.fullmatch(value):
        raise ConfigurationError(
            "api_key: it must be 1 to 512 characters of printable ASCII, without blanks or line ends", field="api_key"
        )


def _is_base_url(value: object) -> bool:
    url = split_url(value, _SERVICE_SCHEMES)
    if url is None or "@" in url.netloc or url.netloc.endswith(":") or "?" in str(value) or "#" in str(value):
        return False
    dots = {".", ".."}.intersection(url.path.split("/"))  # each HTTP library resolves them in a way of its own
    return not dots and _SERVICE_PATH.fullmatch(url.path) is not None


BASE_URL = Rule(
    "a URL such as https://api.elevenlabs.io, with a host name in ASCII; a port and a path may follow it, but no "
    "credentials, query or fragment",
    _is_base_url,
    secret=True,
)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, to which the API key may be sent unencrypted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_instance(value: object, protocol: type[Brought]) -> TypeGuard[Brought]:
    """Whether a value has the members of a protocol, and is not a class.

    Members that a `__getattr__` gives count too; `isinstance` with a runtime protocol ignores them from Python 3.12 on.
    """
    members = [name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_")]
    return not isinstance(value, type) and all(hasattr(value, name) for name in members)


def require(name: str, value: object, kind: type) -> None:
    """Check the type of an argument.

    Raises:
        TypeError: It is of another type; the message names the argument and both types.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def takes(function: object, *arguments: object, **named: object) -> bool:
    """Whether a function can be called with these arguments, as far as its signature tells."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # a function written in C may have no signature
        return True
    return True


def is_async(function: object) -> bool:
    """Whether a function is an `async def`, below any decorators."""
    found = inspect.unwrap(cast("Callable[..., Any]", function))
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))  # noqa: B004


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return _is_address(host[1:-1])
    return _is_address(host) if host.rpartition(".")[2].isdigit() else _NAME.fullmatch(host) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - of the value's `__repr__`; Python's own raises for an int of over 4,300 digits
        return f"this {type(value).__name__}"
    text = "".join(char if char.isprintable() else " " for char in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
