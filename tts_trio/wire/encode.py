"""JSON frames and query strings, as the service reads them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # which `json.dumps` makes for each call


def encode_frame(content: dict[str, Any]) -> str:
    """Return a text frame."""
    return _encode(content)


def encode_query(parameters: dict[str, Any]) -> str:
    """Return a query string: booleans in lower case, None left out."""
    given = (
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in parameters.items()
        if value is not None
    )
    return _urlencode(tuple(given))


_urlencode = lru_cache(maxsize=64)(urlencode)  # it is the same for each text of a configuration
