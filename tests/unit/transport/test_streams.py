"""One TLS context a process, and errors that come out of nurseries bare."""

from __future__ import annotations

import pytest
import trio

from tts_trio._nurseries import root_cause, single_error
from tts_trio.transport.streams import default_ssl_context


def test_one_tls_context_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert default_ssl_context() is default_ssl_context()
    before = default_ssl_context()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert default_ssl_context() is not before


async def test_single_error() -> None:
    cause = ValueError("cause")

    async def fail() -> None:
        raise KeyError("key") from cause

    with pytest.raises(KeyError) as caught, single_error:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
    assert caught.value.__cause__ is cause
    assert caught.traceback[-1].name == "fail"
    with pytest.raises(ExceptionGroup) as group, single_error:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(fail)
    assert len(group.value.exceptions) == 2
    with trio.move_on_after(0) as scope, single_error:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


def test_root_cause() -> None:
    refused = ConnectionRefusedError("refused")
    outer = OSError("all attempts failed")
    outer.__cause__ = ExceptionGroup("attempts", [refused])
    assert root_cause(outer) is refused
    assert root_cause(refused) is refused
