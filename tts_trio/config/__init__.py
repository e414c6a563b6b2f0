"""What to say it with, and how long to wait: values, checked when they are made."""

from __future__ import annotations
