"""How rules are written: text (`parser`, `printer`), JSON and YAML (`structured`), DIMACS CNF (`dimacs`), UVL (`uvl`).

Every notation reads into, and is written from, the tree of `jebm_core.rules.language`; `files` chooses one by a file's
name and content. Nothing here imports torch, numpy or pandas.
"""
