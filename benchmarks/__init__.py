"""Scripts that measure; each runs as `python -m benchmarks.NAME` and needs no key."""
