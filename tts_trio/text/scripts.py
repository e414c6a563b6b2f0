"""Scripts that are written without blanks between words: which characters are theirs, and what can be told apart.

A Chinese or Japanese text can be cut between any two characters. Thai, Lao, Khmer and Burmese are written in clusters,
a consonant with the vowels and tones around it, which no cut may part. Where their words end only a dictionary tells,
so that a word of them is counted by its characters.
"""

from __future__ import annotations

# Kana and Chinese characters.
# Each range is an atomic group, since the `re` module takes 50 times as long to compile one set of all ranges.
CJK = "(?:(?>[\u3041-\u9fff])|(?>[\uf900-\ufaff])|(?>[\uff66-\uff9d])|(?>[\U00020000-\U000323af]))"
"""Matches one character."""

CLUSTER = (
    "(?:"
    "[\u0e40-\u0e44]?[\u0e01-\u0e2f\u0e46](?>[\u0e30-\u0e3a\u0e45\u0e47-\u0e4e]*)"  # Thai
    "|[\u0ec0-\u0ec4]?[\u0e81-\u0eaf\u0ec6\u0edc-\u0edf](?>[\u0eb0-\u0ebd\u0ec8-\u0ece]*)"  # Lao
    "|[\u1000-\u102a\u103f\u1050-\u1055\u1075-\u1081]"  # Burmese; U+1039 and U+103A join or end consonants
    "(?>(?:\u1039[\u1000-\u102a]|[\u1000-\u1021]\u103a(?!\u1039)|[\u102b-\u103e\u1056-\u1059])*)"
    "|[\u1780-\u17b3](?>(?:\u17d2[\u1780-\u17b3]|[\u17b4-\u17d1\u17d3\u17dd])*)"  # Khmer; U+17D2 joins consonants
    ")"
)
"""Matches one cluster."""

UNSPACED = f"(?:{CJK}|(?>[\u0e01-\u0ece])|(?>[\u1000-\u109f])|(?>[\u1780-\u17dd]))"
"""Matches one character of any of these scripts."""

FIRST_UNSPACED = "\u0e00"
"""No character before this one is of any of these scripts."""


def is_unspaced(char: str) -> bool:
    """Whether a character is of a script without blanks between words; False for ""."""
    return char > FIRST_UNSPACED and (
        is_clustered(char)
        or "\u3041" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or "\uff66" <= char <= "\uff9d"
        or char >= "\U00020000"
    )


def is_clustered(char: str) -> bool:
    """Whether a character is Thai, Lao, Khmer or Burmese, where a blank is a mark; False for ""."""
    return "\u0e01" <= char <= "\u0ece" or "\u1000" <= char <= "\u109f" or "\u1780" <= char <= "\u17dd"


def words_in(core: str) -> int:
    """Estimate the words of a run without blanks: 1 in a script that parts them by blanks."""
    if not is_unspaced(core[0]):
        return 1
    return max(1, len(core) // (4 if is_clustered(core[0]) else 2))
