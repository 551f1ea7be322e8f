"""The tests; a package, so that helpers are imported as ``tests.oracle`` and ``python -m tests.benchmarks`` runs."""
