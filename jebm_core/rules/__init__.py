"""Rules about combinations: read in several notations, bound to names, compiled to a diagram, explained.

=====================  =====================================================================
module                 what
=====================  =====================================================================
language               the tree that every notation is read into
notation               text, JSON and YAML, DIMACS CNF, UVL
problem                names bound to variables (`lookup`, `weights`, `conditions`)
compiled               what is valid, as a diagram (`clauses`, `ordering`, `compiler`, `diagram`)
circuit, paths         exact sums, marginals, maxima and draws over a diagram, on any device
explain, data          conflicts, violations, redundant rules; rules held against a table
=====================  =====================================================================

Only ``circuit`` and ``paths`` import torch. Nothing runs on import.
"""
