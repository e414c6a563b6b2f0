"""Clients that nobody here wrote, against the local server: `python -m tests.foreign [NAME…]`.

Each is a script of its own, run by a Python (or Node, or Chromium) of its own, which gets the server's URL as its only
argument. It prints JSON, a line for each thing that it did: `did` says what, `audio` is what came of it, in base64, in
the output format `format`; or `seconds` is how long that sounds, where it is not samples any more; or neither, where
the client itself has read an answer.
"""
