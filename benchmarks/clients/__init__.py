"""The clients under measurement, each in a process of its own: ours, the floor's, and those that others make.

Every module runs as `python -m benchmarks.clients.NAME`, is told what to do in JSON lines and answers in JSON lines
(`worker.py`). The peers' run in virtual environments that have nothing of ours, so what they share is standard library.
"""
