"""The rules themselves: what the sound of an utterance says about its text."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.hostile.peer import Peer
from tests.hostile.rules import listen_for, poison
from tests.hostile.script import script_of
from tests.hostile.server import Written

TEXT = "Доброе утро — how are you? Ваш заказ готов."


@pytest.mark.parametrize(
    ("sound", "whole"),
    [
        ("", 0),
        ("Добр", 0),
        ("Доброе", 1),
        (TEXT, 8),
        ("Доброе утро — how are you Ваш заказ готов", 8),  # marks may be cut
        ("Доброе утhow are you", 1),
        ("Доброе утутутро — how", 3),  # a word that was cut begins anew, as often as it is cut
        ("Доброе утро — how are yoyou? Вашзаказ гоготов.", 8),
    ],
)
def test_what_may_be_heard(sound: str, whole: int) -> None:
    heard = listen_for(TEXT, sound)
    if sound.startswith("Доброе утhow"):
        assert "only 2 characters" in heard.wrong
    else:
        assert (heard.wrong, heard.whole) == ("", whole)


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        ("Доброе Доброе утро", "was said again"),
        ("Доброе утро how are are you", "was said again"),
        ("Доброе how", "did not"),
        ("Доброе утро Ваш", "did not"),
        ("Доброе уhow", "only 1 characters"),
        ("другие слова", "words of something else"),
        (f"Доброе {poison(7)} утро", "nobody asked for"),
        (TEXT + " Ваш", "again"),
        ("утро — how", "did not"),
    ],
)
def test_what_may_not_be_heard(sound: str, says: str) -> None:
    assert says in listen_for(TEXT, sound).wrong


def test_without_times_some_words_may_be_said_again() -> None:
    assert listen_for(TEXT, "Доброе утро — how how are", again=1).wrong == ""
    assert listen_for(TEXT, "Доброе утро — how утро — how are", again=1).again == 1
    assert listen_for(TEXT, "Доброе утро — how how how are", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — how are you Доброе", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — are", again=5).wrong


def test_a_script_is_repeatable_and_repeats_no_word() -> None:
    for seed in range(50):
        assert script_of(seed) == script_of(seed)
        texts = {saying.text for conversation in script_of(seed).conversations for saying in conversation.sayings}
        words = [word.strip(".,!?").lower() for text in texts for word in text.split() if word != "—"]
        assert len(words) == len(set(words))


async def test_only_what_the_client_had_not_read_when_it_asked_crossed_that() -> None:
    """However late the server is to read it: what the client read and wrote after that does not count."""

    async def receive_some(_most: int) -> bytes:
        return b"askedlater"

    server: Any = SimpleNamespace(writes={7: deque([Written(5, 1.0), Written(10, 3.0)])}, crossed=set(), note=print)
    tcp = SimpleNamespace(socket=SimpleNamespace(getpeername=lambda: ("127.0.0.1", 7)), receive_some=receive_some)
    peer = Peer(server, cast("Any", tcp), 1)
    peer._poisons[poison(1)] = 2.0
    assert await peer.receive() == b"asked"
    peer.asks()
    assert server.crossed == {poison(1)}
    server.crossed.clear()
    assert await peer.receive() == b"later"
    peer.asks()
    assert not server.crossed
