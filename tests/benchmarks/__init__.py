"""Measurements, started by hand: ``python -m tests.benchmarks [SUITE…] [--fresh]``.

Every figure of speed is a ratio of two things measured side by side, in turns, in the same process or the same tree
of processes, so that a slow or busy machine slows both. What was measured is kept in ``RESULTS.json`` and shown in
``RESULTS.md``.
"""
