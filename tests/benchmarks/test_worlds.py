"""The two worlds: the replies, the percentiles and the targets. What speaks in them is in `test_latency.py`."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from benchmarks import field, worlds
from benchmarks.script import Report
from benchmarks.timing import texts

SAID = [(language, opening) for language, openings in worlds.SAID.items() for opening in openings]


def opening_of(one: worlds.Written) -> tuple[str, str]:
    [said] = [(language, opening) for language, opening in SAID if one.reply.text.startswith(f"{opening} ")]
    return said


def test_half_of_the_replies_begin_alike() -> None:
    """In both languages, with each opening equally often, and the same replies in each run."""
    corpus = worlds.corpus(240, 1)
    assert corpus == worlds.corpus(240, 1) != worlds.corpus(240, 2)
    assert len(SAID) == 12
    assert Counter(opening_of(one) for one in corpus if one.opening) == dict.fromkeys(SAID, 10)
    others = [one.reply.text for one in corpus if not one.opening]
    assert Counter(one.reply.language for one in corpus if not one.opening) == {"en": 60, "ru": 60}
    assert not [text for text in others for _, opening in SAID if text.startswith(opening)]


def test_two_conversations_say_each_opening_before() -> None:
    first = worlds.corpus(worlds.QUICK.conversations, 0, opened=True)
    assert Counter(opening_of(one) for one in first) == dict.fromkeys(SAID, 2)
    more = Counter(opening_of(one) for one in worlds.corpus(worlds.FULL.conversations, 0, opened=True))
    assert len(more) == 12
    assert min(more.values()) >= 2


def measured(every: dict[str, list[float]], opened: dict[str, list[float]], sent: int) -> worlds.Measured:
    found = worlds.Measured()
    for name, seconds in every.items():
        found.every[name] = seconds
        found.opened[name] = opened.get(name, seconds)
        found.written[name], found.sent[name] = 100, sent
    return found


def test_the_tables_and_the_targets(tmp_path: Path) -> None:
    fast, slow = [0.1] * 200, [0.1] * 190 + [2.0] * 10
    openings = measured(
        dict.fromkeys(worlds.OPENINGS.own, [0.3] * 200) | {field.OURS_OPENINGS: [0.2] * 200, "livekit": [0.4] * 200},
        dict.fromkeys(worlds.OPENINGS.own, [0.3] * 90) | {field.OURS_OPENINGS: fast[:90], "livekit": [0.5] * 90},
        100,
    )
    tail = measured({field.OURS: slow, field.OURS_HEDGING: [0.1] * 180 + [0.15] * 20, "livekit": slow}, {}, 103)
    rows = [target.row() for target in worlds.targets((openings, tail))]
    assert [(round(float(str(row["ratio"] or row["measured"])), 3), row[""]) for row in rows] == [
        (0.2, "met"),
        (0.5, "met"),
        (1.5, "met"),
        (1.5, "met"),
        (3.0, "met"),
    ]
    assert len(worlds.targets((measured({field.OURS_OPENINGS: fast}, {}, 1), tail))) == 3
    report = Report("latency", argparse.Namespace(out=tmp_path))
    worlds.report((openings, tail), ["livekit"], report)
    report.write()
    content = (tmp_path / "latency.json").read_text(encoding="utf-8")
    assert '"99th, of the 50th": 20.0' in content
    assert '"of LiveKit, with an opening": 0.2' in content


def test_texts_are_those_of_the_messages_and_not_of_the_keep_alives() -> None:
    said = [{"text": " "}, {"text": "Да. ", "context_id": "1"}, {"context_id": "1", "close_context": True}]
    events = [{"kind": "text", "message": message} for message in said]
    assert texts([*events, {"kind": "audio", "size": 1}]) == [" ", "Да. "]
