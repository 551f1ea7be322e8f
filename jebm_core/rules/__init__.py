"""Rules about combinations: read in several notations, bound to names, compiled to a diagram, explained.

=====================  =====================================================================
module                 what
=====================  =====================================================================
language               the tree that every notation is read into
notation               text, JSON and YAML, DIMACS CNF, UVL
problem                names bound to variables (`lookup`, `weights`, `conditions`)
compiled               what is valid, as a diagram (`clauses`, `ordering`, `compiler`, `diagram`)
logic                  plain logic that no diagram holds, as d-DNNF (`cnf`, `d4`, `nnf`, `dnnf`)
circuit, paths         exact sums, marginals, maxima and draws over a diagram, on any device
dnnf_circuit           the same over a d-DNNF
explain, data          conflicts, violations, redundant rules; rules held against a table
=====================  =====================================================================

Nothing runs on import.
"""
