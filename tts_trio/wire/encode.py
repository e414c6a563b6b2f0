"""JSON frames and query strings, as the service reads them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode


def encode_frame(content: dict[str, Any]) -> str:
    """Return a text frame."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def encode_query(parameters: dict[str, Any]) -> str:
    """Return a query string: booleans in lower case, None left out."""
    return urlencode(
        {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in parameters.items()
            if value is not None
        }
    )
