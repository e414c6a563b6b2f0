"""One utterance, from its text to what was heard of it."""

from __future__ import annotations
