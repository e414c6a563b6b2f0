"""The account's own resources over HTTP: models, voices, history, credits, single-use tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import attrs
from pydantic import BaseModel, Field

from tts_trio.local_server import catalogue, errors
from tts_trio.local_server.account import Account, HistoryItem
from tts_trio.local_server.body import parse_query
from tts_trio.local_server.parameters import Request, known_voice

Resource: TypeAlias = Callable[..., Any]
"""Gives the JSON of an answer, from the request, the account, the time, and the groups of its route's pattern."""


class _VoicesPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    search: str = ""
    next_page_token: str = ""


class _HistoryPage(BaseModel):
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    start_after_history_item_id: str = ""


def _models(_request: Request, _account: Account, _now: float) -> Any:
    return catalogue.models()


def _user(_request: Request, account: Account, _now: float) -> Any:
    return catalogue.user(account.behaviour, account.used)


def _subscription(_request: Request, account: Account, _now: float) -> Any:
    return catalogue.subscription(account.behaviour, account.used)


def _token(_request: Request, account: Account, now: float) -> Any:
    return {"token": account.issue_token(now)}


def _voices(_request: Request, account: Account, _now: float) -> Any:
    return {"voices": catalogue.voices(account.behaviour)}


def _found_voices(request: Request, account: Account, _now: float) -> Any:
    page = parse_query(_VoicesPage, request.query)
    wanted = page.search.casefold()
    found = [voice for voice in catalogue.voices(account.behaviour) if wanted in voice["name"].casefold()]
    start = next((index for index, voice in enumerate(found) if voice["voice_id"] == page.next_page_token), 0)
    following = found[start + page.page_size :]
    return {
        "voices": found[start : start + page.page_size],
        "has_more": bool(following),
        "total_count": len(found),
        "next_page_token": following[0]["voice_id"] if following else None,
    }


def _default_settings(_request: Request, _account: Account, _now: float) -> Any:
    return catalogue.SETTINGS


def _voice(_request: Request, account: Account, _now: float, voice_id: str) -> Any:
    if not known_voice(voice_id, account.behaviour):
        raise errors.VOICE_NOT_FOUND.given(voice_id=voice_id)
    return catalogue.voice(voice_id)


def _voice_settings(request: Request, account: Account, now: float, voice_id: str) -> Any:
    return _voice(request, account, now, voice_id)["settings"]


def _history(request: Request, account: Account, _now: float) -> Any:
    query = parse_query(_HistoryPage, request.query)
    size, after = query.page_size, query.start_after_history_item_id
    items = list(account.history)
    start = next((index + 1 for index, item in enumerate(items) if item.history_item_id == after), 0)
    page = items[start : start + size]
    return {
        "history": [_history_item(item) for item in page],
        "last_history_item_id": page[-1].history_item_id if page else None,
        "has_more": start + size < len(items),
    }


def _history_item(item: HistoryItem) -> dict[str, Any]:
    return {
        **attrs.asdict(item),
        "voice_name": catalogue.voice_name(item.voice_id),
        "voice_category": "premade",
        "date_unix": 0,  # the account has no clock
        "state": "created",
        "source": "TTS",
    }


ROUTES: tuple[tuple[str, str, Resource], ...] = (
    ("GET", "/v1/models", _models),
    ("GET", "/v1/user", _user),
    ("GET", "/v1/user/subscription", _subscription),
    ("GET", "/v1/voices", _voices),
    ("GET", "/v2/voices", _found_voices),
    ("GET", "/v1/voices/settings/default", _default_settings),
    ("GET", "/v1/voices/([^/]+)", _voice),
    ("GET", "/v1/voices/([^/]+)/settings", _voice_settings),
    ("GET", "/v1/history", _history),
    ("POST", "/v1/single-use-token/tts_websocket", _token),
)
"""Method, pattern of the path, and what answers there."""
