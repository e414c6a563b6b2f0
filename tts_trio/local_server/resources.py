"""The account's own resources over HTTP: models, voices, history, credits, single-use tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import attrs
from pydantic import BaseModel, Field

from tts_trio.local_server import catalog, errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.body import parse_query
from tts_trio.local_server.parameters import Request, known_voice


@attrs.frozen
class Call:
    """A request for a resource, with the part of its path that the pattern of the route leaves open, or ""."""

    request: Request
    account: Account
    now: float
    open_part: str


class _VoicesPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    search: str = ""
    next_page_token: str = ""


class _HistoryPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    start_after_history_item_id: str = ""


def _found_voices(call: Call) -> Any:
    page = parse_query(_VoicesPage, call.request.query)
    wanted = page.search.casefold()
    found = [voice for voice in catalog.voices(call.account.behavior) if wanted in voice["name"].casefold()]
    start = next((index for index, voice in enumerate(found) if voice["voice_id"] == page.next_page_token), 0)
    following = found[start + page.page_size :]
    return {
        "voices": found[start : start + page.page_size],
        "has_more": bool(following),
        "total_count": len(found),
        "next_page_token": following[0]["voice_id"] if following else None,
    }


def _voice(call: Call) -> Any:
    if not known_voice(call.open_part, call.account.behavior):
        raise errors.VOICE_NOT_FOUND.given(voice_id=call.open_part)
    return catalog.voice(call.open_part)


def _history(call: Call) -> Any:
    query = parse_query(_HistoryPage, call.request.query)
    size, after = query.page_size, query.start_after_history_item_id
    items = list(call.account.history)
    start = next((index + 1 for index, item in enumerate(items) if item["history_item_id"] == after), 0)
    page = items[start : start + size]
    return {
        "history": page,
        "last_history_item_id": page[-1]["history_item_id"] if page else None,
        "has_more": start + size < len(items),
    }


ROUTES: tuple[tuple[str, str, Callable[[Call], Any]], ...] = (
    ("GET", "/v1/models", lambda _: catalog.models()),
    ("GET", "/v1/user", lambda call: catalog.user(call.account.behavior, call.account.used)),
    ("GET", "/v1/user/subscription", lambda call: catalog.subscription(call.account.behavior, call.account.used)),
    ("GET", "/v1/voices", lambda call: {"voices": catalog.voices(call.account.behavior)}),
    ("GET", "/v2/voices", _found_voices),
    ("GET", "/v1/voices/settings/default", lambda _: catalog.SETTINGS),
    ("GET", "/v1/voices/([^/]+)", _voice),
    ("GET", "/v1/voices/([^/]+)/settings", lambda call: _voice(call)["settings"]),
    ("GET", "/v1/history", _history),
    ("POST", "/v1/single-use-token/tts_websocket", lambda call: {"token": call.account.issue_token(call.now)}),
)
"""Method, pattern of the path, and what gives the JSON of the answer there."""
