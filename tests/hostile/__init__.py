"""A seeded fuzz against a server that breaks every rule, over real sockets and TLS.

`python -m tests.hostile --seeds 10000 --first 0` runs many seeds and prints those that failed with their scripts.

- `script.py`: what a seed decides: the conversations, what they say, how they listen, when they leave.
- `faults.py`: what the server may do wrong, and when it does.
- `server.py`, `http_peer.py`, `socket_peer.py`: the server, in a thread with a loop of its own, so that it goes on
  while the client's loop stands still.
- `rules.py`: what is true of every utterance, decided from its sound.
- `run.py`: runs a seed, and checks the rules.
"""
