"""Takes secrets (API keys, the passwords of proxies and of Redis) out of every text that a peer sends.

A peer may repeat a secret that it received: in an error body, in a header, in the reason of a close, or in garbage.
So the library redacts a peer's text where it becomes a field of an error or of an answer. A filter redacts the records
of the loggers below us (`LIBRARY_LOGGERS`), and of our own loggers that write tracebacks. These are taken out:

- a secret of 8 characters or more that an existing configuration holds, in upper or lower case (a shorter one may be
  a part of a word);
- the first 12 characters or more of a secret, where the peer cut it;
- both of these where characters are percent-encoded, escaped as in JSON, Python or HTML, or written in hexadecimal
  digits, also twice over;
- the base64 of a secret, alone or inside of the base64 of a longer text.

Other transformations, such as the characters in reverse, are not recognized.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import threading
import traceback
import weakref
from collections.abc import Iterator, Mapping

SHORTEST = 8
"""Characters of the shortest secret that is taken out."""
_HEAD = 12  # characters: so much of a secret is taken out where a peer cut it
_PUT = "[secret]"
_LINKS = 20  # exceptions of a chain that are searched

# One escaped character. A backslash before anything else matches too, and is dropped.
_ESCAPE = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|&(?:amp;)*#x0*([0-9a-f]{2});"
    r"|&(?:amp;)*#0*([0-9]{2,3});|\\+",
    re.IGNORECASE,
)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

_needles: weakref.WeakValueDictionary[str, frozenset[str]] = weakref.WeakValueDictionary()
"""By secret: the forms of it that are searched for. The finalizers of the secret's owners keep them."""
_lock = threading.RLock()  # held to add a secret; a finalizer takes no lock, as it runs in any thread, at any moment


def _begin_anew() -> None:
    """Make a new lock after a fork: the thread that held the old one may not exist."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # where there is a fork
    os.register_at_fork(after_in_child=_begin_anew)


def hide(owner: object, *secrets: str | None) -> None:
    """Take these secrets out of all texts for as long as their owner exists."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST:
            with _lock:
                needles = _needles.get(secret)
                if needles is None:
                    needles = _needles[secret] = frozenset(_forms(secret))
            weakref.finalize(owner, id, needles).atexit = False  # `id`: to keep the needles is all that it is for


def redact(text: str) -> str:
    """Return the text with `[secret]` in the place of each secret."""
    needles = [needle for forms in _needles.valuerefs() for needle in forms() or ()]
    if not needles:
        return text
    plain, places = _unescape(text)
    spans = sorted(span for needle in needles for span in _find(plain, needle))
    redacted, at = "", 0
    for start, end in spans:
        if places[end] > at:
            redacted += text[at : max(at, places[start])] + (_PUT if places[start] >= at else "")
            at = places[end]
    return redacted + text[at:]


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers without the secrets in their values.

    All values are searched as one text first, which is enough for nearly all headers.
    """
    values = "\n".join(headers.values())
    return dict(headers) if redact(values) == values else {name: redact(value) for name, value in headers.items()}


def shows_secret(error: BaseException) -> bool:
    """Whether a secret is in the traceback, a `repr` or an attribute of an exception or of one in its chain.

    True also where this cannot be known, because a `repr` raises.
    """
    texts = traceback.format_exception(error)
    link: BaseException | None = error
    for _ in range(_LINKS):
        if link is None:
            break
        try:
            texts += [repr(link), repr(getattr(link, "__dict__", None))]
        except Exception:  # noqa: BLE001 - its own `__repr__`, or that of anything it carries
            return True
        link = link.__cause__ or link.__context__
    return any(redact(text) != text for text in texts)


class RedactingFilter(logging.Filter):
    """Takes the secrets out of log records, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record, and let it pass."""
        message = record.getMessage()
        if (redacted := redact(message)) != message:
            record.msg, record.args = redacted, ()
        if record.exc_info and record.exc_info[1] is not None and shows_secret(record.exc_info[1]):
            record.exc_text = redact("".join(traceback.format_exception(record.exc_info[1])))
            record.exc_info = None
        return True


LIBRARY_LOGGERS = (
    "httpx",
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "trio-websocket",
    "wsproto",
    "h11",
    "coredis",
    "trio.async_generator_errors",
)


def guarded_logger(name: str) -> logging.Logger:
    """Return the logger of this name with the filter on it; a filter of logging does not hold for child loggers."""
    logger = logging.getLogger(name)
    logger.addFilter(_filter)
    return logger


_filter = RedactingFilter()
for _name in LIBRARY_LOGGERS:
    guarded_logger(_name)


def _forms(secret: str) -> Iterator[str]:
    """Give the forms in which a secret is searched for, folded."""
    data = secret.encode()
    yield _fold(secret)
    yield data.hex()
    for before in range(3):  # bytes before the secret: base64 writes it in three ways, by their number modulo 3
        encoded = base64.b64encode(bytes(before) + data).decode()
        yield _fold(encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6])


def _find(plain: str, needle: str) -> Iterator[tuple[int, int]]:
    """Give where a text has a needle, or at least the first `_HEAD` characters of it: (start, end)."""
    head = needle[:_HEAD]
    at = plain.find(head)
    while at >= 0:
        end = at + len(head)
        while end < len(plain) and end - at < len(needle) and plain[end] == needle[end - at]:
            end += 1
        yield at, end
        at = plain.find(head, end)


def _unescape(text: str) -> tuple[str, list[int] | range]:
    """Return the text unescaped and folded, and the place in the original text of each of its characters."""
    if not any(sign in text for sign in "%\\&"):
        return _fold(text), range(len(text) + 1)
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        pieces.append(text[at : escape.start()])
        places += range(at, escape.start())
        *hexadecimal, decimal = escape.groups()
        code = next(filter(None, hexadecimal), None)
        if code is not None or decimal is not None:
            pieces.append(chr(int(code, 16) if code is not None else int(decimal)))
            places.append(escape.start())
        at = escape.end()
    pieces.append(text[at:])
    places += range(at, len(text) + 1)
    return _fold("".join(pieces)), places


def _fold(text: str) -> str:
    """Return a text of the same length in lower case, with base64's URL-safe alphabet as the usual one."""
    lower = text.lower() if text.isascii() else text.translate(_LOWER)
    return lower.replace("-", "+").replace("_", "/")
