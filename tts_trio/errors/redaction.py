"""What must not be shown: API keys and the passwords of proxies and of Redis, taken out of every text of a peer's.

A peer may repeat what it was sent: in an error body, a header, the reason of a close, or where a header is due. So its
texts are redacted where they become a field of an error or of an answer, and the loggers of the libraries below us,
and ours that write tracebacks, have a filter. What is taken out:

- a secret of 8 characters or more, of a configuration that exists, in any case; a shorter one may be a part of a word;
- its first 12 characters or more, where the peer cut it;
- either of these percent-encoded, with the escapes of JSON, Python or HTML, or in hexadecimal digits, character by
  character and also twice;
- its base64, at whatever place of a longer text it was encoded.

Other transformations, such as its characters in reverse, are not recognized.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import traceback
import weakref
from collections.abc import Iterator, Mapping

import trio

SHORTEST = 8
_HEAD = 12
_PUT = "[secret]"
_LINKS = 20  # of a chain of exceptions

# An escaped character; a backslash before anything else is dropped.
_ESCAPE = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|&(?:amp;)*#x0*([0-9a-f]{2});"
    r"|&(?:amp;)*#0*([0-9]{2,3});|\\+",
    re.IGNORECASE,
)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

_needles: dict[str, tuple[str, ...]] = {}  # by secret, what to look for
_owners: dict[str, int] = {}  # by secret, how many objects have it
_lock = threading.RLock()  # an object may end in any thread, and at any moment


def hide(owner: object, *secrets: str | None) -> None:
    """Have secrets taken out of texts for as long as their owner exists."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST:
            with _lock:
                _owners[secret] = _owners.get(secret, 0) + 1
                _needles.setdefault(secret, tuple(_forms(secret)))
            weakref.finalize(owner, _forget, secret).atexit = False


@trio.lowlevel.enable_ki_protection  # raised in what the garbage collector calls, a Ctrl-C would be lost
def _forget(secret: str) -> None:
    with _lock:
        _owners[secret] -= 1
        if not _owners[secret]:
            del _owners[secret], _needles[secret]


def redact(text: str) -> str:
    """Return a text without the secrets that are in it."""
    needles = [needle for forms in list(_needles.values()) for needle in forms]
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
    """Return headers without the secrets in their values; at once, as hardly any have one."""
    values = "\n".join(headers.values())
    return dict(headers) if redact(values) == values else {name: redact(value) for name, value in headers.items()}


def shows_secret(error: BaseException) -> bool:
    """Whether a secret is in an exception, in those behind it, or in what they carry; or it cannot be looked at."""
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
    """Takes the secrets out of what a logger is told, its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record where it has to be; it is always let pass."""
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
    """Return a logger with the filter, which holds for one logger and not for those below it."""
    logger = logging.getLogger(name)
    logger.addFilter(_filter)
    return logger


_filter = RedactingFilter()
for _name in LIBRARY_LOGGERS:
    guarded_logger(_name)


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode()
    yield _fold(secret)
    yield data.hex()
    for before in range(3):  # bytes: base64 has three ways to write the same bytes, by what stands before them
        encoded = base64.b64encode(bytes(before) + data).decode()
        yield _fold(encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6])


def _find(plain: str, needle: str) -> Iterator[tuple[int, int]]:
    """Where a text has a needle, or so much of it that nobody wrote it by chance."""
    head = needle[:_HEAD]
    at = plain.find(head)
    while at >= 0:
        end = at + len(head)
        while end < len(plain) and end - at < len(needle) and plain[end] == needle[end - at]:
            end += 1
        yield at, end
        at = plain.find(head, end)


def _unescape(text: str) -> tuple[str, list[int] | range]:
    """Return a text without escapes, in one case; and where in the text each of its characters begins."""
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
    """Return a text of the same length in one case, with base64's two alphabets as one."""
    lower = text.lower() if text.isascii() else text.translate(_LOWER)
    return lower.replace("-", "+").replace("_", "/")
