"""Whole programs to begin with: `agent` is a telephone agent, and `python -m tests.examples` plays a call with it."""
