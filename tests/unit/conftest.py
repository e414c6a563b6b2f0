"""What tests of several rooms use."""

from __future__ import annotations

import gc
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers.redis import Redis


@pytest.fixture
def redis(tmp_path: Path) -> Generator[Redis]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    redis = Redis(tmp_path, port)
    redis.start()
    yield redis
    redis.kill()
    gc.collect()  # what coredis left, before its warnings count
