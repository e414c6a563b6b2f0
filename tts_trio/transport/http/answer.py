"""The answer to a request for speech, checked so that nothing but audio is played or cached."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import attrs
import trio

from tts_trio.errors import ProtocolError, TTSError
from tts_trio.errors.classification import classify_response
from tts_trio.transport.http.connection import HttpConnection
from tts_trio.transport.timers import fail_after

_MAX_REFUSAL = 65536  # bytes of the body of a refusal that are read
_REFUSAL_SECONDS = 1.0  # for which the body of a refusal is waited for; the status alone says much
_SNIFFED = 64  # bytes: so much text that begins like HTML or JSON is not audio
_QUOTED = 80  # characters of a header that a message repeats
_BLANKS = b" \t\r\n"


@attrs.define
class Body:
    """The bytes of an answer as they come; after `close` none, since another request may have the connection."""

    _connection: HttpConnection
    _closed: bool = attrs.field(default=False, init=False)

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._closed and (data := await self._connection.receive()):
            return data
        raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration, wherever it is."""
        self._closed = True


@attrs.define
class SpeechResponse:
    """An answer that has begun: an async iterable of its bytes, which are audio or lines for `TimedLines`.

    The chunks come as they arrive, of any size. The iteration raises a `TTSError` when the answer breaks off or stalls,
    or is HTML or JSON instead of audio, and ends only when the answer is complete. Iterate once.

    Attributes:
        status: The HTTP status.
        headers: The headers, with lower-case names.
        dialed: Whether the request waited for a connection that was dialed.
    """

    status: int
    headers: Mapping[str, str]
    dialed: bool
    _timed: bool = attrs.field(repr=False)
    _chunks: AsyncIterator[bytes] = attrs.field(repr=False)
    _begun: bool = attrs.field(default=False, init=False, repr=False)

    def __aiter__(self) -> SpeechResponse:
        return self

    async def __anext__(self) -> bytes:
        if self._begun or self._timed:
            return await anext(self._chunks)
        self._begun = True
        beginning = b""
        async for chunk in self._chunks:
            beginning += chunk
            if len(beginning) >= _SNIFFED or not may_be_text(beginning):
                break
        if may_be_text(beginning):
            raise self._explain("is text instead of audio", beginning + await _read_refusal(self._chunks))
        if not beginning:
            raise StopAsyncIteration
        return beginning

    async def check(self) -> None:
        """Check by its head that the answer is what was requested, and that its end can be verified.

        Raises:
            TTSError: The answer is a refusal, or something else.
        """
        wrong = self._wrong()
        if wrong is not None:
            raise self._explain(wrong, await _read_refusal(self._chunks))

    def _wrong(self) -> str | None:
        """Return what is wrong with the head, or None.

        It must be a complete success of the requested type, without an encoding. An answer that ends with its
        connection is refused, because a connection that is cut ends in the same way.
        """
        # The live API sends audio/pcm and the like, but is documented to send audio/mpeg for every format. Lines with
        # times are documented as application/json.
        content_type = self.headers.get("content-type", "").lower()
        encoding = self.headers.get("content-encoding", "identity").lower()
        if self.status != 200:
            return f"has the status {self.status} instead of 200"
        if not ("json" in content_type if self._timed else content_type.startswith("audio/")):
            due = "JSON" if self._timed else "audio"
            return f"has the content type {content_type[:_QUOTED] or 'nothing'} instead of {due}"
        if encoding != "identity":
            return f"has the content encoding {encoding[:_QUOTED]}, which was not requested"
        if "content-length" not in self.headers and "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return "has neither a content length nor chunks, so that it could end early unnoticed"
        return None

    def _explain(self, wrong: str, body: bytes) -> TTSError:
        if not 200 <= self.status < 300 or body.lstrip(_BLANKS).startswith(b"{"):
            return classify_response(self.status, self.headers, body)
        trace_id = self.headers.get("x-trace-id")
        return ProtocolError(f"the answer {wrong}", status=self.status, trace_id=trace_id)


async def _read_refusal(chunks: AsyncIterator[bytes]) -> bytes:
    """Read the body of a refusal, as far as it comes within a second and is not too long."""
    body = bytearray()
    with suppress(TTSError, trio.TooSlowError):
        async with fail_after(_REFUSAL_SECONDS):
            async for chunk in chunks:
                body += chunk
                if len(body) >= _MAX_REFUSAL:
                    break
    return bytes(body[:_MAX_REFUSAL])


def may_be_text(beginning: bytes) -> bool:
    """Tell whether an answer that begins with these bytes may be HTML or JSON instead of audio.

    It may if all bytes are text (UTF-8 without control characters), and begin, behind blanks, with `<` and a letter,
    `!`, `?` or `/`, or with `{` and a quote or `}`. Audio may begin in this way, but does not go on so for 64 bytes:
    two such samples are loud, and in a quiet beginning of PCM every second byte is 0 or 255.
    """
    text = beginning.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    behind = text[1:].lstrip(_BLANKS)[:1] if text[:1] == b"{" else text[1:2]
    match text[:1]:
        case b"":
            begins = bool(beginning)
        case b"<":
            begins = not behind or behind.isalpha() or behind in b"!?/"
        case b"{":
            begins = not behind or behind in b'"}'
        case _:
            begins = False
    return begins and _is_printable(beginning)


def _is_printable(data: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return all(char >= " " or char in "\t\r\n" for char in text)
