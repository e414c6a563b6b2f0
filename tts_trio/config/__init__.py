"""The configuration: immutable values, which are checked when they are made."""

from __future__ import annotations
