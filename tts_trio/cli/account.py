"""What the service tells of an account: its voices, its models and its subscription.

The endpoints and their fields are in wire/README.md, 10. A key may have the permission to speak and no other: then the
service answers 401 `missing_permissions`, which is an `AuthenticationError`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from tts_trio.errors import ProtocolError
from tts_trio.errors.redaction import redact
from tts_trio.wire.http import SpeechRequest, resource_request

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

T = TypeVar("T")

_VOICES_A_PAGE = 100  # the most that the service gives (API reference)
_MOST_VOICES = 20_000  # so that a peer whose pages never end does not keep us


@attrs.frozen
class Voice:
    """A voice of the account.

    Attributes:
        voice_id: The id.
        name: The name for people.
        category: "premade", "cloned", "professional" and the like.
        languages: The language of its label, and then those in which it was verified: ISO 639-1 codes.
    """

    voice_id: str
    name: str
    category: str
    languages: tuple[str, ...]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Voice:
        """Read a voice of an answer."""
        labels: Mapping[str, Any] = fields.get("labels") or {}
        verified: Sequence[Mapping[str, Any]] = fields.get("verified_languages") or ()
        languages = [labels.get("language"), *(one.get("language") for one in verified)]
        return cls(
            voice_id=_line(fields["voice_id"]),
            name=_line(fields.get("name")),
            category=_line(fields.get("category")),
            languages=tuple(dict.fromkeys(_line(code) for code in languages if code)),
        )


@attrs.frozen
class Model:
    """A model.

    Attributes:
        model_id: The id.
        languages: The languages that it speaks: ISO 639-1 codes.
    """

    model_id: str
    languages: tuple[str, ...]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Model:
        """Read a model of an answer."""
        codes = [_line(one["language_id"]).partition("-")[0] for one in fields.get("languages") or ()]
        return cls(_line(fields["model_id"]), tuple(dict.fromkeys(codes)))


@attrs.frozen
class Subscription:
    """The plan of the account.

    Attributes:
        tier: The name of the plan.
        used: The credits that were used in this period.
        limit: The credits of a period.
        overage: Whether the service goes on above the limit, and bills it.
    """

    tier: str
    used: int
    limit: int
    overage: bool

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Subscription:
        """Read the answer."""
        overage = bool(fields.get("max_credit_limit_extension") or fields.get("allowed_to_extend_character_limit"))
        return cls(_line(fields.get("tier")), int(fields["character_count"]), int(fields["character_limit"]), overage)


@attrs.define
class Account:
    """Asks the service for what it tells of an account.

    Attributes:
        ahead: The seconds by which the clock of this machine is ahead of the service's, whose `Date` has whole ones;
            None before the first answer.
    """

    _http: HttpConnections
    ahead: float | None = attrs.field(default=None, init=False)

    async def voices(self, search: str | None = None) -> list[Voice]:
        """Return the voices whose name, description or labels have a text; it raises a `TTSError` as `voice` does."""
        voices: list[Voice] = []
        token: str | None = None
        while len(voices) < _MOST_VOICES:
            page = resource_request(
                "/v2/voices", page_size=_VOICES_A_PAGE, search=search or None, next_page_token=token
            )
            found, token = await self._get(page, _read_page)
            voices += found
            if not (found and token):
                break
        return voices

    async def voice(self, voice_id: str) -> Voice:
        """Return a voice.

        Raises:
            ConfigurationError: There is none of this id.
            TTSError: There is no answer, or another refusal.
        """
        return await self._get(resource_request(f"/v1/voices/{voice_id}"), Voice.read)

    async def models(self) -> list[Model]:
        """Return the models that speak; it raises a `TTSError` as `voice` does."""
        return await self._get(resource_request("/v1/models"), _read_models)

    async def subscription(self) -> Subscription:
        """Return the plan; it raises a `TTSError` as `voice` does."""
        return await self._get(resource_request("/v1/user/subscription"), Subscription.read)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Compare the clock of this machine with the `Date` of an answer that has just come."""
        try:
            self.ahead = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError):  # a peer that sends none, or another
            self.ahead = None

    async def _get(self, request: SpeechRequest, read: Callable[[Any], T]) -> T:
        async with self._http.stream(request) as answer:
            self.heed(answer.headers)
            body = b"".join([chunk async for chunk in answer])
        try:
            return read(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            path = request.path.partition("?")[0]
            raise ProtocolError(
                f"the answer to GET {path} is not what ElevenLabs documents ({type(error).__name__})", status=200
            ) from None


def _read_page(fields: Mapping[str, Any]) -> tuple[list[Voice], str | None]:
    following = fields.get("next_page_token") if fields.get("has_more") else None
    return [Voice.read(one) for one in fields["voices"]], following


def _read_models(answer: Any) -> list[Model]:
    return [Model.read(fields) for fields in answer if fields.get("can_do_text_to_speech", True)]


def _line(value: object) -> str:
    """Return a text of the service's as one printable line, without secrets."""
    line = " ".join(redact(str(value or "")).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
