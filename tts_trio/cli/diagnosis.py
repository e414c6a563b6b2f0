"""The checks of `tts-trio check`: each line of it, and how it is found out.

First the way to the service is tried, step by step. Then the service is asked for what it tells of the account. At last
a short text is spoken over HTTP, which alone proves that the key, the voice, the model and the format go together, and
a WebSocket is opened. A check that needs the result of one that failed is not made.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs
import trio

from tts_trio.cli.account import Account, Model
from tts_trio.cli.measure import Dial
from tts_trio.config.config import TTSConfig
from tts_trio.config.defaults import websocket_endpoint
from tts_trio.config.proxy import proxy_for
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.errors import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    EmptyAudioError,
    QuotaError,
    TTSConnectionError,
    TTSError,
)
from tts_trio.transport.streams import default_ssl_context, dial_failed, open_stream, trusted_roots
from tts_trio.wire.http import header_number, stream_request

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

Status: TypeAlias = Literal["ok", "wrong", "not allowed", "not checked"]

NAMES = (
    "proxy",
    "DNS",
    "connection",
    "TLS roots",
    "key",
    "clock",
    "credits",
    "model",
    "language",
    "voice",
    "format",
    "concurrency",
    "speech",
    "WebSocket",
)
"""The checks of every run, in their order."""

_NEEDED_TO_SPEAK = ("key", "voice", "model", "language", "format")
_TEXT = "OK."
_ADVICE = {
    "proxy": "; check proxy, HTTPS_PROXY and NO_PROXY",
    "connection": "; check ELEVENLABS_BASE_URL, and that the firewalls on the way let it pass, or set HTTPS_PROXY",
}
_MISSING_PERMISSIONS = "missing_permissions"
_CLOCK_TOLERANCE = 30.0  # seconds; the service's `Date` has whole ones, and the answer was under way

# By the service's identifier (wire/README.md, 4.1): the check that its refusal to speak belongs to.
_REFUSALS = {
    "voice_not_found": "voice",
    "voice_id_does_not_exist": "voice",
    "paid_plan_required": "voice",
    "payment_required": "voice",
    "only_for_creator+": "voice",
    "model_not_found": "model",
    "unsupported_model": "model",
    "unsupported_language": "language",
    "invalid_output_format": "format",
    "output_format_not_allowed": "format",
}


@attrs.define
class Check:
    """A check, and what came of it.

    Attributes:
        name: What was checked.
        status: "ok"; "wrong"; "not allowed": the key may not look, which is no failure; "not checked".
        says: What was found, and for "wrong" what to do, in one line.
    """

    name: str
    status: Status = "not checked"
    says: str = ""


@attrs.define
class Report:
    """What came of all checks."""

    checks: dict[str, Check] = attrs.field(factory=lambda: {name: Check(name) for name in NAMES})

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.status != "wrong" for check in self.checks.values())

    def is_wrong(self, name: str) -> bool:
        """Whether this is wrong."""
        return self.checks[name].status == "wrong"

    def enter(self, name: str, status: Status, says: str) -> None:
        """Enter what came of a check. The first thing that is wrong stays."""
        if name not in self.checks or not self.is_wrong(name):
            self.checks[name] = Check(name, status, says)

    def ok(self, name: str, says: str) -> None:
        """Enter that all is well."""
        self.enter(name, "ok", says)

    def wrong(self, name: str, error: Exception | str) -> None:
        """Enter what is wrong."""
        self.enter(name, "wrong", str(error))


async def diagnose(config: TTSConfig, report: Report, dial: Dial = open_stream) -> None:
    """Make all checks with a configuration.

    Args:
        config: The configuration.
        report: Where the results are entered. What is wrong in it already is not checked, nor what depends on it: the
            configuration has something else there.
        dial: A function that opens a stream; tests give another one.
    """
    from tts_trio.transport.http import HttpConnections  # as everywhere: httpx is loaded late

    complete = not any(map(report.is_wrong, _NEEDED_TO_SPEAK))
    if not await _reach(config, report, dial) or report.is_wrong("key"):
        return

    async def dialed(config: TTSConfig) -> trio.abc.Stream:
        return await dial(config, lambda _step: None)

    async with HttpConnections(config, open_stream=dialed) as http:
        account = Account(http)
        await _ask(config, account, report)
        if complete and not report.is_wrong("key"):
            await _speak(config, http, account, report)
    _compare_clocks(account.ahead, report)
    if report.checks["speech"].status == "ok":
        async with WebSocketConnectionManager(config, open_stream=dialed) as connections:
            began = trio.current_time()
            try:
                await connections.connect()
            except TTSError as error:
                report.wrong("WebSocket", error)
            else:
                took = 1000 * (trio.current_time() - began)
                report.ok("WebSocket", f"{websocket_endpoint(config)} was opened in {took:.0f} ms")


async def _reach(config: TTSConfig, report: Report, dial: Dial) -> bool:
    """Try the way to the service, and return whether there is one."""
    url = urlsplit(config.base_url)
    secure = url.scheme in {"https", "wss"}
    try:
        proxy = proxy_for(config.base_url, config.proxy)
    except ConfigurationError as error:
        report.wrong("proxy", error)
        return False
    if proxy is not None:
        report.enter("DNS", "not checked", f"the proxy resolves {url.hostname}")
    else:
        report.ok("proxy", "none is set")
        if not await _resolve(config, url.hostname or "", report):
            return False
    if secure and config.ssl_context is None:
        try:
            default_ssl_context()  # a dial would raise this too, and it would look as if the proxy did
        except ConfigurationError as error:
            report.wrong("TLS roots", error)
            return False
    passed: list[str] = []
    began = trio.current_time()
    at_fault = None
    try:
        with trio.fail_after(config.timeouts.connect):
            stream = await dial(config, passed.append)
    except (TTSError, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        failure = _failure(config, url.netloc, error)
        is_proxys = proxy is not None and "proxy" not in passed
        at_fault = "proxy" if is_proxys else "TLS roots" if isinstance(failure, ConfigurationError) else "connection"
        report.wrong(at_fault, f"{_with_the_clock(failure)}{_ADVICE.get(at_fault, '')}")
    else:
        await trio.aclose_forcefully(stream)
    if proxy is not None and at_fault != "proxy":
        report.ok("proxy", str(proxy))
    if at_fault is None:
        report.ok("connection", f"{url.netloc} was reached in {1000 * (trio.current_time() - began):.0f} ms")
        report.ok("TLS roots", f"{trusted_roots(config)} trust it" if secure else f"{url.scheme} needs none")
    return at_fault is None


async def _resolve(config: TTSConfig, host: str, report: Report) -> bool:
    """Resolve the name of the service, and return whether it has an address."""
    try:
        with trio.fail_after(config.timeouts.connect):
            found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, trio.TooSlowError) as error:
        why = str(error) or f"no answer within {config.timeouts.connect:g} s"
        report.wrong("DNS", f"{host} cannot be resolved: {why}; check ELEVENLABS_BASE_URL, and the DNS of this machine")
        return False
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    report.ok("DNS", f"{host} is {', '.join(addresses)}")
    return True


def _failure(config: TTSConfig, where: str, error: Exception) -> TTSError:
    match error:
        case TTSError():
            return error
        case OSError() | trio.BrokenResourceError():
            return dial_failed(config, where, error)
        case _:
            return TTSConnectionError(f"no connection to {where} within {config.timeouts.connect:g} s")


def _with_the_clock(failure: TTSError) -> str:
    """Return what failed; where a certificate is out of date, with the time that it was compared with."""
    said = str(failure)
    if "certificate has expired" in said or "certificate is not yet valid" in said:
        return f"{said}; this machine's clock says {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
    return said


async def _ask(config: TTSConfig, account: Account, report: Report) -> None:
    """Ask the service for what it tells of the account."""
    with _asking(report, "credits"):
        plan = await account.subscription()
        left = plan.limit - plan.used
        if left > 0 or plan.overage:
            report.ok("credits", f"{left:,} of {plan.limit:,} are left (plan {plan.tier})")
        else:
            report.wrong(
                "credits", f"all {plan.limit:,} of the plan {plan.tier} are used; buy more, or change the plan"
            )
    if report.is_wrong("key"):
        return
    if not report.is_wrong("model"):
        await _ask_for_the_model(config, account, report)
    if not report.is_wrong("voice"):
        with _asking(report, "voice", advice="; `tts-trio voices` lists those of the account"):
            voice = await account.voice(config.voice_id)
            report.ok("voice", ", ".join(filter(None, (voice.name, voice.category, " ".join(voice.languages)))))


async def _ask_for_the_model(config: TTSConfig, account: Account, report: Report) -> None:
    with _asking(report, "model", "language"):
        models = {model.model_id: model for model in await account.models()}
        if (model := models.get(config.model_id)) is None:
            report.wrong("model", f"the account has no {config.model_id}; set --model to one of {', '.join(models)}")
        else:
            report.ok("model", config.model_id)
            _check_language(config.language_code, model, report)


def _check_language(code: str | None, model: Model, report: Report) -> None:
    if code is None:
        report.ok("language", "none is set: the service guesses it from each phrase; set it with --language")
    elif code in model.languages:
        report.ok("language", code)
    elif model.languages:
        report.wrong("language", f"{model.model_id} does not speak {code}; it speaks {', '.join(model.languages)}")


@contextmanager
def _asking(report: Report, *names: str, advice: str = "") -> Generator[None]:
    """Enter what comes of a question to the service: that the key is good, or why there is no answer."""
    try:
        yield
        report.ok("key", "the service accepts it")
    except AuthenticationError as error:
        if error.code != _MISSING_PERMISSIONS:
            report.wrong("key", error)
            return
        report.ok("key", "the service accepts it")
        for name in names:
            report.enter(name, "not allowed", error.message)
    except TTSError as error:
        report.wrong(names[0], f"{error}{advice}")


async def _speak(config: TTSConfig, http: HttpConnections, account: Account, report: Report) -> None:
    """Speak a short text, which proves what the questions left open."""
    began = trio.current_time()
    first: float | None = None
    try:
        async with http.stream(stream_request(config, _TEXT)) as answer:
            account.heed(answer.headers)
            async for _ in answer:
                first = first or trio.current_time() - began
        if first is None:
            raise EmptyAudioError("the service answered without audio")
    except TTSError as error:
        report.wrong(_fault(error), error)
        return
    cost = header_number(answer.headers, "character-cost")
    report.ok("speech", f"first audio after {1000 * first:.0f} ms" + (f", for {cost} credits" if cost else ""))
    report.ok("format", config.output_format)
    for name in ("key", "voice", "model"):
        if report.checks[name].status != "ok":
            report.checks[name] = Check(name, "ok", "it spoke")
    if (most := header_number(answer.headers, "maximum-concurrent-requests")) is None:
        report.enter("concurrency", "not checked", "the service did not tell it")
    else:
        now = header_number(answer.headers, "current-concurrent-requests")
        report.ok("concurrency", f"{most} requests at once" + (f", {now} now, this one included" if now else ""))


def _fault(error: TTSError) -> str:
    """Return the name of the check that a refusal to speak belongs to."""
    match error:
        case AuthenticationError() if error.code != _MISSING_PERMISSIONS:
            return "key"
        case QuotaError():
            return "credits"
        case ConcurrencyError():
            return "concurrency"
        case _:
            return _REFUSALS.get(error.code or "", "speech")


def _compare_clocks(ahead: float | None, report: Report) -> None:
    if ahead is None:
        return
    off = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the service's"
    if abs(ahead) <= _CLOCK_TOLERANCE:
        report.ok("clock", "it agrees with the service's")
    else:
        report.wrong("clock", f"it is {off}; set it by NTP, or certificates and logs will be wrong")
